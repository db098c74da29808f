package store

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Batch decides many records and keeps what they leave in one synced step (R6):
// markers, clock, coverage, position, state and outputs, together or not at
// all. It is handed to the function of Namespace.Update, belongs to that
// goroutine, and ends with it.
type Batch struct {
	n    *Namespace
	head head
	wall int64 // ms; as of the last time it mattered

	row        row
	rowChanged bool
	ages       Ages
	state      map[string]stateWrite
	outs       []staged
	replaced   []replacement
	settled    uint64
	failed     Position // the record whose function failed; zero: none
	dirty      bool     // there is something to commit
	unnumbered bool     // it is no batch of the namespace's sequence
	cleared    bool     // the state goes, see ClearState
	size       int      // of what it keeps, see Size
	ended      atomic.Bool
	counts     counts
	foreseen   bool    // wall stands still, see Foresee
	over       overlay // of Foresee; nil but then

	ready []ident // of Prepare
	next  int     // the first of them that Do has not met
}

// Prepare is a hint: the IDs that the next calls of Do will bring, in order.
// They are hashed and looked up together, which is faster than one by one. The
// slices must not change until the batch ends. Empty IDs are passed over.
func (b *Batch) Prepare(ids [][]byte) {
	if b.ended.Load() {
		return
	}
	n := b.n
	n.index.prepare(nil) // ends the work on earlier ones, whose memory is used again
	b.ready, b.next = n.idents[:0], 0
	n.raw, n.texts, n.ends = n.raw[:0], n.texts[:0], n.ends[:0]
	for _, id := range ids {
		if len(id) == 0 {
			continue
		}
		n.raw = append(n.raw, id)
		n.texts = appendIdent(n.texts, id)
		n.ends = append(n.ends, len(n.texts))
	}
	from := 0
	for _, end := range n.ends {
		b.ready = append(b.ready, keyed(n.texts[from:end:end], n.s.secret))
		from = end
	}
	n.idents = b.ready
	n.index.prepare(b.ready)
}

// ident returns the stored form of an ID and its place among the prepared ones,
// -1 when it is not the next of them.
func (b *Batch) ident(id []byte) (ident, int) {
	if raw := b.n.raw; b.next < len(b.ready) && (&raw[b.next][0] == &id[0] && len(raw[b.next]) == len(id) ||
		bytes.Equal(raw[b.next], id)) { // mostly the same slice, of which nothing need be read
		b.next++
		return b.ready[b.next-1], b.next - 1
	}
	b.n.text = appendIdent(b.n.text[:0], id)
	return keyed(b.n.text, b.n.s.secret), -1
}

// Do decides one record. For a duplicate fn is not called. Otherwise fn handles
// the record; when it returns nil, the record is accepted: its marker, and what
// fn wrote and staged, are in the batch. fn may be nil. It writes through its Tx
// and must not call the batch.
//
// For an Unknown the namespace's policy has a say (R4): one to be dropped is not
// handled; one to be dead-lettered is, with that in Tx.Decision, but fn may only
// stage, and what it was given leaves no marker.
//
// An error of fn is returned as it is, beside the Decision, and nothing of the
// record remains; records above it are then refused with ErrGapAfterFailure
// until it is done again or SetPosition passes it. If fn panics, the record is
// undone likewise and the panic goes on.
//
// A record below the position is ErrReplay with the zero Decision; one of
// another log ErrOtherLog; one without an ID ErrNoID. An error of the disk
// ends the batch: return it from the function of Update.
func (b *Batch) Do(r Record, fn func(*Tx) error) (Decision, error) { return b.do(&r, false, fn) }

// do decides a record. Where all is set, fn is called whatever was decided.
func (b *Batch) do(r *Record, all bool, fn func(*Tx) error) (d Decision, err error) {
	switch {
	case b.ended.Load(): // before the namespace's scratch is touched
		return Decision{}, ErrTxDone
	case len(r.ID) == 0:
		return Decision{}, ErrNoID
	}
	before := b.head.flow
	var j judged
	if err := b.judge(r, &j); err != nil {
		return Decision{}, err
	}
	d = j.decision
	if fn != nil && (all || d.handled()) {
		if err := b.call(r.Origin, &d, before, j.step, fn); err != nil {
			return d, err
		}
	}
	b.settle(j.step, r.Origin)
	switch {
	case d.accepted():
		b.accept(j.id, r.Origin, j.step, j.older)
	case d.Verdict == Duplicate:
		b.ages.add(b.head.clock.age(&j.marker))
	}
	b.counts.add(&d, j.step)
	return d, nil
}

