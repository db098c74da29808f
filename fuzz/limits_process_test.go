//go:build unix

package fuzz

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// under lets a shell set a limit before it becomes the child.
func under(limit string, cmd *exec.Cmd) *exec.Cmd {
	cmd.Args = []string{"sh", "-c", limit + ` && exec "$0"`, cmd.Path}
	cmd.Path = "/bin/sh"
	return cmd
}

// A process that may open too few files is told so before anything is written;
// one that may open few has no more of its tables open than that.
func TestFault_B16_FewDescriptors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	out, err := under("ulimit -n 250", child(t, "open", dir)).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "not fit to be opened: the process may open 250 files, the store needs 300")
	require.Contains(t, string(out), "ulimit -n")
	require.NoDirExists(t, dir)

	if raceDetector {
		return // so many tables take long; the plain run of all tests makes them
	}
	const files = 310
	out, err = under(fmt.Sprint("ulimit -n ", files), child(t, "tables", dir)).Output()
	require.NoError(t, err)
	var most int
	_, err = fmt.Sscanf(string(out), "%d <nil>\n", &most)
	require.NoError(t, err, "%s", out)
	t.Logf("%d of %d descriptors", most, files)
	require.Greater(t, most, 50, "so few tables prove nothing")
	require.Less(t, most, files)
	tables, err := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	require.NoError(t, err)
	require.Greater(t, len(tables), files)
}

// With an umask that forbids nothing, everything is the owner's alone, while the
// store works and rolls its files over.
func TestFault_B20_Umask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "parent", "store")
	cmd := under("umask 0", child(t, "write", dir))
	lines := reports(t, cmd)
	for range 200 {
		require.True(t, lines.Scan())
	}
	// A file is made before it is closed to others, in a directory that is: it is
	// looked at again.
	kinds := map[string]int{}
	wrongly := func(path string, want iofs.FileMode) func() bool {
		return func() bool {
			fi, err := os.Lstat(path)
			return err != nil && !errors.Is(err, iofs.ErrNotExist) || err == nil && fi.Mode().Perm() != want
		}
	}
	require.NoError(t, filepath.WalkDir(filepath.Dir(dir), func(path string, d iofs.DirEntry, err error) error {
		if errors.Is(err, iofs.ErrNotExist) {
			return nil // it is gone meanwhile
		}
		require.NoError(t, err)
		want := iofs.FileMode(0o600)
		if kinds[filepath.Ext(path)]++; d.IsDir() {
			want = 0o700
		}
		if wrong := wrongly(path, want); wrong() {
			require.Eventually(t, func() bool { return !wrong() }, slack, time.Millisecond, path)
		}
		return nil
	}))
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Positive(t, kinds[".sst"])
	require.Positive(t, kinds[".log"])
}
