package adapter

import "fmt"

// Set gives a key of the state a value, as store.Tx does.
func (t *Tx) Set(key, value []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	return t.Tx.Set(key, value)
}

// Delete removes a key of the state, as store.Tx does.
func (t *Tx) Delete(key []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	return t.Tx.Delete(key)
}

// Add adds to a number of the state, as store.Tx does.
func (t *Tx) Add(key []byte, delta int64) (int64, error) {
	if err := t.mayWrite(); err != nil {
		return 0, err
	}
	return t.Tx.Add(key, delta)
}

// mayWrite refuses state in a partition that the group had read before, without
// firstseen: what the records below would have left is nowhere (R11, row 5).
func (t *Tx) mayWrite() error {
	p := t.p
	if !p.kept.stateless || p.s.c.opts.FreshState {
		return nil
	}
	return Stop(fmt.Errorf("%w: group %q, %s/%d: the group had read it before this store did, and state of those "+
		"records is nowhere; take a new group, or set FreshState to start with empty state",
		ErrStateElsewhere, p.s.c.opts.Group, p.topic, p.number))
}
