package store

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// View is a read-only picture of a namespace's state as of one batch. It is
// handed to the function of Namespace.View and ends with it. It may be read
// beside Update, and by several goroutines.
type View struct {
	n     *Namespace
	snap  *pebble.Snapshot
	ended atomic.Bool
}

// View calls fn with a picture of the state as of the newest durable batch. It
// never waits for a handler, at most for a batch that is being written, and no
// batch waits for it; space that was given up meanwhile comes back when fn returns.
func (n *Namespace) View(fn func(*View) error) error {
	if err := n.s.enter(); err != nil {
		return err
	}
	defer n.s.leave()
	v := &View{n: n, snap: n.s.db.NewSnapshot()}
	defer func() {
		v.ended.Store(true)
		_ = v.snap.Close() // it frees memory, and cannot fail
	}()
	if err := n.durable(); err != nil {
		return err
	}
	if err := n.there(); err != nil { // the picture may be of its end
		return err
	}
	return fn(v)
}

// Get returns a copy of the value of key, nil when there is none.
func (v *View) Get(key []byte) ([]byte, error) {
	if v.ended.Load() {
		return nil, ErrTxDone
	}
	return v.n.s.getFrom(v.snap, stateKey(v.n.num, key))
}

// Int returns the number that Tx.Add keeps at key, 0 when there is none.
func (v *View) Int(key []byte) (int64, error) {
	b, err := v.Get(key)
	if err != nil {
		return 0, err
	}
	return number(key, b)
}

// Scan calls fn for every key with the prefix, in key order. The slices are
// valid until fn returns. It ends early with the error of fn.
func (v *View) Scan(prefix []byte, fn func(key, value []byte) error) error {
	if v.ended.Load() {
		return ErrTxDone
	}
	return merged(v.snap, v.n, prefix, nil, fn)
}

// get returns a copy of a stored value, nil when there is none.
func (s *Store) get(key []byte) ([]byte, error) { return s.getFrom(s.db, key) }

func (s *Store) getFrom(r pebble.Reader, key []byte) (value []byte, err error) {
	err = s.fault.read("read a value", func() error {
		v, closer, err := r.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		value = append([]byte{}, v...)
		return closer.Close()
	})
	return value, err
}

// scan calls fn, which is ours, for every stored key with the prefix.
func (s *Store) scan(prefix []byte, fn func(key, value []byte) error) error {
	return s.fault.read("scan", func() error {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err == nil {
				err = fn(it.Key(), v)
			}
			if err != nil {
				_ = it.Close() // it says the same, if anything
				return err
			}
		}
		return it.Close() // with the error that ended the loop
	})
}

// merged walks stored state and the writes that lie over it, in key order.
func merged(
	r pebble.Reader, n *Namespace, prefix []byte, writes map[string]stateWrite,
	fn func(key, value []byte) error,
) error {
	over := slices.DeleteFunc(slices.Sorted(maps.Keys(writes)), func(k string) bool {
		return !strings.HasPrefix(k, string(prefix))
	})
	from := stateKey(n.num, prefix)
	var it *pebble.Iterator
	var key, value []byte
	more := false
	step := func(move func() bool) error {
		return n.s.fault.read("read state", func() (err error) {
			if more = move(); !more {
				return it.Error()
			}
			key = it.Key()[5:]
			value, err = it.ValueAndErr()
			return err
		})
	}
	err := n.s.fault.read("open state", func() (err error) {
		it, err = r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }() // its error was met by the step that met it
	for err = step(it.First); err == nil && (more || len(over) > 0); {
		if more && (len(over) == 0 || string(key) < over[0]) {
			if err = fn(key, value); err == nil {
				err = step(it.Next)
			}
			continue
		}
		top := over[0]
		over = over[1:]
		if more && string(key) == top {
			err = step(it.Next)
		}
		if w := writes[top]; err == nil && !w.deleted {
			err = fn([]byte(top), w.value)
		}
	}
	return err
}
