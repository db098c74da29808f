package store

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// staged is an output that waits for its batch. As a value on disk:
//
//	position of its record (32 B) | uvarint index within the record | data
type staged struct {
	origin Position
	index  uint64
	data   []byte
}

func (o *staged) append(dst []byte) []byte {
	dst = appendPosition(dst, o.origin)
	dst = binary.AppendUvarint(dst, o.index)
	return append(dst, o.data...)
}

// unsettled counts the pending outputs of one batch.
type unsettled struct {
	seq uint64
	n   int
}

// Pending calls fn for every staged output that is not settled yet, in order,
// as of the newest durable batch: it waits for one that is being written. It ends
// early with the error of fn. It may run beside Update, and not inside its function.
func (n *Namespace) Pending(fn func(Output) error) error {
	if err := n.s.enter(); err != nil {
		return err
	}
	defer n.s.leave()
	from := nsKey(kindOut, n.num)
	var it *pebble.Iterator
	err := n.s.fault.read("open the staged outputs", func() (err error) {
		it, err = n.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }() // its error was met by the step that met it
	if err := errors.Join(n.durable(), n.there()); err != nil {
		return err
	}
	for first := true; ; first = false {
		var o Output
		var more bool
		err := n.s.fault.read("read a staged output", func() (err error) {
			o, more, err = nextOutput(it, first)
			return err
		})
		if err != nil || !more {
			return err
		}
		if err := fn(o); err != nil {
			return err
		}
	}
}

func nextOutput(it *pebble.Iterator, first bool) (o Output, more bool, err error) {
	if first {
		more = it.First()
	} else {
		more = it.Next()
	}
	if !more {
		return o, false, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return o, false, err
	}
	d := decoder{b: v}
	o.Origin, o.Index = d.position(), int(d.uvarint())
	seq, ok := segOf(it.Key())
	if d.bad || !ok {
		return o, false, corruptf("a staged output does not parse")
	}
	o.Sequence, o.Data = seq, slices.Clone(d.b)
	return o, true, nil
}

// loadPending counts the staged outputs of each batch.
func (n *Namespace) loadPending() error {
	return n.s.scan(nsKey(kindOut, n.num), func(key, _ []byte) error {
		seq, ok := segOf(key)
		if !ok {
			return corruptf("namespace %q: a staged output has no sequence", n.name)
		}
		n.stagedIn(seq, 1)
		return nil
	})
}

func (n *Namespace) stagedIn(seq uint64, count int) {
	if last := len(n.pending) - 1; last >= 0 && n.pending[last].seq == seq {
		n.pending[last].n += count
		return
	}
	n.pending = append(n.pending, unsettled{seq, count})
}