// judged is a record that is decided, and has moved clock and coverage.
type judged struct {
	id       ident
	step     step
	marker   marker // of a Duplicate
	older    int64
	decision Decision
}

// judge decides a record that has an ID. After an error nothing has moved.
func (b *Batch) judge(r *Record, j *judged) (err error) {
	var at int
	j.id, at = b.ident(r.ID)
	if err := b.check(r.Origin); err != nil {
		return err
	}
	t, before := millis(r.At), b.head.flow
	j.step = b.move(t, r.Origin)
	var found bool
	j.marker, j.older, found, err = b.find(j.id, at, j.step)
	if err != nil {
		b.head.flow = before
		return err
	}
	if found && j.marker.restored && j.marker.origin.sameLog(r.Redrives) && j.marker.origin.Offset == r.Redrives.Offset {
		found = false // nobody knows whether it was handled there, or put aside (R7)
	}
	j.decision = decide(&b.head.clock, t, j.step, found, &j.marker, b.head.cov, b.head.floor, b.n.rules.w)
	if j.decision.Verdict == Unknown {
		j.decision.Action = b.n.opts.Unknown.of(j.decision.Reason)
		if !r.Redrives.IsZero() && j.decision.Action == DeadLetter {
			j.decision.Action = Accept
		}
	}
	return nil
}

// Pass handles a record that has no ID (R14): it is not decided and leaves no
// marker. Clock and position move, and what fn writes and stages is kept.
// Failures and replays are as for Do; the record's ID is not looked at.
func (b *Batch) Pass(r Record, fn func(*Tx) error) error {
	if err := b.check(r.Origin); err != nil {
		return err
	}
	before := b.head.flow
	s := b.move(millis(r.At), r.Origin)
	if fn != nil {
		if err := b.call(r.Origin, &Decision{}, before, s, fn); err != nil {
			return err
		}
	}
	b.settle(s, r.Origin)
	b.counts.add(&Decision{}, s)
	return nil
}

// check refuses a record that may not be decided now.
func (b *Batch) check(o Position) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case b.cleared:
		return fmt.Errorf("%w: namespace %q; decide it in the next one", ErrStateCleared, b.n.name)
	case o.IsZero():
		return nil
	case o.Offset < 0:
		return fmt.Errorf("store: namespace %q: offset %d is negative; offsets count from 0", b.n.name, o.Offset)
	case b.head.hasPos && !b.head.pos.sameLog(o):
		return fmt.Errorf("%w: namespace %q stands at %v, the record at %v; SetPosition changes logs",
			ErrOtherLog, b.n.name, b.head.pos, o)
	case b.head.hasPos && o.Offset < b.head.pos.Offset:
		b.counts.Replays++
		return ErrReplay
	case b.failed.IsZero():
	case !b.failed.sameLog(o): // and there is no position yet
		return fmt.Errorf("%w: namespace %q waits for %v, which failed, the record stands at %v; SetPosition changes logs",
			ErrOtherLog, b.n.name, b.failed, o)
	case o.Offset > b.failed.Offset:
		return fmt.Errorf("%w: namespace %q, offset %d; do it again or pass it with SetPosition",
			ErrGapAfterFailure, b.n.name, b.failed.Offset)
	}
	return nil
}

// move moves clock, coverage and position as the record's time asks. Whoever does
// not settle the record puts them back: a failure leaves them as they were.
func (b *Batch) move(t int64, o Position) step {
	if !b.head.hasPos && !o.IsZero() {
		b.head.startAt(o)
	}
	if !b.foreseen && t > add(b.wall, b.n.rules.maxAhead) {
		b.wall = b.n.s.opts.Now().UnixMilli()
	}
	s := b.head.clock.move(t, b.wall, &b.n.rules)
	if s.moved && b.head.cov.open {
		b.head.cov = b.head.cov.closed(b.head.clock.now)
	}
	return s
}

