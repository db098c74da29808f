package store

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// replacement is an output that takes the place of one that is on disk.
type replacement struct {
	seq uint64
	key []byte
	out staged
}

// Replace puts data in the place of an output that is pending, with this batch: it
// stays the output of the same record, under the same sequence and index. It is for
// an output that the outside refuses for good. ErrNotPending says that there is no
// such output, as Pending would name it.
func (b *Batch) Replace(o Output, data []byte) error {
	if b.ended.Load() {
		return ErrTxDone
	}
	key, err := b.n.outputKey(o)
	if err != nil {
		return err
	}
	out := staged{o.Origin, uint64(o.Index), slices.Clone(data)}
	b.replaced = append(b.replaced, replacement{o.Sequence, key, out})
	b.size += outBytes + len(data)
	b.dirty = true
	return nil
}

// outputKey returns where a pending output stands on disk.
func (n *Namespace) outputKey(o Output) (key []byte, err error) {
	if o.Sequence == 0 || o.Sequence >= sequenceLimit {
		return nil, n.notPending(o)
	}
	var it *pebble.Iterator
	err = n.s.fault.read("open the staged outputs", func() (err error) {
		it, err = n.s.db.NewIter(&pebble.IterOptions{
			LowerBound: outKey(n.num, o.Sequence, 0), UpperBound: outKey(n.num, o.Sequence+1, 0),
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = it.Close() }() // its error was met by the step that met it
	for first := true; ; first = false {
		var has Output
		var more bool
		err := n.s.fault.read("read a staged output", func() (err error) {
			has, more, err = nextOutput(it, first)
			if more {
				key = slices.Clone(it.Key())
			}
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case !more:
			return nil, n.notPending(o)
		case has.Origin == o.Origin && has.Index == o.Index:
			return key, nil
		}
	}
}

func (n *Namespace) notPending(o Output) error {
	return fmt.Errorf("%w: namespace %q, batch %d, output %d of %v; Namespace.Pending gives those that are",
		ErrNotPending, n.name, o.Sequence, o.Index, o.Origin)
}

// replace is Replace on its way to disk. What the same batch settles is gone.
func (b *Batch) replace(w *pebble.Batch) {
	for _, r := range b.replaced {
		if r.seq > b.settled {
			must(w.Set(r.key, r.out.append(nil), nil))
		}
	}
}
