//go:build unix

package fuzz

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

func init() { children["look"] = childLooks }

// childLooks looks into the store as if it were mounted for reading only, and
// prints the position, and the error.
func childLooks(dir string) { fmt.Println(looksMounted(dir, func() error { return nil })) }

// looksMounted looks into a store on a file system that refuses every write, and
// calls then before it ends.
func looksMounted(dir string, then func() error) (position int64, err error) {
	f := wrapFS(vfs.Default)
	f.write = func(op fsOp) error { return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EROFS} }
	s, err := storehook.Open(dir, &store.Options{ReadOnly: true}, storehook.Hooks{FS: f})
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.(*store.Store).Close() }() // nothing was written
	n, err := s.(*store.Store).Namespace("a", nil)
	if err == nil {
		err = n.Load()
	}
	if err != nil {
		return 0, err
	}
	st, err := n.Status()
	if err != nil {
		return 0, err
	}
	return st.Position.Offset, then()
}

// A lock that needs no writing keeps out who writes by another mount, and lets in
// who looks, too; and what a killed process has left is there to see.
func TestFault_B15_B20_LooksBesideOtherProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cmd := child(t, "write", dir)
	lines := reports(t, cmd)
	reported, err := int64(0), error(nil)
	read := func() {
		reported, err = strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
		require.NoError(t, err)
	}
	for range 30 {
		require.True(t, lines.Scan())
		read()
	}
	locked := func(pid int) string {
		return fmt.Sprintf("store: open %s: locked, it is open elsewhere: by process %d; close it there first", dir, pid)
	}
	_, err = looksMounted(dir, nil)
	require.ErrorIs(t, err, store.ErrLocked)
	require.EqualError(t, err, locked(cmd.Process.Pid))

	require.NoError(t, cmd.Process.Kill())
	for lines.Scan() {
		read()
	}
	require.Error(t, cmd.Wait())
	position, err := looksMounted(dir, func() error {
		out, err := child(t, "open", dir).Output()
		require.NoError(t, err)
		require.Equal(t, locked(os.Getpid())+"\n", string(out))
		out, err = child(t, "look", dir).Output()
		require.NoError(t, err)
		require.Regexp(t, `^\d+ <nil>\n$`, string(out))
		out, err = child(t, "open", dir).Output()
		require.NoError(t, err)
		require.Equal(t, locked(os.Getpid())+"\n", string(out), "whoever looked beside gave the lock up")
		return nil
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, position, reported)
	require.Positive(t, reported)
	require.Equal(t, position, wholeUpTo(t, dir, reported))
}
