package store

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// Forgetting is a batch like any other: a full disk refuses it by name, with the
// way out, and nothing of it happens. With room it goes through as it was asked.
// What needs no room for what it brings, Advance and the deletion of a namespace,
// goes through on the full disk.
func TestFault_B03_ForgetWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(200 << 20)
		opts := &Options{Logger: quiet(), Now: func() time.Time { return t0.Add(time.Hour) }} // not the bubble's
		s, err := open("store", opts, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		accept(t, n, 0, 20, 0)
		_, err = s.Namespace("b", nil)
		require.NoError(t, err)
		forgets := map[string]func() error{
			"an ID":   func() error { _, err := n.Forget([]byte("id-1")); return err },
			"origins": func() error { return n.ForgetOrigins(ID{1}, 0, 2, 4) },
			"times":   func() error { return n.ForgetTimes(t0.Add(10*time.Millisecond), t0.Add(12*time.Millisecond)) },
			"in a batch": func() error {
				return n.Update(func(b *Batch) error { _, err := b.Forget([]byte("id-12")); return err })
			},
		}

		fs.free.Store(63 << 20)
		time.Sleep(2 * diskEvery)
		for what, forget := range forgets {
			err := forget()
			require.ErrorIs(t, err, ErrDiskFull, what)
			require.ErrorContains(t, err, `namespace "a"`, what)
			require.ErrorContains(t, err, "make room, and it goes on by itself", what)
		}
		require.ErrorIs(t, n.ForgetAll(), ErrDiskFull)
		st, err := n.Status()
		require.NoError(t, err)
		require.Zero(t, st.Forgets)
		for _, id := range idsOf(0, 20) {
			_, there, err := n.Lookup([]byte(id))
			require.NoError(t, err)
			require.True(t, there, "%s was forgotten", id)
		}
		require.NoError(t, n.Advance(t0.Add(time.Minute)))
		require.NoError(t, s.DeleteNamespace("b"))
		inState(t, s, StateDiskFull, ErrDiskFull)

		fs.free.Store(200 << 20)
		for what, forget := range forgets {
			require.NoError(t, forget(), what)
		}
		left := append(append([]string{"id-0"}, idsOf(4, 10)...), idsOf(13, 20)...)
		require.Equal(t, left, duplicates(t, n, idsOf(0, 20)...))
		require.NoError(t, n.ForgetAll())
		require.Empty(t, duplicates(t, n, idsOf(0, 20)...))
	})
}

// A namespace is deleted below the floor, but not where the log might wait for its
// room in vain, which would poison the store.
func TestFault_B03_DeletionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(200 << 20)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		accept(t, n, 0, 20, 0)

		fs.free.Store(1)
		time.Sleep(2 * diskEvery)
		err = s.DeleteNamespace("a")
		require.ErrorIs(t, err, ErrDiskFull)
		require.ErrorContains(t, err, `namespace "a"`)
		require.ErrorContains(t, err, "make room, then try again")
		_, there, err := n.Lookup([]byte("id-1"))
		require.NoError(t, err, "it is there as before")
		require.True(t, there)

		fs.free.Store(3 << 20) // far below the floor
		require.NoError(t, s.DeleteNamespace("a"))
		_, err = n.Status()
		require.ErrorIs(t, err, ErrDeleted)
	})
}
