package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// A directory that is not a store, or not one for us: the error says what is
// wrong, where, and the way out.
func TestOpen_WrongDirectory(t *testing.T) {
	identity := func(text string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			s, err := Open(dir, nil)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.NoError(t, os.WriteFile(filepath.Join(dir, identityFile), []byte(text), 0o600))
		}
	}
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, dir string)
		is    error
		words []string
	}{
		{"format of a later release", identity("firstseen store, format 2\nid 00\nmore\n"), ErrFormat,
			[]string{"format 2", "reads 1", "open it with the release that wrote it"}},
		{"another store's identity", identity("firstseen store, format 1\nid " + strings.Repeat("ab", 16) + "\ninode 0\n"),
			ErrCorrupt, []string{"restore a backup"}},
		{"identity cut short", identity("firstseen store, format 1\nid 00"), ErrCorrupt,
			[]string{"restore a backup"}},
		{"identity of something else", identity("hello"), ErrCorrupt,
			[]string{"identity file", "restore a backup"}},
		{"foreign files", func(t *testing.T, dir string) {
			require.NoError(t, os.MkdirAll(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "letter.txt"), []byte("x"), 0o600))
		}, ErrFormat, []string{`"letter.txt"`, "give a directory of its own"}},
		{"a file", func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(dir, []byte("x"), 0o600))
		}, ErrFormat, []string{"not a directory", "give a directory of its own"}},
		{"database gone", func(t *testing.T, dir string) {
			identity("firstseen store, format 1\nid "+strings.Repeat("00", 16)+"\ninode 0\n")(t, dir)
			require.NoError(t, os.RemoveAll(filepath.Join(dir, dataDir)))
		}, ErrCorrupt, []string{"restore a backup, or delete the directory to start cold"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			c.make(t, dir)
			before := listing(t, dir)
			s, err := Open(dir, nil)
			require.Nil(t, s)
			require.ErrorIs(t, err, c.is)
			for _, words := range append(c.words, dir) {
				require.ErrorContains(t, err, words)
			}
			if errors.Is(c.is, ErrFormat) {
				require.Equal(t, before, listing(t, dir), "it was changed")
			}
		})
	}
}

// listing returns the names below a path that are not the lock's.
func listing(t *testing.T, dir string) []string {
	var names []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) != "LOCK" && filepath.Base(path) != spillDir {
			names = append(names, path)
		}
		return err
	}))
	return names
}

// The file system refuses every write, as one that is mounted read-only does, or a
// directory of another owner. The latter nobody may look into either: its owner may
// open it.
func TestOpen_ReadOnlyDirectory(t *testing.T) {
	for code, says := range map[error]string{
		syscall.EROFS: "; mount it writable: as it is, a store in it can only be looked into",
		syscall.EACCES: " has to read and write the directory and all in it: run it as the store's user, " +
			"or give this one the rights",
	} {
		t.Run(code.Error(), func(t *testing.T) {
			mem := vfs.NewMem()
			s, err := open("store", nil, seams{fs: mem})
			require.NoError(t, err)
			require.NoError(t, s.Close())
			refuse, _ := noWrites(mem, code)
			look := func(dir string) error {
				s, err := open(dir, &Options{ReadOnly: true}, seams{fs: refuse})
				if err == nil {
					err = s.Close()
				}
				return err
			}
			verify := func(dir string) error {
				_, err := verifyDir(t.Context(), dir, nil, seams{fs: refuse})
				return err
			}
			for _, c := range []struct {
				dir   string
				do    func(dir string) error
				looks bool
			}{
				{"store", func(dir string) error { _, err := open(dir, nil, seams{fs: refuse}); return err }, false},
				{"new", func(dir string) error { _, err := open(dir, nil, seams{fs: refuse}); return err }, false},
				{"store", func(dir string) error {
					_, err := repair(t.Context(), dir, nil, seams{fs: refuse})
					return err
				}, false},
				{"store", look, true},
				{"store", verify, true},
			} {
				err := c.do(c.dir)
				if c.looks && errors.Is(code, syscall.EROFS) {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, code)
				require.ErrorIs(t, err, ErrUnfit)
				require.NotErrorIs(t, err, ErrCorrupt)
				require.NotErrorIs(t, err, ErrLocked)
				require.ErrorContains(t, err, c.dir)
				require.ErrorContains(t, err, says)
			}
		})
	}
}

