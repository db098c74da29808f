package store

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// write puts n batches of one record each into the namespace "a".
func write(t *testing.T, s *Store, n int) {
	t.Helper()
	a, err := s.Namespace("a", nil)
	require.NoError(t, err)
	for range n {
		require.NoError(t, a.Update(func(b *Batch) error {
			o := b.Position().Offset
			at := Position{TopicID: ID{1}, Offset: o}
			_, err := b.Do(Record{ID: []byte{1, byte(o >> 8), byte(o)}, At: t0, Origin: at}, nil)
			return err
		}))
	}
}

func TestSighting_Beyond(t *testing.T) {
	s := newStore("x", (*Options)(nil).withDefaults(), seams{fs: vfs.NewMem()})
	s.id, s.record.ancestors = ID{1}, []ID{{9}, {8}}
	s.batches.Store(50)
	s.openings = 70
	for i := range byte(opensKept) { // openings 7 to 70
		s.opens = append(s.opens, ID{100, i + 7})
	}
	for _, c := range []struct {
		name  string
		seen  sighting
		words string // "": believed
	}{
		{"itself", sighting{ID{1}, ID{100, 70}, 70, 50}, ""},
		{"earlier", sighting{ID{1}, ID{100, 7}, 7, 49}, ""},
		{"too long ago to know", sighting{ID{1}, ID{100, 6}, 6, 40}, ""},
		{"an ancestor", sighting{ID{8}, ID{5}, 900, 900}, ""},
		{"batches are lost", sighting{ID{1}, ID{100, 70}, 70, 51}, "holds 50 batches, and 51 were seen"},
		{"an opening is lost", sighting{ID{1}, ID{100, 71}, 71, 50}, "opening 71"},
		{"another history", sighting{ID{1}, ID{66}, 69, 50}, "opening 69"},
		{"another history, at the edge", sighting{ID{1}, ID{66}, 7, 50}, "opening 7"},
		{"another store", sighting{ID{2}, ID{100, 70}, 70, 50}, "store 02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			what := c.seen.beyond(s)
			require.Contains(t, what, c.words)
			require.Equal(t, c.words == "", what == "", what)
		})
	}
}

// The witness keeps up while the store runs, and costs nothing while nothing
// comes in.
func TestWitness_EveryFewSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		s, err := open("dir", nil, seams{fs: mem})
		require.NoError(t, err)
		seen := func() sighting {
			g, there, err := s.witness.read(mem)
			require.NoError(t, err)
			require.True(t, there)
			return g
		}
		require.Equal(t, sighting{s.ID(), s.OpenID(), 1, 0}, seen())
		write(t, s, 3)
		require.Zero(t, seen().batches)
		time.Sleep(witnessEvery)
		synctest.Wait()
		require.EqualValues(t, 3, seen().batches)
		require.NoError(t, mem.Remove(s.witness.path))
		time.Sleep(10 * witnessEvery)
		synctest.Wait()
		_, there, err := s.witness.read(mem)
		require.NoError(t, err)
		require.False(t, there, "it was written though nothing had come in")
		write(t, s, 2)
		require.NoError(t, s.Close())
		require.EqualValues(t, 5, seen().batches, "Close writes it")
	})
}

func TestFault_B13_OlderDirectory(t *testing.T) {
	top := t.TempDir()
	dir, older := filepath.Join(top, "store"), filepath.Join(top, "older")
	run := func(n int) (id ID) {
		s, err := Open(dir, nil)
		require.NoError(t, err)
		write(t, s, n)
		require.NoError(t, s.Close())
		return s.ID()
	}
	id := run(5)
	require.NoError(t, os.CopyFS(older, os.DirFS(dir)))
	run(1)

	// Rolled back in place, so it is the same directory.
	rollBack := func() {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		for _, name := range names {
			require.NoError(t, os.RemoveAll(name))
		}
		require.NoError(t, os.CopyFS(dir, os.DirFS(older)))
	}
	rollBack()
	_, err := Open(dir, nil)
	require.ErrorIs(t, err, ErrRolledBack)
	for _, words := range []string{"holds 5 batches", "6 were seen", dir + witnessSuffix, "Adopt"} {
		require.ErrorContains(t, err, words)
	}
	require.ErrorIs(t, Adopt(dir, nil), ErrUnsealed, "it takes a word")
	require.NoError(t, Adopt(dir, &AdoptOptions{Unsealed: true}))
	s, err := Open(dir, nil)
	require.NoError(t, err)
	require.Equal(t, []ID{id}, s.Ancestors())
	require.NotEqual(t, id, s.ID())
	write(t, s, 4)
	require.NoError(t, s.Close())

	// Its state of before it was adopted is another store to the witness now.
	rollBack()
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, ErrRolledBack)

	// The disk is not there: no empty store is begun in its place.
	require.NoError(t, os.RemoveAll(dir))
	_, err = Open(dir, nil)
	require.ErrorIs(t, err, ErrRolledBack)
	require.ErrorContains(t, err, "delete the witness to start cold")
	require.NoDirExists(t, dir)
	require.NoError(t, os.Remove(dir+witnessSuffix))
	run(1)
}

func TestWitness_None(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, &Options{Witness: "-"})
	require.NoError(t, err)
	write(t, s, 1)
	require.NoError(t, s.Close())
	require.NoFileExists(t, dir+witnessSuffix)
	require.NoFileExists(t, "-")
	s, err = Open(dir, nil) // from now on there is one
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.FileExists(t, dir+witnessSuffix)
}

// A witness that cannot be written: by default a warning, an error where it was
// asked for.
func TestWitness_CannotBeWritten(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	require.NoError(t, os.MkdirAll(dir+witnessSuffix+tmpSuffix+"/x", 0o700)) // in the way
	var log bytes.Buffer
	s, err := Open(dir, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	write(t, s, 1)
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "store without a witness")
	require.Contains(t, log.String(), "Options.Witness")

	for path, words := range map[string]string{
		filepath.Join(top, "missing", "w"): `"-" for none`,
		filepath.Join(dir, "w"):            "inside the store",
	} {
		_, err = Open(dir, &Options{Witness: path})
		require.ErrorContains(t, err, words)
		require.ErrorContains(t, err, dir)
	}
}

// Every bit of a witness counts.
func TestWitness_Damaged(t *testing.T) {
	mem := vfs.NewMem()
	s, err := open("dir", nil, seams{fs: mem})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	path := "dir" + witnessSuffix
	note, _, err := readFile(mem, path)
	require.NoError(t, err)
	for i := range len(note) {
		damaged := []byte(note)
		damaged[i] ^= 1 << (i % 8)
		require.NoError(t, replaceFile(mem, path, string(damaged)))
		_, err := open("dir", nil, seams{fs: mem})
		if note[i] == '1' && i == strings.Index(note, "1") { // a format that may come
			require.ErrorIs(t, err, ErrFormat)
			continue
		}
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", i)
		require.ErrorContains(t, err, "delete the witness")
	}
}

func TestNamespace_Witnessed(t *testing.T) {
	s, err := Open("", &Options{InMemory: true})
	require.NoError(t, err)
	write(t, s, 3)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Witnessed(0))
	require.NoError(t, n.Witnessed(3))
	err = n.Witnessed(4)
	require.ErrorIs(t, err, ErrRolledBack)
	require.ErrorContains(t, err, `namespace "a" stands at batch 3, batch 4 was acknowledged`)
	require.NoError(t, s.Close())
	require.ErrorIs(t, n.Witnessed(1), ErrClosed)
}
