package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// keysOf counts the keys of a namespace, of any kind.
func keysOf(t *testing.T, s *Store, num uint32) (n int) {
	t.Helper()
	for kind := byte(1); kind < 0x20; kind++ {
		if kind == kindStore || kind == kindName || kind == kindOpens {
			continue
		}
		require.NoError(t, s.scan(nsKey(kind, num), func(_, _ []byte) error { n++; return nil }))
	}
	return n
}

// filled makes a namespace with everything in it: tables, runs, a row, state,
// outputs, sweeps and dead records.
func filled(t *testing.T, s *Store, name string) *Namespace {
	t.Helper()
	n, err := s.Namespace(name, &NamespaceOptions{Window: window.Of(time.Second)})
	require.NoError(t, err)
	for o := int64(0); o < 3000; o += 30 {
		accept(t, n, o, 30, 0)
	}
	require.NoError(t, n.ForgetTimes(time.Time{}, t0.Add(2500*time.Millisecond)))
	_, err = n.Do(rec("jump", 3000, time.Hour), func(tx *Tx) error {
		return errors.Join(tx.Set([]byte("k"), []byte("v")), tx.Stage([]byte("out")))
	})
	require.NoError(t, err)
	return n
}

func TestStore_DeleteNamespace(t *testing.T) {
	fs := vfs.NewMem()
	reopen := func() *Store {
		s, err := open("store", nil, seams{fs: fs, limits: mergeLimits})
		require.NoError(t, err)
		return s
	}
	s := reopen()
	n := filled(t, s, "a")
	other := filled(t, s, "b")
	accept(t, n, 3001, 3, 0) // too few for a table
	num, free := n.num, s.memory.Load()
	require.Greater(t, keysOf(t, s, num), 20)
	require.ErrorIs(t, s.DeleteNamespace("c"), ErrNoNamespace)
	require.NoError(t, s.DeleteNamespace("a"))
	require.ErrorIs(t, s.DeleteNamespace("a"), ErrNoNamespace)

	_, err := n.Do(rec("x", 3001, 0), nil)
	require.ErrorIs(t, err, ErrDeleted)
	_, err = n.Status()
	require.ErrorIs(t, err, ErrDeleted)
	_, err = n.DiskBytes()
	require.ErrorIs(t, err, ErrDeleted)
	require.ErrorIs(t, n.View(func(*View) error { return nil }), ErrDeleted)
	require.ErrorIs(t, n.Pending(func(Output) error { return nil }), ErrDeleted)
	require.ErrorIs(t, n.Load(), ErrDeleted)
	require.Equal(t, []string{"b"}, slices.Collect(s.Namespaces()))
	require.Less(t, s.memory.Load(), free, "what it held in memory")

	again, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NotEqual(t, num, again.num, "numbers are never used again")
	d, err := again.Do(rec("id-2999", 0, 3*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, New, d.Verdict, "it knows nothing")
	require.NoError(t, s.queue.drain())
	require.Zero(t, keysOf(t, s, num), "the dead record goes last")
	d, err = other.Do(rec("id-2999", 3001, 3*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, Duplicate, d.Verdict, "another namespace")
	require.NoError(t, s.Close())

	s = reopen()
	defer func() { require.NoError(t, s.Close()) }()
	require.Equal(t, []string{"a", "b"}, slices.Collect(s.Namespaces()))
	require.NoError(t, s.DeleteNamespace("b"), "one that nobody uses")
	require.NoError(t, s.queue.drain())
	require.Zero(t, keysOf(t, s, other.num))
}

// A deletion waits for the batch in progress, which may itself make namespaces,
// and ends what waits behind it. Deleting twice at once deletes once.
func TestStore_DeleteNamespaceBesideItsUse(t *testing.T) {
	s := testOpen(t, t.TempDir(), mergeLimits)
	n := filled(t, s, "a")
	begun, ended := make(chan struct{}), make(chan error, 3)
	go func() {
		ended <- n.Update(func(b *Batch) error {
			close(begun)
			for i := range 20 {
				if _, err := s.Namespace(fmt.Sprintf("other-%d", i), nil); err != nil {
					return err
				}
			}
			_, err := b.Do(rec("last", 3001, 3*time.Second), nil)
			return err
		})
	}()
	<-begun
	for range 2 {
		go func() { ended <- s.DeleteNamespace("a") }()
	}
	var errs []error
	for range 3 {
		errs = append(errs, <-ended)
	}
	require.Equal(t, 2, len(slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err != nil })))
	require.ErrorIs(t, errors.Join(errs...), ErrNoNamespace)
	require.NoError(t, s.queue.drain())
	require.Zero(t, keysOf(t, s, n.num))
}

// A deletion is no roll-back: what the witness saw of the namespace stays seen.
func TestStore_DeletedBatchesAreWitnessed(t *testing.T) {
	fs := vfs.NewMem()
	reopen := func() (s *Store) {
		s, err := open("store", nil, seams{fs: fs})
		require.NoError(t, err)
		return s
	}
	s := reopen()
	write(t, s, 7)
	b, err := s.Namespace("b", nil)
	require.NoError(t, err)
	accept(t, b, 0, 20, 0)
	require.NoError(t, s.Close())
	s = reopen()
	require.NoError(t, s.DeleteNamespace("a"))
	require.NoError(t, s.Close())
	s = reopen()
	batches, _, err := s.tally()
	require.NoError(t, err)
	require.EqualValues(t, 8, batches)
	write(t, s, 1)
	require.NoError(t, s.Close())
	require.NoError(t, reopen().Close())
}

// The process ends between the batch that deletes a namespace and the removal of
// its tables.
func TestFault_A10_DeletionIsFinishedByOpen(t *testing.T) {
	fs := vfs.NewMem()
	s, err := open("store", nil, seams{fs: fs, limits: mergeLimits})
	require.NoError(t, err)
	n := filled(t, s, "a")
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.lockTables(t.Context())) // no table goes
	require.NoError(t, s.DeleteNamespace("a"))
	tables := keysOf(t, s, n.num)
	require.Greater(t, tables, 1)
	require.NoError(t, s.Close())

	s, err = open("store", nil, seams{fs: fs, limits: mergeLimits})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.Empty(t, slices.Collect(s.Namespaces()))
	require.NoError(t, s.queue.drain())
	require.Zero(t, keysOf(t, s, n.num))
}
