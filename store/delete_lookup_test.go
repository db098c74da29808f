package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Whoever asks a namespace that is deleted learns that, also where its markers
// were in no memory: that they are not to be found is no damage.
func TestStore_LookupInADeletedNamespace(t *testing.T) {
	sm := seams{fs: vfs.NewMem(), limits: mergeLimits}
	s, err := open("store", nil, sm)
	require.NoError(t, err)
	_ = filled(t, s, "a")
	require.NoError(t, s.Close())
	s, err = open("store", nil, sm)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.Nil(t, n.picture.Load().index)
	require.NoError(t, s.DeleteNamespace("a"))
	for range 2 { // with what it left, and without
		_, _, err = n.Lookup([]byte("id-2999"))
		require.ErrorIs(t, err, ErrDeleted)
		_, err = n.Why([]byte("id-2999"))
		require.ErrorIs(t, err, ErrDeleted)
		require.NoError(t, s.Err())
		require.NoError(t, s.queue.drain())
	}
}