func TestFault_B15_OpenedTwiceInOneProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, nil)
	require.NoError(t, err)
	again, err := Open(dir, nil)
	require.Nil(t, again)
	require.ErrorIs(t, err, ErrLocked)
	require.EqualError(t, err, fmt.Sprintf(
		"store: open %s: locked, it is open elsewhere: by this process, as %s; close it there first", dir, dir))

	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	_, err = n.Do(rec("x", 0, 0), nil)
	require.NoError(t, err, "the refused one did harm")
	require.NoError(t, s.Close())
	s, err = Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestStore_UseAfterClose(t *testing.T) {
	s, err := Open(t.TempDir(), nil)
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "a second Close")

	require.ErrorIs(t, s.Err(), ErrClosed)
	_, err = s.Namespace("a", nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = n.Do(rec("x", 0, 0), nil)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, n.Update(func(*Batch) error { return nil }), ErrClosed)
	require.ErrorIs(t, n.View(func(*View) error { return nil }), ErrClosed)
	require.ErrorIs(t, n.Pending(func(Output) error { return nil }), ErrClosed)
	require.ErrorIs(t, n.Load(), ErrClosed)
	_, err = n.Status()
	require.ErrorIs(t, err, ErrClosed)
	_, err = n.DiskBytes()
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, Stats{State: StateClosed}, s.Stats())
}

// Whoever holds a batch, a transaction or a view too long meets ErrTxDone.
func TestFault_F04_UseAfterItsEnd(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	var b *Batch
	var tx *Tx
	var v *View
	require.NoError(t, n.Update(func(batch *Batch) error {
		b = batch
		_, err := b.Do(rec("x", 0, 0), func(t *Tx) error { tx = t; return nil })
		return err
	}))
	require.NoError(t, n.View(func(view *View) error { v = view; return nil }))
	_, err = b.Do(rec("y", 1, 0), nil)
	require.ErrorIs(t, err, ErrTxDone)
	require.ErrorIs(t, b.SetPosition(Position{Offset: 9}), ErrTxDone)
	require.ErrorIs(t, tx.Set([]byte("k"), nil), ErrTxDone)
	require.ErrorIs(t, tx.Stage(nil), ErrTxDone)
	_, err = tx.Get([]byte("k"))
	require.ErrorIs(t, err, ErrTxDone)
	_, err = v.Get([]byte("k"))
	require.ErrorIs(t, err, ErrTxDone)
}

func TestFault_E11_ReplayOfAnotherLogIsRefused(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	for i := range int64(5) {
		_, err := n.Do(rec(fmt.Sprint(i), i, 0), nil)
		require.NoError(t, err)
	}
	// The topic was recreated: its offset 2 is no replay, and is not skipped.
	for _, o := range []Position{{TopicID: ID{2}, Offset: 2}, {TopicID: ID{1}, Partition: 1, Offset: 2}} {
		_, err = n.Do(Record{ID: []byte("new"), Origin: o}, nil)
		require.ErrorIs(t, err, ErrOtherLog)
		require.NotErrorIs(t, err, ErrReplay)
		require.ErrorContains(t, err, "SetPosition")
	}
	_, err = n.Do(rec("new", 2, 0), nil)
	require.ErrorIs(t, err, ErrReplay)
}

// A disk that never answers: the commit ends by its deadline, and so does Close.
func TestFault_F08_HungDisk(t *testing.T) {
	mem := vfs.NewMem()
	hang := make(chan struct{})
	armed := make(chan struct{})
	wrapped := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		select {
		case <-armed:
			if strings.HasSuffix(op.Path, ".log") && op.Kind != errorfs.OpFileClose {
				<-hang
			}
		default:
		}
		return nil
	}))
	s, err := open("store", &Options{CommitTimeout: 100 * time.Millisecond}, seams{fs: wrapped})
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	close(armed)
	_, err = n.Do(rec("x", 0, 0), nil)
	require.ErrorIs(t, err, ErrPoisoned)
	require.ErrorContains(t, err, "no answer from the disk within 100ms")
	err = s.Close()
	require.ErrorIs(t, err, ErrCloseTimeout)
	require.ErrorContains(t, err, "restart the process")
	close(hang)
}
