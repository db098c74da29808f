package adapter

import "fmt"

// Set gives a key of the state a value, as store.Tx does.
func (t *Tx) Set(key, value []byte) error {
	if err := t.p.mayWrite(); err != nil {
		return err
	}
	return t.Tx.Set(key, value)
}

// Delete removes a key of the state, as store.Tx does.
func (t *Tx) Delete(key []byte) error {
	if err := t.p.mayWrite(); err != nil {
		return err
	}
	return t.Tx.Delete(key)
}

// Add adds to a number of the state, as store.Tx does.
func (t *Tx) Add(key []byte, delta int64) (int64, error) {
	if err := t.p.mayWrite(); err != nil {
		return 0, err
	}
	return t.Tx.Add(key, delta)
}

// Get returns a copy of a value of the state, as store.Tx does.
func (t *Tx) Get(key []byte) ([]byte, error) {
	if err := t.p.mayRead(); err != nil {
		return nil, err
	}
	return t.Tx.Get(key)
}

// Scan calls fn for keys of the state, as store.Tx does.
func (t *Tx) Scan(prefix []byte, fn func(key, value []byte) error) error {
	if err := t.p.mayRead(); err != nil {
		return err
	}
	return t.Tx.Scan(prefix, fn)
}

// mayRead refuses state to handlers that run side by side: what one reads would
// depend on which of the others was faster.
func (p *partition) mayRead() error {
	if n := p.s.c.opts.Concurrency; n > 1 {
		return Stop(fmt.Errorf("%w: Concurrency is %d, group %q; leave Concurrency out, or the state",
			ErrNoState, n, p.s.c.opts.Group))
	}
	return nil
}

// mayWrite refuses state in a partition that the group had read before, without
// firstseen: what the records below would have left is nowhere (R11, row 5).
func (p *partition) mayWrite() error {
	if err := p.mayRead(); err != nil {
		return err
	}
	if !p.kept.stateless || p.s.c.opts.FreshState {
		return nil
	}
	return Stop(fmt.Errorf("%w: group %q, %s/%d: the group had read it before this store did, and state of those "+
		"records is nowhere; take a new group, or set FreshState to start with empty state",
		ErrStateElsewhere, p.s.c.opts.Group, p.topic, p.number))
}