// find returns the marker that the ID was given last, and F of the one that the
// index holds for it, 0 when none. A marker in the row is judged as it will
// stand after this record.
func (b *Batch) find(id ident, at int, s step) (m marker, older int64, found bool, err error) {
	if v, ok := b.row.find(id); ok {
		if s.join == joinRebased {
			v.m.first = b.head.clock.now
		}
		return v.m, v.older, true, nil
	}
	m, found, err = b.known(id, at)
	return m, m.first, found, err
}

// call runs fn for a record. What it wrote is undone unless it returns nil, and
// what the record moved is put back to what was before.
func (b *Batch) call(o Position, d *Decision, before flow, s step, fn func(*Tx) error) error {
	tx := &Tx{b: b, origin: o, decision: *d, clock: b.head.clock.seen(s), timeline: b.timeline(s, o),
		outs: len(b.outs), size: b.size}
	moved := b.head.flow
	b.head.flow = before // what fn may ask for is as it was
	defer func() {
		tx.ended.Store(true)
		if !tx.kept {
			tx.undo()
			b.fail(o)
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	tx.kept = true
	b.head.flow = moved
	return nil
}

// fail refuses what lies above a failed record. A rollback undoes whatever the
// batch did to pass it, so the namespace remembers the lowest, for its own log.
// One without a position yet is held to the log of the first that failed: taking
// up another log, like passing a record, takes a SetPosition.
func (b *Batch) fail(o Position) {
	if o.IsZero() {
		return
	}
	b.failed = o
	n := b.n
	if n.head.hasPos && !n.head.pos.sameLog(o) {
		return
	}
	if n.failed.IsZero() || n.failed.sameLog(o) && o.Offset < n.failed.Offset {
		n.failed = o
	}
}

// settle keeps what a record did to clock and coverage, and passes it.
func (b *Batch) settle(s step, o Position) {
	b.head.pass(o)
	b.dirty = true
	if !o.IsZero() && o.Offset == b.failed.Offset {
		b.failed = Position{}
	}
	if s.join != joinNone {
		b.join(s.join)
	}
}

// join moves the row's markers to the others (R1).
func (b *Batch) join(how join) {
	if len(b.row.list) == 0 {
		return
	}
	for _, v := range b.row.list {
		if how == joinRebased {
			v.m.first = b.head.clock.now
		}
		b.give(v.id, v.m, v.older, b.head.clock.now)
		b.size += markerBytes + len(v.id.text)
	}
	b.row.clear()
	b.rowChanged = true
	if how == joinRebased {
		b.head.ended = rowEnd{b.head.pos.Offset, b.head.clock.now}
	}
}

// accept enters the record's marker. Its Tx has told how the last row ended.
func (b *Batch) accept(id ident, o Position, s step, older int64) {
	b.head.ended = rowEnd{}
	b.enter(id, marker{first: b.head.clock.seen(s), origin: o}, s, older)
}

// enter enters a marker, with the row's when its time belongs there.
func (b *Batch) enter(id ident, m marker, s step, older int64) {
	c := &b.head.clock
	b.size += markerBytes + len(id.text)
	if s.inRow {
		b.row.add(rowMarker{id, m, older})
		b.rowChanged = true
		return
	}
	if len(b.row.list) > 0 && b.row.remove(id) {
		b.rowChanged = true
	}
	b.give(id, m, older, c.now)
}

// SetPosition sets the next offset to decide: it passes records that are not
// handled, and starts in another log. In the same log it never goes back
// (ErrBackwards). A start anywhere but at offset 0 opens coverage: the records
// before it were not seen.
func (b *Batch) SetPosition(p Position) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case p.IsZero() || p.Offset < 0:
		return fmt.Errorf("store: namespace %q: %v is not a position to start from; give a topic ID and an offset from 0 on",
			b.n.name, p)
	case !b.head.hasPos || !b.head.pos.sameLog(p):
		b.head.startAt(p)
		b.head.lastOffset, b.head.fingerprint, b.head.committed = -1, 0, nil
		b.failed = Position{}
	case p.Offset < b.head.pos.Offset:
		return fmt.Errorf("%w: namespace %q from %d to %d; go on from there, or MoveTo it if that is meant",
			ErrBackwards, b.n.name, b.head.pos.Offset, p.Offset)
	default:
		b.head.pos = p
		if p.Offset > b.failed.Offset {
			b.failed = Position{}
		}
	}
	b.dirty = true
	return nil
}

