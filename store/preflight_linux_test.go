package store

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file system that is mounted for reading only: whatever would write says what to
// do, and is neither damage nor a lock. What only looks goes on.
func TestFault_B20_ReadOnlyMount(t *testing.T) {
	disk := smallDisk(t, 64*mb)
	dir, backup := filepath.Join(disk, "store"), filepath.Join(disk, "backup")
	s, err := open(dir, nil, seams{limits: limits{table: mb}})
	require.NoError(t, err)
	require.NoError(t, s.Checkpoint(t.Context(), backup))
	require.NoError(t, s.Close())
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, c := range []struct {
		deed, dir string
		do        func(dir string) error
	}{
		{"open", dir, func(dir string) error { _, err := Open(dir, nil); return err }},
		{"open", filepath.Join(disk, "new"), func(dir string) error { _, err := Open(dir, nil); return err }},
		{"repair", dir, func(dir string) error { _, err := Repair(t.Context(), dir, nil); return err }},
		{"adopt", backup, func(dir string) error { return Adopt(dir, nil) }},
	} {
		err := c.do(c.dir)
		require.ErrorIs(t, err, syscall.EROFS, c.deed)
		require.ErrorIs(t, err, ErrUnfit, c.deed)
		require.NotErrorIs(t, err, ErrLocked, c.deed)
		require.NotErrorIs(t, err, ErrCorrupt, c.deed)
		require.ErrorContains(t, err, "store: "+c.deed+" "+c.dir+": not fit to be opened: ")
		require.ErrorContains(t, err, "; mount it writable: as it is, a store in it can only be looked into")
	}

	s, err = Open(dir, &Options{ReadOnly: true})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, dir := range []string{dir, backup} {
		report, err := VerifyDir(t.Context(), dir, nil)
		require.NoError(t, err)
		require.NoError(t, report.Err())
	}

	s, err = Open(filepath.Join(t.TempDir(), "store"), nil)
	require.NoError(t, err)
	to := filepath.Join(disk, "checkpoint")
	err = s.Checkpoint(t.Context(), to)
	require.ErrorIs(t, err, syscall.EROFS)
	require.EqualError(t, err, "store: checkpoint to "+to+": mkdir "+to+unsealedSuffix+
		": read-only file system; give a directory where this user can write")
	require.NoError(t, s.Close())
}
