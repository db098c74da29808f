package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// Tx is the write set of one record: the handler's own state, and its outputs,
// kept in the same batch as the record's marker. It is handed to the function
// of Batch.Do, belongs to that goroutine, and ends with it.
//
// A Tx sees what earlier records of the batch wrote. Keys are the namespace's
// own; no key of one namespace is visible in another.
type Tx struct {
	b        *Batch
	origin   Position
	decision Decision
	clock    int64
	timeline Timeline
	outs     int // outputs of the batch before this record's
	writes   []undoWrite
	size     int // of the batch before this record
	kept     bool
	alters   bool // it belongs to no record, see Batch.Alter
	ended    atomic.Bool
}

// stateWrite is a write of the user's state that waits for the batch.
type stateWrite struct {
	value   []byte
	deleted bool
}

// undoWrite is what a key of the batch was before a record wrote it.
type undoWrite struct {
	key string
	was stateWrite
	had bool
}

// Decision returns the verdict under which the record is handled: New, or
// Unknown with what is to be done about it, or the zero Decision for a record
// without an ID. Where its Action is DeadLetter, the record is to be staged for
// the dead letters, and writes of state are ErrDeadLetter.
func (t *Tx) Decision() Decision { return t.decision }

// Clock returns the namespace's clock as this record has moved it: when the
// record counts as first seen, if it is accepted. The zero Time before the
// first time.
func (t *Tx) Clock() time.Time { return timeOf(t.clock) }

// Timeline returns what is to be kept beside Clock of a record whose marker is to be
// restored from what its handler makes of it, see Batch.RestoreMarker: mostly the zero
// value.
func (t *Tx) Timeline() Timeline { return t.timeline }

// Get returns a copy of the value of key, nil when there is none.
func (t *Tx) Get(key []byte) ([]byte, error) {
	if t.ended.Load() {
		return nil, ErrTxDone
	}
	if w, ok := t.b.state[string(key)]; ok {
		return slices.Clone(w.value), nil
	}
	return t.b.n.s.get(stateKey(t.b.n.num, key))
}

// Set gives key a value, of which it keeps a copy. An empty value is a value:
// Get returns it as an empty slice that is not nil.
func (t *Tx) Set(key, value []byte) error {
	return t.write(key, stateWrite{value: append([]byte{}, value...)})
}

// Delete removes key. Deleting what is not there is no error.
func (t *Tx) Delete(key []byte) error { return t.write(key, stateWrite{deleted: true}) }

func (t *Tx) write(key []byte, w stateWrite) error {
	if t.ended.Load() {
		return ErrTxDone
	}
	if t.decision.Action == DeadLetter {
		return fmt.Errorf("%w: namespace %q, Unknown(%v); only stage it", ErrDeadLetter, t.b.n.name, t.decision.Reason)
	}
	if t.b.state == nil {
		t.b.state = make(map[string]stateWrite)
	}
	was, had := t.b.state[string(key)]
	t.b.size += w.size(key)
	if had {
		t.b.size -= was.size(key)
	}
	t.writes = append(t.writes, undoWrite{string(key), was, had})
	t.b.state[string(key)] = w
	return nil
}

// Add adds delta to the number at key and returns the sum; an absent key is 0.
// The value is the sum in 8 bytes, big endian, as View.Int reads it. A value
// of another length is an error, and so is a sum that does not fit
// (ErrOverflow).
func (t *Tx) Add(key []byte, delta int64) (int64, error) {
	v, err := t.Get(key)
	if err != nil {
		return 0, err
	}
	n, err := number(key, v)
	if err != nil {
		return 0, err
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return 0, fmt.Errorf("%w: %d + %d; keep it in another form", ErrOverflow, n, delta)
	}
	n += delta
	return n, t.Set(key, binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// number reads a value of Add.
func number(key, value []byte) (int64, error) {
	switch len(value) {
	case 0:
		if value == nil {
			return 0, nil
		}
	case 8:
		return int64(binary.BigEndian.Uint64(value)), nil
	}
	return 0, fmt.Errorf("store: a key of %d bytes holds %d bytes, not a number of Add; use another key",
		len(key), len(value))
}

// Scan calls fn for every key with the prefix, in key order, with the values as
// they stand for this record. The slices are valid until fn returns. It ends
// early with the error of fn. fn must not write keys with the prefix.
func (t *Tx) Scan(prefix []byte, fn func(key, value []byte) error) error {
	if t.ended.Load() {
		return ErrTxDone
	}
	n := t.b.n
	return merged(n.s.db, n, prefix, t.b.state, fn)
}

// Stage keeps an output of the record with the batch, as opaque bytes, of which
// it keeps a copy. It stays pending until Batch.Settle.
func (t *Tx) Stage(out []byte) error {
	if t.ended.Load() {
		return ErrTxDone
	}
	if t.alters {
		return fmt.Errorf("%w: namespace %q; stage it in Do", ErrNoOrigin, t.b.n.name)
	}
	index := uint64(len(t.b.outs) - t.outs)
	t.b.outs = append(t.b.outs, staged{t.origin, index, slices.Clone(out)})
	t.b.size += outBytes + len(out)
	return nil
}

// undo takes the record's writes and outputs out of the batch.
func (t *Tx) undo() {
	for _, w := range slices.Backward(t.writes) {
		if w.had {
			t.b.state[w.key] = w.was
		} else {
			delete(t.b.state, w.key)
		}
	}
	clear(t.b.outs[t.outs:])
	t.b.outs = t.b.outs[:t.outs]
	t.b.size = t.size
}
