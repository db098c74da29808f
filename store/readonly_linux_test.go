package store

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// mountReadOnly mounts a directory once more, for reading only, and returns where.
func mountReadOnly(t *testing.T, dir string) (at string) {
	t.Helper()
	at = t.TempDir()
	err := syscall.Mount(dir, at, "", syscall.MS_BIND, "")
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("this user may not mount a file system")
	}
	require.NoError(t, err)
	// A test that fails may still have a file open there.
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(at, syscall.MNT_DETACH)) })
	require.NoError(t, syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return at
}

// On a real mount it is as in TestFault_B20_LooksWhereNothingCanBeWritten, which
// runs wherever none may be made.
func TestFault_B20_LooksThroughAReadOnlyMount(t *testing.T) {
	for _, c := range inspected {
		t.Run(c.name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "store")
			c.make(t, dir)
			at := filepath.Join(mountReadOnly(t, above), "store")
			before := image(t, above)
			seen := lookAt(t, at, vfs.Default, c.sealed)
			require.Equal(t, before, image(t, above))
			require.Equal(t, lookAt(t, dir, vfs.Default, c.sealed), seen)
		})
	}
}

// The lock is the directory's, by whatever mount.
func TestFault_B15_B20_OpenByAnotherMount(t *testing.T) {
	above := t.TempDir()
	dir, at := filepath.Join(above, "store"), filepath.Join(mountReadOnly(t, above), "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	_, err = Open(at, &Options{ReadOnly: true})
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "by this process, as "+dir)
	_, err = VerifyDir(t.Context(), at, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, s.Close())

	s, err = Open(at, &Options{ReadOnly: true})
	require.NoError(t, err)
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	require.ErrorContains(t, err, "by this process, as "+at)
	require.NoError(t, s.Close())
	s, err = Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
