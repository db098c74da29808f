package store

import (
	"errors"
	"fmt"
	"time"
)

// enter begins a call that needs the database, leave ends it: Close waits.
func (s *Store) enter() error {
	if err := s.fault.get(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.calls++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.closed && s.calls == 0 {
		close(s.idle)
	}
}

// Close ends the store: calls that wait return ErrClosed, batches in progress
// end first, and the lock is given back. It waits at most ten seconds for them
// and for the disk, and then returns ErrCloseTimeout. It returns every error,
// may be called more than once, and must not be called inside a batch.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.ended
		return s.closeErr
	}
	s.closed = true
	close(s.closing)
	if s.calls == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	s.closeErr = s.release()
	close(s.ended)
	return s.closeErr
}

// release gives back what open took, as far as it came.
func (s *Store) release() error {
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	late := func(what string) error {
		err := fmt.Errorf("%w: %s; restart the process", ErrCloseTimeout, what)
		return errors.Join(err, s.fault.get()) // which is why, as a rule
	}
	if s.working {
		close(s.queue.stop)
		for _, w := range []struct {
			on   <-chan struct{}
			what string
		}{
			{s.idle, "a call has not returned"}, {s.queue.done, "a table is still being written"},
			{s.witness.done, "the witness is still being written"},
			{s.disk.done, "the disk does not say how much is free"},
		} {
			select {
			case <-w.on:
			case <-timeout.C:
				return late(w.what)
			}
		}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- guarded(func() error {
			var err error
			for w := range s.writing {
				err = errors.Join(err, w.remove())
			}
			if s.db != nil {
				err = s.db.Close()
			}
			if s.lock != nil {
				err = errors.Join(err, s.lock.Close())
			}
			return err
		})
	}()
	select {
	case err := <-ended:
		if s.working {
			err = errors.Join(err, s.witness.err)
		}
		return err
	case <-timeout.C:
		return late("the database does not close")
	}
}
