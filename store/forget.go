package store

import (
	"fmt"
	"math"
	"time"
)

// Forgetting. A forgotten ID is as if it had never been accepted (R2): its next
// record is decided as if no copy had come. What was forgotten is durable with
// the batch, and visible at once; its bytes go when its segment is merged or
// leaves the window. State and outputs of the records stay as they are.
//
// What forgets is a batch like any other, so a full disk refuses it (ErrDiskFull)
// before anything is forgotten: call it again when there is room. What makes room
// by itself there is Advance, and Store.DeleteNamespace.

// Forget forgets an ID. It reports whether there was anything to forget: a
// marker that still counts. That there was none is no error; an empty ID is
// ErrNoID. In the same batch it counts for the records that follow.
func (b *Batch) Forget(id []byte) (bool, error) {
	switch {
	case b.ended.Load():
		return false, ErrTxDone
	case len(id) == 0:
		return false, ErrNoID
	}
	b.n.text = appendIdent(b.n.text[:0], id)
	there, err := b.forget(keyed(b.n.text, b.n.s.secret))
	if there {
		b.head.forgets++
		b.dirty = true
	}
	return there, err
}

// forget takes an ID out of the row and out of the index.
func (b *Batch) forget(id ident) (there bool, err error) {
	m, found, err := b.n.index.lookup(id, -1)
	if err != nil {
		return false, err
	}
	if b.row.remove(id) {
		b.rowChanged, there = true, true
	}
	if found && b.alive(m) {
		b.n.index.forget(id, m, b.head.clock.now)
		there = true
	}
	return there, nil
}

// alive reports whether a marker of the index counts. One that does not never
// will again, whether it still stands or not.
func (b *Batch) alive(m marker) bool {
	first := b.head.clock.firstOf(&m)
	return first > b.head.floor && b.n.rules.w.ContainsMillis(first, b.head.clock.now)
}

// ForgetOrigins forgets every ID whose marker was left by a record of one log at
// offsets from the first up to, not including, the second; math.MaxInt64 is no
// end. It costs the same however many there are, and therefore does not tell how
// many there were. A marker is the last accepted one: an ID that was accepted in
// the range, and again outside it, is not forgotten.
//
// At most 1,000 ranges are kept at a time (ErrForgets). A range is given up when
// everything that it can concern has left the window or was merged.
func (b *Batch) ForgetOrigins(topic ID, partition int32, from, to int64) error {
	if from < 0 || from >= to {
		return fmt.Errorf("store: namespace %q: offsets from %d up to %d are no range; give the lower one first",
			b.n.name, from, to)
	}
	return b.forgetRange(sweep{what: sweepOrigins, topic: topic, partition: partition, from: from, to: to})
}

// ForgetTimes forgets every ID first seen, by the namespace's clock, from one
// time up to, not including, the other. A zero from is the beginning, a zero to
// no end. See ForgetOrigins.
func (b *Batch) ForgetTimes(from, to time.Time) error {
	s := sweep{what: sweepTimes, from: math.MinInt64, to: math.MaxInt64, first: b.head.clock.first}
	if !from.IsZero() {
		s.from = ceilMillis(from)
	}
	if !to.IsZero() {
		s.to = ceilMillis(to)
	}
	if s.from >= s.to {
		return fmt.Errorf("store: namespace %q: times from %v up to %v are no range; give the earlier one first",
			b.n.name, from, to)
	}
	return b.forgetRange(s)
}

// ForgetAll forgets every ID of the namespace. Position, clock, coverage, state
// and outputs stay. See ForgetOrigins; it takes the place of all earlier ranges,
// and disk space comes back with the batches that follow.
func (b *Batch) ForgetAll() error { return b.forgetRange(sweep{what: sweepAll}) }

func (b *Batch) forgetRange(s sweep) error {
	if b.ended.Load() {
		return ErrTxDone
	}
	// The row's markers are not in the index. Where one of them goes, an older
	// one of its ID must not stand in for it.
	var hidden []rowMarker
	for _, v := range b.row.list {
		if !s.matches(v.m) {
			continue
		}
		m, found, err := b.n.index.lookup(v.id, -1)
		if err != nil {
			return err
		}
		if found && b.alive(m) && !s.matches(m) {
			hidden = append(hidden, rowMarker{id: v.id, m: m})
		}
	}
	s.num = b.head.forgets + 1
	if err := b.n.index.sweep(s); err != nil {
		return fmt.Errorf("namespace %q: %w", b.n.name, err)
	}
	b.head.forgets++
	b.dirty = true
	if b.row.removeIf(func(v rowMarker) bool { return s.matches(v.m) }) {
		b.rowChanged = true
	}
	for _, v := range hidden {
		b.n.index.forget(v.id, v.m, b.head.clock.now)
	}
	return nil
}

// ceilMillis returns the first whole millisecond that is not before t.
func ceilMillis(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// Forget forgets an ID in a batch of its own: see Batch.Forget. On a full disk it
// is ErrDiskFull, like every Update, and nothing is forgotten; call it again when
// there is room, which Advance and Store.DeleteNamespace can make.
func (n *Namespace) Forget(id []byte) (bool, error) {
	var there bool
	err := n.Update(func(b *Batch) (err error) {
		there, err = b.Forget(id)
		return err
	})
	return there && err == nil, err
}

// ForgetOrigins forgets a range of a log in a batch of its own: see
// Batch.ForgetOrigins.
func (n *Namespace) ForgetOrigins(topic ID, partition int32, from, to int64) error {
	return n.Update(func(b *Batch) error { return b.ForgetOrigins(topic, partition, from, to) })
}

// ForgetTimes forgets a range of time in a batch of its own: see
// Batch.ForgetTimes.
func (n *Namespace) ForgetTimes(from, to time.Time) error {
	return n.Update(func(b *Batch) error { return b.ForgetTimes(from, to) })
}

// ForgetAll forgets every ID of the namespace in a batch of its own: see
// Batch.ForgetAll.
func (n *Namespace) ForgetAll() error { return n.Update((*Batch).ForgetAll) }