// Position returns the next offset to decide, as the batch has it now; zero
// when there is none yet.
func (b *Batch) Position() Position { return b.head.pos }

// Clock returns the namespace's clock as the batch has it now; the zero Time
// before the first time.
func (b *Batch) Clock() time.Time { return timeOf(b.head.clock.now) }

// Sequence returns the number that the batch will have. What is staged in it
// carries the number, see Settle.
func (b *Batch) Sequence() uint64 { return b.head.sequence + 1 }

// Settle deletes, with this batch, the outputs of batches up to seq: their duty
// is done.
func (b *Batch) Settle(seq uint64) {
	seq = min(seq, b.n.head.sequence)
	if len(b.n.pending) > 0 && b.n.pending[0].seq <= seq {
		b.settled = max(b.settled, seq)
		b.dirty = true
	}
}

// SetCommitted keeps what the outside acknowledged last, see Committed.
func (b *Batch) SetCommitted(c Committed) {
	b.head.committed = &c
	b.dirty = true
}

// Remember keeps the offset and the fingerprint of a record, by which a log
// that was replaced is known. The newest one stands; offset -1 is none.
func (b *Batch) Remember(offset int64, fingerprint uint64) {
	b.head.lastOffset, b.head.fingerprint = offset, fingerprint
	b.dirty = true
}

// commit writes the batch, once the one before it is durable. It waits until the
// batch is durable, too, and returns nil; or, where the next one may follow it
// meanwhile, a flight.
func (b *Batch) commit(brings bool) (*flight, error) {
	n := b.n
	if err := n.land(); err != nil {
		return nil, err
	}
	if !b.unnumbered {
		b.head.sequence++
	}
	w := n.s.db.NewBatch()
	n.index.stage(w)
	if b.rowChanged {
		b.head.row = b.row.ledger(n.s.secret)
		must(w.Set(nsKey(kindRow, n.num), b.row.append(nil), nil))
	}
	if b.ages != n.ages {
		must(w.Set(nsKey(kindAges, n.num), b.ages.append(nil), nil))
	}
	b.head.next, b.head.sum, b.head.sweeps = n.index.next(), n.index.sum(), n.index.sweepSum()
	b.head.sum.add(b.head.row)
	if b.cleared {
		b.clearState(w)
	}
	for key, v := range b.state {
		if v.deleted {
			must(w.Delete(stateKey(n.num, []byte(key)), nil))
		} else {
			must(w.Set(stateKey(n.num, []byte(key)), v.value, nil))
		}
		b.head.hasState = true
	}
	if b.settled > 0 {
		must(w.DeleteRange(outKey(n.num, 0, 0), outKey(n.num, b.settled+1, 0), nil))
	}
	b.replace(w)
	for i, o := range b.outs {
		must(w.Set(outKey(n.num, b.head.sequence, uint32(i)), o.append(nil), nil))
	}
	must(w.Set(nsKey(kindHead, n.num), b.head.append(nil), nil))
	n.index.hold()
	wait := n.s.fault.start("commit a batch of namespace "+n.name, n.s.opts.CommitTimeout,
		func() error { return n.s.db.ApplyNoSyncWait(w, pebble.Sync) },
		func() error {
			if err := w.SyncWait(); err != nil {
				return fmt.Errorf("%w: %w", ErrPoisoned, err) // Pebble says so by Fatalf elsewhere
			}
			return w.Close()
		})
	n.index.absorb() // while the disk works
	err := wait()
	if err == nil {
		if brings && n.index.detach() {
			return n.takeOff(b, wait), nil
		}
		err = wait()
	}
	if err != nil {
		n.lose()
		return nil, err
	}
	n.s.batches.Add(b.head.sequence - n.head.sequence)
	n.keep(b)
	n.show()
	n.index.committed()
	n.s.relieve(n)
	n.publish()
	return nil, nil
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
