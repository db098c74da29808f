package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// The registry: every namespace by name, with its number and its settings.

// loadRegistry reads the namespaces' names and settings and proves them.
func (s *Store) loadRegistry() error {
	var sum ledger
	err := s.scan([]byte{kindName}, func(key, value []byte) error {
		sum.add(s.record.entryProof(key, value))
		s.names[string(key[1:])] = slices.Clone(value)
		return nil
	})
	if err == nil && sum != s.record.namespaces {
		err = corruptf("the store record counts %d namespaces, %d are there, or they are others",
			s.record.namespaces.n, sum.n)
	}
	return err
}

// Namespaces returns the names of all namespaces, in order.
func (s *Store) Namespaces() iter.Seq[string] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Sorted(maps.Keys(s.names)))
}

// Namespace returns the namespace of that name, and creates it, durably, when
// there is none. There is one of a name: every call returns the same.
//
// Options that are not those it has change it, durably, before the call returns
// (see NamespaceOptions), or are refused as a whole: ErrSettings says what would
// be lost. Nil changes nothing. A change waits for the namespace's batch in
// progress, so it must not be asked for inside one.
func (s *Store) Namespace(name string, opts *NamespaceOptions) (*Namespace, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	o := opts.withDefaults() // those of a namespace that is created
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("store: namespace %q: %w", name, err)
	}
	if name == "" || len(name) > 1<<10 {
		return nil, fmt.Errorf("store: a namespace's name has 1 to 1024 bytes, not %d", len(name))
	}
	n, err := s.inUse(name, o)
	if err == nil && opts != nil {
		err = n.adapt(o)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// inUse returns the one handle of a namespace, which it creates where there is
// none.
func (s *Store) inUse(name string, o NamespaceOptions) (*Namespace, error) {
	s.creating.Lock()
	defer s.creating.Unlock()
	s.mu.Lock()
	n, value := s.spaces[name], s.names[name]
	s.mu.Unlock()
	if n != nil {
		return n, nil
	}
	var err error
	if value == nil {
		if err := s.writable("there is no namespace %q, and none is made", name); err != nil {
			return nil, err
		}
		if err := s.disk.admit(); err != nil {
			return nil, fmt.Errorf("namespace %q: %w", name, err)
		}
		value, err = s.register(name, o)
	}
	if err == nil {
		n, err = s.newNamespace(name, value)
	}
	if err != nil {
		return nil, s.fault.found(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces[name], s.byNumber[n.num] = n, n
	return n, nil
}

// register creates a namespace and returns its entry of the registry. The
// caller holds creating.
func (s *Store) register(name string, o NamespaceOptions) ([]byte, error) {
	r := s.record
	if err := s.vacant(r.nextNS); err != nil {
		return nil, err
	}
	value := settingsEntry(r.nextNS, &o)
	key := nameKey(name)
	r.nextNS++
	r.namespaces.add(r.entryProof(key, value))
	err := s.fault.write("create a namespace", s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		must(w.Set(key, value, nil))
		must(w.Set([]byte{kindStore}, r.append(nil), nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
	s.names[name] = value
	return value, nil
}

// vacant makes sure that nothing stands under a number before a namespace gets
// it. A store record and a registry that went back together agree, and would give
// a number out twice: its second namespace would have the markers of the first.
func (s *Store) vacant(num uint32) error {
	for _, kind := range spaced {
		err := s.scan(nsKey(kind, num), func(_, _ []byte) error {
			return corruptf("the next namespace is number %d, and that was given out", num)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newNamespace makes a namespace of its entry in the registry and its head.
func (s *Store) newNamespace(name string, value []byte) (*Namespace, error) {
	num, o, ok := parseSettings(value)
	if !ok {
		return nil, corruptf("namespace %q: its settings do not parse", name)
	}
	n := &Namespace{
		s: s, name: name, num: num, opts: o, rules: o.rules(),
		owner: make(chan struct{}, 1), leaving: map[uint64]bool{},
	}
	if err := errors.Join(n.loadHead(value), n.loadAges()); err != nil {
		return nil, err
	}
	n.publish()
	return n, nil
}
