package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// image returns what is below a directory of the operating system: modes, times
// of change and contents. The lock's file is made anew by whoever locks.
func image(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if !d.IsDir() {
			content, err = os.ReadFile(path)
		}
		at := fi.ModTime()
		if d.Name() == "LOCK" {
			at = time.Time{}
		}
		all[path] = fmt.Sprintf("%v %v %x", fi.Mode(), at, sha256.Sum256(content))
		return err
	}))
	return all
}

// Looking into a store changes nothing in it, counts no opening and leaves the
// witness as it is, however often and with whatever was called.
func TestReadOnly_ChangesNothing(t *testing.T) {
	above := t.TempDir()
	dir := filepath.Join(above, "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	id := s.ID()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	accept(t, n, 0, 50, 0)
	require.NoError(t, s.Close())
	require.NoError(t, os.Chmod(dir, 0o755)) // an opening would mend it
	before := image(t, above)
	for range 2 {
		s, err = Open(dir, &Options{ReadOnly: true})
		require.NoError(t, err)
		require.Equal(t, id, s.ID())
		require.Zero(t, s.OpenID())
		require.Equal(t, StateRunning, s.State())
		n, err = s.Namespace("a", nil)
		require.NoError(t, err)
		require.NoError(t, n.Load())
		st, err := n.Status()
		require.NoError(t, err)
		require.Equal(t, uint64(50), st.Markers)
		_, found, err := n.Lookup([]byte("id-7"))
		require.NoError(t, err)
		require.True(t, found)
		r, err := s.Verify(context.Background(), nil)
		require.NoError(t, err)
		require.NoError(t, r.Err())
		refusesWrites(t, s, n)
		_, err = Open(dir, nil)
		require.ErrorIs(t, err, ErrLocked)
		require.NoError(t, s.Close())
		_, err = n.Status()
		require.ErrorIs(t, err, ErrClosed)
	}
	require.Equal(t, before, image(t, above))

	s, err = Open(dir, nil)
	require.NoError(t, err)
	require.Equal(t, uint64(2), s.openings)
	require.NoError(t, s.Close())
}

// refusesWrites calls everything that writes.
func refusesWrites(t *testing.T, s *Store, n *Namespace) {
	t.Helper()
	for name, write := range map[string]func() error{
		"Update":        func() error { return n.Update(func(*Batch) error { t.Error("it ran"); return nil }) },
		"Do":            func() error { _, err := n.Do(rec("x", 1000, 0), nil); return err },
		"Forget":        func() error { _, err := n.Forget([]byte("id-7")); return err },
		"ForgetOrigins": func() error { return n.ForgetOrigins(ID{1}, 0, 0, 7) },
		"ForgetTimes":   func() error { return n.ForgetTimes(time.Time{}, time.Time{}) },
		"ForgetAll":     n.ForgetAll,
		"Advance":       func() error { return n.Advance(t0.Add(time.Hour)) },
		"settings": func() error {
			_, err := s.Namespace("a", &NamespaceOptions{Window: window.Week})
			return err
		},
		"another namespace": func() error { _, err := s.Namespace("z", nil); return err },
		"DeleteNamespace":   func() error { return s.DeleteNamespace("a") },
		"Checkpoint":        func() error { return s.Checkpoint(context.Background(), filepath.Join(t.TempDir(), "c")) },
	} {
		err := write()
		require.ErrorIs(t, err, ErrReadOnly, name)
		require.ErrorContains(t, err, "open it without ReadOnly", name)
		require.NoError(t, s.Err(), name)
	}
}

// What a crash has left is read as it stands, a table that the catalogue does not
// know and a row of jumps among it: the answers are those of an opening.
func TestReadOnly_AfterACrash(t *testing.T) {
	v := newVault(t)
	crashed := func() *vfs.MemFS {
		return v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	}
	mem := crashed()
	before := memImage(t, mem, "/")
	s, err := open("store", &Options{ReadOnly: true}, seams{fs: mem})
	require.NoError(t, err)
	whole, err := open("store", nil, seams{fs: crashed()})
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(s.Close(), whole.Close())) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	other, err := whole.Namespace("a", nil)
	require.NoError(t, err)
	for i := range v.ids + 10 {
		id := fmt.Appendf(nil, "id-%d", i)
		m, found, err := n.Lookup(id)
		require.NoError(t, err)
		om, ofound, err := other.Lookup(id)
		require.NoError(t, err)
		require.Equal(t, om, m)
		require.Equal(t, ofound, found)
		require.Equal(t, i < v.ids, found)
	}
	markers := 0
	require.NoError(t, n.Markers(func(MarkerEntry) error { markers++; return nil }))
	require.Equal(t, int(v.ids), markers)
	pending := 0
	require.NoError(t, n.Pending(func(Output) error { pending++; return nil }))
	require.Equal(t, 2, pending)
	require.Equal(t, before, memImage(t, mem, "/"))
}

func memImage(t *testing.T, f vfs.FS, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := f.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := f.PathJoin(dir, name)
		fi, err := f.Stat(path)
		require.NoError(t, err)
		if fi.IsDir() {
			maps.Copy(all, memImage(t, f, path))
			all[path] = "directory"
			continue
		}
		content, _, err := readFile(f, path)
		require.NoError(t, err)
		all[path] = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	}
	return all
}

// What is no store for Open is none to look into, and none is made of it.
func TestReadOnly_Refused(t *testing.T) {
	made := func(t *testing.T, dir string) {
		s, err := Open(dir, nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string)
		is   error
	}{
		{"nothing", func(*testing.T, string) {}, ErrFormat},
		{"empty", func(t *testing.T, dir string) { require.NoError(t, os.Mkdir(dir, 0o700)) }, ErrFormat},
		{"something else", func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600))
		}, ErrFormat},
		{"database gone", func(t *testing.T, dir string) {
			made(t, dir)
			require.NoError(t, os.RemoveAll(filepath.Join(dir, dataDir)))
		}, ErrCorrupt},
		{"store gone", func(t *testing.T, dir string) {
			made(t, dir)
			require.NoError(t, os.RemoveAll(dir))
		}, ErrRolledBack},
		{"another one was seen", func(t *testing.T, dir string) {
			made(t, dir)
			s, err := Open(dir, nil)
			require.NoError(t, err)
			n, err := s.Namespace("a", nil)
			require.NoError(t, err)
			accept(t, n, 0, 1, 0)
			require.NoError(t, s.Close())
			seen, err := os.ReadFile(dir + witnessSuffix)
			require.NoError(t, err)
			require.NoError(t, errors.Join(os.RemoveAll(dir), os.Remove(dir+witnessSuffix)))
			made(t, dir)
			require.NoError(t, os.WriteFile(dir+witnessSuffix, seen, 0o600))
		}, ErrRolledBack},
		{"checkpoint", func(t *testing.T, dir string) {
			s, err := Open(dir+".of", nil)
			require.NoError(t, err)
			require.NoError(t, errors.Join(s.Checkpoint(context.Background(), dir), s.Close()))
		}, ErrSealed},
	} {
		t.Run(c.name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "store")
			c.make(t, dir)
			before := image(t, above)
			s, err := Open(dir, &Options{ReadOnly: true})
			require.Nil(t, s)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, dir)
			require.Equal(t, before, image(t, above))
		})
	}
	_, err := Open("", &Options{ReadOnly: true, InMemory: true, MinFree: -2})
	require.ErrorContains(t, err, "a store in memory is empty; set one of them")
	require.ErrorContains(t, err, "MinFree is -2")
}
