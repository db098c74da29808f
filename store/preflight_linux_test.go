package store

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file system that is mounted for reading only.
func TestFault_B20_ReadOnlyMount(t *testing.T) {
	disk := smallDisk(t, 64*mb)
	dir := filepath.Join(disk, "store")
	s, err := open(dir, nil, seams{limits: limits{table: mb}})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, syscall.EROFS)
	require.NotErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "must be writable")
}
