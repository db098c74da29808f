package store

import "context"

// A checkpoint fixes which tables there are and only then copies the log, with
// whatever batches have come in since. So a batch in that log must not rest on
// a table that came, or went, after the tables were fixed: one that deletes the
// runs of a segment because its table is there, or a dead record because its
// table is gone. Such batches follow an Ingest or an Excise; so these two, and
// whatever else changes which tables there are, go through editTables, which
// waits while a checkpoint is taken. No batch has to know.

// editTables calls fn, which changes which tables there are, as fault.write does.
func (s *Store) editTables(deed string, fn func() error) error {
	if err := s.lockTables(context.Background()); err != nil {
		return err
	}
	defer s.unlockTables()
	return s.fault.write(deed, s.opts.CommitTimeout, fn)
}

// lockTables waits until nobody else changes which tables there are, and no
// checkpoint is taken.
func (s *Store) lockTables(ctx context.Context) error {
	select {
	case s.tablesLock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	case <-s.fault.done:
		return s.fault.get()
	}
}

func (s *Store) unlockTables() { <-s.tablesLock }
