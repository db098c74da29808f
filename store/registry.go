package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/firstseen/firstseen/window"
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
// there is none. Settings are those it was created with: asking for others is
// ErrSettings, asking for none (nil) always fits.
func (s *Store) Namespace(name string, opts *NamespaceOptions) (*Namespace, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("store: namespace %q: %w", name, err)
	}
	if name == "" || len(name) > 1<<10 {
		return nil, fmt.Errorf("store: a namespace's name has 1 to 1024 bytes, not %d", len(name))
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	s.mu.Lock()
	n, value := s.spaces[name], s.names[name]
	s.mu.Unlock()
	if n == nil {
		var err error
		if value == nil {
			if err := s.disk.admit(); err != nil {
				return nil, fmt.Errorf("namespace %q: %w", name, err)
			}
			value, err = s.register(name, o)
		}
		if err == nil {
			n, err = s.newNamespace(name, value, o.BucketWidth)
		}
		if err != nil {
			return nil, s.fault.found(err)
		}
	}
	if opts != nil {
		if err := n.same(o); err != nil {
			return nil, err
		}
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
	value := binary.BigEndian.AppendUint32(nil, r.nextNS)
	for _, ms := range []int64{o.Window.Millis(), o.MaxAdvance.Milliseconds(), o.MaxAhead.Milliseconds()} {
		value = binary.BigEndian.AppendUint64(value, uint64(ms))
	}
	value = append(value, o.IDSource...)
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

// newNamespace makes a namespace of its entry in the registry and its head.
func (s *Store) newNamespace(name string, value []byte, width time.Duration) (*Namespace, error) {
	d := decoder{b: value}
	n := &Namespace{s: s, name: name, num: d.uint32(), owner: make(chan struct{}, 1), failed: -1}
	w, advance, ahead := int64(d.uint64()), int64(d.uint64()), int64(d.uint64())
	if d.bad {
		return nil, corruptf("namespace %q: its settings do not parse", name)
	}
	ms := func(v int64) time.Duration { return time.Duration(v) * time.Millisecond }
	win := window.Forever
	if w != win.Millis() {
		win = window.Of(ms(w))
	}
	n.opts = NamespaceOptions{
		Window: win, BucketWidth: width, MaxAdvance: ms(advance), MaxAhead: ms(ahead), IDSource: string(d.b),
	}
	n.rules = rules{w: win, maxAdvance: advance, maxAhead: ahead}
	if advance == 0 {
		n.rules.maxAdvance = window.Forever.Millis() // no limit
	}
	if err := n.loadHead(); err != nil {
		return nil, err
	}
	n.publish()
	return n, nil
}
