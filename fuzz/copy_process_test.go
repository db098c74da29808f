package fuzz

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// A process writes while its directory is copied: the copy is refused. Adopted
// by the word that is for copies of a closed store, it is found to be damaged,
// or else it is the store as it was at some batch: never anything in between.
func TestFault_B14_CopyOfARunningStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cmd := child(t, "write", dir)
	lines := reports(t, cmd)
	read := func() (position int64) {
		require.True(t, lines.Scan())
		_, err := fmt.Sscan(lines.Text(), &position)
		require.NoError(t, err)
		return position
	}
	torn, whole := 0, 0
	for i := range atMost(30, 8) {
		for range 20 {
			read()
		}
		copied := fmt.Sprintf("%s.%d", dir, i)
		if err := exec.CommandContext(t.Context(), "cp", "-r", dir, copied).Run(); err != nil {
			var failed *exec.ExitError // files went while it copied
			require.ErrorAs(t, err, &failed)
		}
		_, err := store.Open(copied, nil)
		require.ErrorIs(t, err, store.ErrCopied)
		require.ErrorIs(t, store.Adopt(copied, nil), store.ErrUnsealed)
		err = store.Adopt(copied, &store.AdoptOptions{Unsealed: true})
		if err != nil {
			require.True(t, errors.Is(err, store.ErrCorrupt) || errors.Is(err, iofs.ErrNotExist), "%v", err)
			torn++
		} else {
			wholeUpTo(t, copied, adoptedAt(t, copied))
			whole++
		}
		require.NoError(t, os.RemoveAll(copied))
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	t.Logf("%d copies were torn, %d were whole up to some batch", torn, whole)
}

// adoptedAt returns the position of an adopted copy.
func adoptedAt(t *testing.T, dir string) int64 {
	s, n, err := openSmall(dir)
	require.NoError(t, err)
	st, err := n.Status()
	require.NoError(t, err)
	require.Len(t, s.Ancestors(), 1)
	require.NoError(t, s.Close())
	return st.Position.Offset
}
