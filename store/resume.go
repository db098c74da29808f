package store

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// What the outside says about a log can overrule a namespace: the log lost its
// tail, an operator moved the group, another instance went on (R11). The calls
// of this file change what records alone never would, each with the batch that
// it is made in.

const (
	noteLimit     = 32 << 10 // bytes of a note: it is written with every batch
	sequenceLimit = 1 << 62  // above it is no sequence that was counted
)

// MoveTo sets the next offset to decide as SetPosition does, and back as well.
// Records that are decided anew meet their markers. A remembered record at the
// new offset or above it is forgotten. It does not change coverage within a log:
// who goes forward over records that nobody saw calls OpenCoverage, too.
func (b *Batch) MoveTo(p Position) error {
	back := !b.ended.Load() && b.head.hasPos && b.head.pos.sameLog(p) &&
		p.Offset >= 0 && p.Offset < b.head.pos.Offset
	if back {
		b.head.pos, b.failed, b.dirty = p, Position{}, true
	} else if err := b.SetPosition(p); err != nil {
		return err
	}
	if b.head.lastOffset >= p.Offset {
		b.head.lastOffset, b.head.fingerprint = -1, 0
	}
	return nil
}

// OpenCoverage opens coverage: records were passed that the namespace did not
// see, or their markers are gone. It closes as ever, once the clock moves, and
// then begins at the clock or at since, whichever is later; a zero since is
// before any clock. The reason is Cold, Evicted or Lost.
func (b *Batch) OpenCoverage(why Reason, since time.Time) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case why != Cold && why != Evicted && why != Lost:
		return fmt.Errorf("store: namespace %q: coverage does not open for reason %q; give Cold, Evicted or Lost",
			b.n.name, why)
	}
	b.head.cov = b.head.cov.opened(why)
	if !since.IsZero() {
		b.head.cov.since = max(b.head.cov.since, since.UnixMilli())
	}
	b.dirty = true
	return nil
}

// RaiseSequence numbers this batch above seq: a batch of that number is known
// outside the store, and another one must not be taken for it. It is called
// before anything is staged. Below the next number it changes nothing.
func (b *Batch) RaiseSequence(seq uint64) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case seq >= sequenceLimit:
		return fmt.Errorf("store: namespace %q: %d is no sequence of a batch; give one that a Status or an Output had",
			b.n.name, seq)
	case seq > b.head.sequence:
		b.head.sequence = seq
		b.dirty = true
	}
	return nil
}

// SetRewind sets how many resets of the position were honoured, see
// Status.Rewind. It never decreases.
func (b *Batch) SetRewind(n uint64) {
	if n > b.head.rewind {
		b.head.rewind = n
		b.dirty = true
	}
}

// SetNote keeps a few bytes of the caller's with the position, in place of those
// that it kept last: see Status.Note. At most 32 KiB.
func (b *Batch) SetNote(note []byte) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case len(note) > noteLimit:
		return fmt.Errorf("store: namespace %q: a note of %d bytes; keep at most %d", b.n.name, len(note), noteLimit)
	case !bytes.Equal(note, b.head.note):
		b.head.note = bytes.Clone(note)
		b.dirty = true
	}
	return nil
}

// ClearState deletes the namespace's state, whole. No record is decided after it
// in the same batch (ErrStateCleared).
func (b *Batch) ClearState() error {
	if b.ended.Load() {
		return ErrTxDone
	}
	b.cleared, b.dirty = true, true
	b.head.hasState = false
	return nil
}

// clearState is ClearState on its way to disk.
func (b *Batch) clearState(w *pebble.Batch) {
	from := nsKey(kindState, b.n.num)
	must(w.DeleteRange(from, after(from), nil))
}
