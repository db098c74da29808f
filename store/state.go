package store

import (
	"errors"
	"fmt"
)

// State is the named state of a store (R15). Its zero value is none of them.
//
// Two more names belong to the list and to no open store: locked is what Open
// answers while somebody else has the directory (ErrLocked), and stale is what a
// consumer answers whose store was overtaken by another instance: a store alone
// cannot know that.
type State uint8

const (
	// StateRunning accepts batches, unless the store is open to look into it
	// (Options.ReadOnly). Err returns nil.
	StateRunning State = 1 + iota

	// StateDiskFull refuses batches until there is room, and is left without
	// help when there is. Everything that only reads goes on. Err returns
	// ErrDiskFull.
	StateDiskFull

	// StatePoisoned refuses everything until the process is restarted: a write
	// failed, and only reading the disk anew tells what it holds. Err returns
	// ErrPoisoned.
	StatePoisoned

	// StateCorrupt refuses everything: stored bytes are not what was written.
	// Err returns ErrCorrupt.
	StateCorrupt

	// StateClosed refuses everything. Err returns ErrClosed.
	StateClosed
)

var stateNames = [...]string{"none", "running", "disk-full", "poisoned", "corrupt", "closed"}

// String returns the state's name in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// State returns the state that the store is in. It reads nothing from disk and
// may be called from any goroutine, after Close as well.
func (s *Store) State() State {
	switch err := s.Err(); {
	case err == nil:
		return StateRunning
	case errors.Is(err, ErrPoisoned):
		return StatePoisoned
	case errors.Is(err, ErrCorrupt):
		return StateCorrupt
	case errors.Is(err, ErrDiskFull):
		return StateDiskFull
	default:
		return StateClosed
	}
}

// Err returns nil while the store is running, and otherwise the error of the
// state that it is in, with its cause and the way out: ErrPoisoned, ErrCorrupt,
// ErrClosed or ErrDiskFull. Only the last one ends while the store is open.
func (s *Store) Err() error {
	if err := s.stopped(); err != nil {
		return err
	}
	return s.disk.err()
}

// stopped returns the error of a state that never ends.
func (s *Store) stopped() error {
	if err := s.fault.get(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return nil
	}
}
