package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// One directory has many paths; to the system's lock, which is a process's, they
// would be the same.
func TestFault_B15_OpenedTwiceByAnotherPath(t *testing.T) {
	above := t.TempDir()
	dir, link := filepath.Join(above, "store"), filepath.Join(above, "link")
	require.NoError(t, os.Symlink("store", link))
	s, err := Open(dir, nil)
	require.NoError(t, err)
	t.Chdir(above)
	refused := func(err error, deed, path string) {
		t.Helper()
		require.ErrorIs(t, err, ErrLocked)
		require.EqualError(t, err, fmt.Sprintf(
			"store: %s %s: locked, it is open elsewhere: by this process, as %s; close it there first", deed, path, dir))
	}
	mounted, _ := noWrites(vfs.Default, syscall.EROFS)
	for _, path := range []string{link, "store", dir} {
		_, err = Open(path, nil)
		refused(err, "open", path)
		_, err = open(path, &Options{ReadOnly: true}, seams{fs: mounted})
		refused(err, "open", path)
		_, err = Open(path, &Options{ReadOnly: true})
		refused(err, "open", path)
		_, err = VerifyDir(t.Context(), path, nil)
		refused(err, "verify", path)
		_, err = Repair(t.Context(), path, nil)
		refused(err, "repair", path)
	}
	refused(Adopt(link, &AdoptOptions{Unsealed: true}), "adopt", link)

	require.NoError(t, s.Close())
	s, err = open(dir, &Options{ReadOnly: true}, seams{fs: mounted})
	require.NoError(t, err)
	_, err = Open(link, nil)
	refused(err, "open", link)
	require.NoError(t, s.Close())
	s, err = Open(link, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// A file system in memory is known to its own process alone.
func TestLock_InMemory(t *testing.T) {
	mem := vfs.NewMem()
	s, err := open("store", nil, seams{fs: mem})
	require.NoError(t, err)
	_, err = open("store", nil, seams{fs: mem})
	require.EqualError(t, err, "store: open store: locked, it is open elsewhere: by another handle; close it there first")
	require.NoError(t, s.Close())
	s, err = open("store", nil, seams{fs: mem})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// lockFS answers whoever asks for a lock.
type lockFS struct {
	vfs.FS
	err error
}

func (f lockFS) Lock(string) (io.Closer, error) { return nil, f.err }

// slowLockFS does not answer whoever asks for a lock.
type slowLockFS struct {
	vfs.FS
	asked, answer chan struct{}
}

func (f slowLockFS) Lock(path string) (io.Closer, error) {
	close(f.asked)
	<-f.answer
	return f.FS.Lock(path)
}

// A disk that does not answer holds its own store up, and no other.
func TestLock_NobodyWaitsForAnother(t *testing.T) {
	slow := slowLockFS{vfs.Default, make(chan struct{}), make(chan struct{})}
	dir := filepath.Join(t.TempDir(), "slow")
	opened := make(chan error, 1)
	go func() {
		s, err := open(dir, nil, seams{fs: slow})
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	<-slow.asked
	s, err := Open(filepath.Join(t.TempDir(), "other"), nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, ErrLocked, "another asks for it already")
	close(slow.answer)
	require.NoError(t, <-opened)
	s, err = Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// A lock that cannot be asked for is nobody's.
func TestLock_CannotBeAskedFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		is   error
		says string
	}{
		{syscall.ENOLCK, ErrUnfit, "store: open store: not fit to be opened: no locks available: " +
			"the file system takes no locks; put the store on a local disk"},
		{&os.PathError{Op: "open", Path: "LOCK", Err: syscall.EMFILE}, syscall.EMFILE,
			"store: open store: not fit to be opened: open LOCK: too many open files; " +
				"raise the limit (ulimit -n, LimitNOFILE= of systemd)"},
	} {
		_, err := open("store", nil, seams{fs: lockFS{vfs.NewMem(), c.err}})
		require.ErrorIs(t, err, c.is)
		require.NotErrorIs(t, err, ErrLocked)
		require.EqualError(t, err, c.says)
	}
}
