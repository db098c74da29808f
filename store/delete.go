package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// DeleteNamespace deletes a namespace with all that it holds: markers, position,
// clock, state, outputs and settings, in one durable step. It waits for a batch
// in progress. What still uses the namespace gets ErrDeleted; its name may be
// used again, for a namespace that knows nothing. There being none of that name
// is ErrNoNamespace. Must not be called inside a batch of the namespace.
//
// It goes through on a full disk, below the floor of free space, as it makes room.
// Only a disk that has none at all, with its ballast given up, refuses it
// (ErrDiskFull); the namespace is then as it was.
//
// Disk space comes back soon after; after a crash, once the store is open again.
func (s *Store) DeleteNamespace(name string) error {
	if err := s.writable("namespace %q is not deleted", name); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	for {
		s.mu.Lock()
		n := s.spaces[name]
		s.mu.Unlock()
		// A batch may itself ask for a namespace, so nothing else is held while
		// it is waited for.
		if n != nil {
			if err := n.own(); errors.Is(err, ErrDeleted) {
				continue // by somebody else, meanwhile
			} else if err != nil {
				return err
			}
		}
		again, err := s.deleteOwned(name, n)
		if n != nil {
			n.disown()
		}
		if !again {
			return err
		}
	}
}

// deleteOwned deletes a namespace whose handle, if there is one, the caller owns.
// It reports whether another handle has come up meanwhile.
func (s *Store) deleteOwned(name string, n *Namespace) (again bool, err error) {
	s.creating.Lock()
	defer s.creating.Unlock()
	s.mu.Lock()
	now, value := s.spaces[name], s.names[name]
	s.mu.Unlock()
	switch {
	case now != n:
		return true, nil
	case value == nil:
		return false, fmt.Errorf("%w: %q; Store.Namespaces lists those there are", ErrNoNamespace, name)
	}
	if err := s.disk.relief(); err != nil {
		return false, fmt.Errorf("namespace %q is not deleted: %w", name, err)
	}
	d := decoder{b: value}
	num := d.uint32()
	if n != nil {
		n.deleted.Store(true) // before it is: nobody takes its end for an empty namespace
	}
	if err := s.erase(name, num); err != nil {
		if n != nil {
			n.deleted.Store(false)
		}
		return false, err
	}
	if n != nil && n.loaded {
		n.index.end() // the queue does no more for it
		n.index, n.loaded = nil, false
	}
	s.queue.add(s.buryJob(num))
	return false, nil
}

// erase takes a namespace out of the database and out of the registry. The
// caller holds creating. Tables of markers cannot go with a batch: the dead
// record makes sure that they do, in the end.
func (s *Store) erase(name string, num uint32) error {
	key := nameKey(name)
	head, err := s.get(nsKey(kindHead, num))
	if err != nil {
		return err
	}
	h := newHead()
	if head != nil {
		var ok bool
		if h, ok = parseHead(head); !ok {
			return s.fault.found(corruptf("namespace %q: its head does not parse", name))
		}
	}
	s.mu.Lock()
	r := s.record
	r.namespaces.sub(r.entryProof(key, s.names[name]))
	s.mu.Unlock()
	r.gone += h.sequence // what a witness has seen of it stays seen
	err = s.fault.write("delete namespace "+name, s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		must(w.Delete(key, nil))
		must(w.Set([]byte{kindStore}, r.append(nil), nil))
		for _, kind := range append([]byte{kindDead}, spaceKinds...) {
			from := nsKey(kind, num)
			must(w.DeleteRange(from, after(from), nil))
		}
		must(w.Set(nsKey(kindDead, num), nil, nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
	delete(s.names, name)
	delete(s.spaces, name)
	delete(s.byNumber, num)
	return nil
}

// buryJob removes the tables of a deleted namespace, and then its dead record.
// What the queue was doing for the namespace has ended by then, and is not
// begun again.
func (s *Store) buryJob(num uint32) func() error {
	return func() error {
		from := nsKey(kindPage, num)
		return s.editTables("remove the tables of a deleted namespace", func() error {
			if err := s.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: after(from)}); err != nil {
				return err
			}
			w := s.db.NewBatch()
			shared := nsKey(kindShared, num)
			must(w.DeleteRange(shared, after(shared), nil))
			must(w.Delete(nsKey(kindDead, num), nil))
			return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
		})
	}
}

// loadDeleted has the tables of deleted namespaces removed that a crash has left.
func (s *Store) loadDeleted() error {
	live := map[uint32]bool{}
	for _, value := range s.names {
		d := decoder{b: value}
		live[d.uint32()] = true
	}
	return s.scan([]byte{kindDead}, func(key, _ []byte) error {
		if len(key) != len(nsKey(kindDead, 0)) {
			return nil // of a segment
		}
		d := decoder{b: key[1:]}
		num := d.uint32()
		if live[num] || num >= s.record.nextNS {
			return corruptf("namespace %d is deleted and there, or never was", num)
		}
		s.queue.add(s.buryJob(num))
		return nil
	})
}
