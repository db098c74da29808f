package store

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// inState checks that State, Err and Stats say the same.
func inState(t *testing.T, s *Store, want State, err error) {
	t.Helper()
	require.Equal(t, want, s.State())
	require.Equal(t, want, s.Stats().State)
	if err == nil {
		require.NoError(t, s.Err())
	} else {
		require.ErrorIs(t, s.Err(), err)
	}
}

func TestState_String(t *testing.T) {
	for state, want := range map[State]string{
		0: "none", StateRunning: "running", StateDiskFull: "disk-full", StatePoisoned: "poisoned",
		StateCorrupt: "corrupt", StateClosed: "closed", 9: "State(9)",
	} {
		require.Equal(t, want, state.String())
	}
}

func TestState_RunningClosed(t *testing.T) {
	s, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	inState(t, s, StateRunning, nil)
	require.NoError(t, s.Close())
	inState(t, s, StateClosed, ErrClosed)
}

func TestState_Corrupt(t *testing.T) {
	s, err := Open("", &Options{InMemory: true})
	require.NoError(t, err)
	require.Error(t, s.fault.found(corruptf("a page is missing")))
	inState(t, s, StateCorrupt, ErrCorrupt)
	require.NoError(t, s.Close())
	inState(t, s, StateCorrupt, ErrCorrupt)
}

// A failed sync of the log: the error says what to do, and nothing is tried
// again, whoever asks.
func TestFault_B02_PoisonedSaysRestart(t *testing.T) {
	t.Parallel() // Close takes its ten seconds
	var armed atomic.Bool
	var after atomic.Int64 // operations on the log from the failure on
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !armed.Load() || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			if after.Add(1) == 1 {
				return syscall.EIO
			}
		}
		return nil
	}))
	s, err := open("store", nil, seams{fs: fs})
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	armed.Store(true)
	for range 3 {
		_, err = n.Do(rec("x", 0, 0), nil)
		require.ErrorIs(t, err, ErrPoisoned)
		require.ErrorContains(t, err, "restart the process")
	}
	inState(t, s, StatePoisoned, ErrPoisoned)
	_, err = s.Namespace("b", nil)
	require.ErrorIs(t, err, ErrPoisoned)
	require.EqualValues(t, 1, after.Load(), "the log was synced again")
	_ = closeWithin(t, s) // it may give up
	inState(t, s, StatePoisoned, ErrPoisoned)
	require.EqualValues(t, 1, after.Load(), "Close synced the log again")
}

// closeWithin closes a store that may not answer, and returns the error.
func closeWithin(t *testing.T, s *Store) error {
	t.Helper()
	begun := time.Now()
	err := s.Close()
	require.Less(t, time.Since(begun), 2*closeTimeout)
	return err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
