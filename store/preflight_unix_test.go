//go:build unix

package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A directory that others could have written to, and files that are not what
// they seem: each is refused, by its name and with the way out.
func TestFault_B20_UnfitDirectory(t *testing.T) {
	for _, c := range []struct {
		name  string
		root  bool // only root can bring it about
		spoil func(t *testing.T, dir string)
		words []string
	}{
		{"written by everybody", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Chmod(dir, 0o777))
		}, []string{"may be written by other users", "chmod go-w"}},
		{"written by the group", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Chmod(dir, 0o770))
		}, []string{"may be written by other users", "chmod go-w"}},
		{"of everybody", false, func(t *testing.T, dir string) {
			require.NoError(t, os.Chmod(dir, 0o777|fs.ModeSticky))
		}, []string{"is everybody's", "a directory of its own"}},
		{"database linked elsewhere", false, func(t *testing.T, dir string) {
			moved := filepath.Join(filepath.Dir(dir), "moved")
			require.NoError(t, os.Rename(filepath.Join(dir, dataDir), moved))
			require.NoError(t, os.Symlink(moved, filepath.Join(dir, dataDir)))
		}, []string{"db is a symbolic link", "put the file itself there"}},
		{"a file linked elsewhere", false, func(t *testing.T, dir string) {
			path := filepath.Join(dir, dataDir, "LOCK")
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("/dev/null", path))
		}, []string{"LOCK is a symbolic link"}},
		{"ballast linked elsewhere", false, func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, ballastFile)))
			require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(dir, ballastFile)))
		}, []string{"ballast is a symbolic link"}},
		{"another user's directory", true, func(t *testing.T, dir string) {
			require.NoError(t, os.Chown(dir, 12345, -1))
		}, []string{"belongs to user 12345", "chown"}},
		{"another user's file", true, func(t *testing.T, dir string) {
			require.NoError(t, os.Chown(filepath.Join(dir, dataDir, "LOCK"), 12345, -1))
		}, []string{"LOCK belongs to user 12345", "chown"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root may give files away")
			}
			dir := filepath.Join(t.TempDir(), "store")
			s, err := Open(dir, nil)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			c.spoil(t, dir)
			s, err = Open(dir, nil)
			require.Nil(t, s)
			require.ErrorIs(t, err, ErrUnfit)
			for _, words := range append(c.words, dir) {
				require.ErrorContains(t, err, words)
			}
		})
	}
}

// All faults are told at once.
func TestFault_B20_AllFaultsAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.Chmod(dir, 0o777))
	require.NoError(t, os.Remove(filepath.Join(dir, identityFile)))
	require.NoError(t, os.Symlink("elsewhere", filepath.Join(dir, identityFile)))
	_, err = Open(dir, nil)
	require.ErrorContains(t, err, "other users")
	require.ErrorContains(t, err, identityFile+" is a symbolic link")
}

// An empty directory is made the store's alone; what an older umask left open of
// the store's own is closed.
func TestFault_B20_RightsAreMended(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o777))
	for range 2 {
		s, err := Open(dir, nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		allPrivate(t, dir)
		require.NoError(t, os.Chmod(filepath.Join(dir, dataDir), 0o755))
		require.NoError(t, os.Chmod(filepath.Join(dir, identityFile), 0o644))
	}
}

// allPrivate checks that a directory and all in it are their owner's alone.
func allPrivate(t *testing.T, dir string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		require.Equal(t, want, fi.Mode().Perm(), path)
		return nil
	}))
	require.Greater(t, files, 5)
}

// Too few descriptors are refused with both numbers; fewer than there might be
// tables bound how many of them stay open.
func TestFault_B16_TablesFor(t *testing.T) {
	_, err := tablesFor(299)
	require.ErrorContains(t, err, "299 files")
	require.ErrorContains(t, err, "needs 300")
	require.ErrorContains(t, err, "ulimit -n")
	for files, want := range map[uint64]int{300: 100, 1024: 824, 1200: 1000, 1 << 63: 1000} {
		got, err := tablesFor(files)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
