package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// An adopted backup goes on in the group of the store that it was taken from:
// what that store committed is its own.
func TestFault_B13_AdoptedBackupGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 10)...)
		require.NoError(t, w.run())
		backup := w.dir + "-backup"
		require.NoError(t, w.st.Checkpoint(t.Context(), backup))
		require.NoError(t, w.st.Close())
		require.NoError(t, store.Adopt(backup, nil))
		w.dir = backup
		w.open()
		w.produce(0, "a3", "b", "a9")
		require.NoError(t, w.run())
		require.Equal(t, int64(11), w.state(0, "n"))
		require.Equal(t, int64(13), w.committedAt(0))
		for id, n := range w.calls.count() {
			require.Equal(t, 1, n, id)
		}
	})
}
