package store

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func TestStore_Checkpoint(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	s := testOpen(t, dir, limits{full: 20, small: 4})
	write(t, s, 50)
	require.NoError(t, s.queue.drain())
	picture := filepath.Join(top, "not", "yet", "there")
	require.NoError(t, s.Checkpoint(t.Context(), picture))
	write(t, s, 3)

	linked := 0
	require.NoError(t, filepath.WalkDir(picture, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		if d.IsDir() {
			require.Equal(t, fs.FileMode(0o700), fi.Mode().Perm(), path)
			return nil
		}
		require.Equal(t, fs.FileMode(0o600), fi.Mode().Perm(), path)
		own, err := os.Stat(filepath.Join(dir, dataDir, d.Name()))
		if err == nil && filepath.Ext(path) == ".sst" { // the store's may have gone since
			require.True(t, os.SameFile(own, fi), "a table was copied: %s", path)
			linked++
		}
		return nil
	}))
	require.Positive(t, linked)

	_, err := Open(picture, nil)
	require.ErrorIs(t, err, ErrSealed)
	require.ErrorContains(t, err, "Adopt it")
	require.NoFileExists(t, filepath.Join(picture, dataDir, "LOCK"), "it was touched")
	require.NoError(t, Adopt(picture, nil))
	a := testOpen(t, picture, limits{})
	n, err := a.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	st, err := n.Status()
	require.NoError(t, err)
	require.EqualValues(t, 50, st.Sequence)
	require.EqualValues(t, 50, st.Markers)
	require.Equal(t, []ID{s.ID()}, a.Ancestors())
	require.True(t, a.IsOurs(s.ID()))
	require.True(t, a.IsOurs(a.ID()))
	require.False(t, a.IsOurs(ID{1}))
	require.False(t, s.IsOurs(a.ID()))
	require.False(t, a.KnowsOpen(s.OpenID()), "openings are its own")
	require.NoError(t, s.Err())
}

// Checkpoints of checkpoints: every identity it ever had is an ancestor.
func TestAdopt_Generations(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "0")
	var ids []ID
	for i := range 3 {
		s, err := Open(dir, nil)
		require.NoError(t, err)
		write(t, s, 2)
		require.Equal(t, ids, s.Ancestors())
		ids = append(ids, s.ID())
		dir = filepath.Join(top, string(rune('1'+i)))
		require.NoError(t, s.Checkpoint(t.Context(), dir))
		require.NoError(t, s.Close())
		require.NoError(t, Adopt(dir, nil))
	}
}

func TestStore_Checkpoint_Refused(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	s := testOpen(t, dir, limits{})
	write(t, s, 1)
	require.NoError(t, os.MkdirAll(filepath.Join(top, "full", "x"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(top, "other"+unsealedSuffix, "x"), 0o700))
	for _, c := range []struct{ name, dir, words string }{
		{"it exists", filepath.Join(top, "full"), "give a directory that does not exist"},
		{"itself", dir, "beside it"},
		{"inside", filepath.Join(dir, "backups", "today"), "beside it"},
		{"something else is in the way", filepath.Join(top, "other"), "remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := s.Checkpoint(t.Context(), c.dir)
			require.ErrorContains(t, err, c.words)
			require.ErrorContains(t, err, c.dir)
		})
	}
	require.DirExists(t, filepath.Join(top, "other"+unsealedSuffix, "x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Checkpoint(ctx, filepath.Join(top, "late")), context.Canceled)
	require.NoDirExists(t, filepath.Join(top, "late"))
	require.NoDirExists(t, filepath.Join(top, "late"+unsealedSuffix))

	mem, err := Open("", &Options{InMemory: true})
	require.NoError(t, err)
	require.ErrorContains(t, mem.Checkpoint(t.Context(), filepath.Join(top, "mem")), "in memory")
	require.NoError(t, mem.Close())
	require.ErrorIs(t, mem.Checkpoint(t.Context(), "x"), ErrClosed)
}

// noLinks is a file system that cannot link, or another one than the store's.
type noLinks struct{ vfs.FS }

func (noLinks) Link(string, string) error { return syscall.EXDEV }

// Where nothing can be linked a checkpoint would copy every table, while no
// table can be written.
func TestStore_Checkpoint_NeedsLinks(t *testing.T) {
	mem := vfs.NewMem()
	s, err := open("dir/store", nil, seams{fs: noLinks{mem}})
	require.NoError(t, err)
	write(t, s, 1)
	err = s.Checkpoint(t.Context(), "dir/picture")
	require.ErrorIs(t, err, syscall.EXDEV)
	require.ErrorContains(t, err, "on the file system of the store")
	left, err := mem.List("dir")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"store", "store" + witnessSuffix}, left)
	require.NoError(t, s.Close())
}

// ctx ends while a checkpoint is taken: it stops at the next step, and leaves
// nothing.
func TestStore_Checkpoint_Cancelled(t *testing.T) {
	mem := vfs.NewMem()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := open("dir/store", nil, seams{fs: cancelling{mem, cancel}})
	require.NoError(t, err)
	write(t, s, 1)
	require.ErrorIs(t, s.Checkpoint(ctx, "dir/picture"), context.Canceled)
	left, err := mem.List("dir")
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"store", "store" + witnessSuffix}, left)
	write(t, s, 1)
	require.NoError(t, s.Checkpoint(t.Context(), "dir/picture"))
	require.NoError(t, s.Close())
}

// cancelling cancels with the first link.
type cancelling struct {
	vfs.FS
	cancel func()
}

func (c cancelling) Link(from, to string) error {
	c.cancel()
	return c.FS.Link(from, to)
}

// A directory that was copied is not the store, one that was moved is.
func TestFault_B14_CopyOfAClosedStore(t *testing.T) {
	top := t.TempDir()
	dir, moved, copied := filepath.Join(top, "store"), filepath.Join(top, "moved"), filepath.Join(top, "copied")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	id := s.ID()
	write(t, s, 7)
	require.NoError(t, s.Close())
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	require.NoError(t, os.Rename(dir, moved))
	s, err = Open(moved, nil)
	require.NoError(t, err, "a false alarm")
	require.Equal(t, id, s.ID())
	require.NoError(t, s.Close())

	before := listing(t, copied)
	_, err = Open(copied, nil)
	require.ErrorIs(t, err, ErrCopied)
	for _, words := range []string{id.String(), copied, "take a Checkpoint", "Unsealed"} {
		require.ErrorContains(t, err, words)
	}
	require.Equal(t, before, listing(t, copied), "it was changed")
	err = Adopt(copied, nil)
	require.ErrorIs(t, err, ErrUnsealed)
	require.ErrorContains(t, err, "it is a copy of store "+id.String())
	require.NoError(t, Adopt(copied, &AdoptOptions{Unsealed: true}))
	s, err = Open(copied, nil)
	require.NoError(t, err)
	require.Equal(t, []ID{id}, s.Ancestors())
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Witnessed(7))
	require.NoError(t, n.Load())
	require.NoError(t, s.Close())
}

// A copy that does not hold what it should is not adopted, whatever is missing.
func TestFault_B14_DamagedCopy(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	for range 2 {
		s, err := open(dir, nil, seams{limits: limits{full: 300, small: 4}})
		require.NoError(t, err)
		write(t, s, 90)
		n, err := s.Namespace("b", nil)
		require.NoError(t, err)
		require.NoError(t, n.Update(func(b *Batch) error {
			for range 400 { // tables of many blocks, of which loading reads the last ones
				o := b.Position().Offset
				at := Position{TopicID: ID{1}, Offset: o}
				if _, err := b.Do(Record{ID: fmt.Appendf(nil, "id-%0200d", o), At: t0, Origin: at}, nil); err != nil {
					return err
				}
			}
			return nil
		}))
		require.NoError(t, s.queue.drain())
		require.NoError(t, s.Close())
	}
	tables, err := filepath.Glob(filepath.Join(dir, dataDir, "*.sst"))
	require.NoError(t, err)
	require.NotEmpty(t, tables)
	for i, table := range tables {
		copied := filepath.Join(top, "copied", filepath.Base(table))
		require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
		path := filepath.Join(copied, dataDir, filepath.Base(table))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if i%2 == 0 {
			b[len(b)/2] ^= 4
		} else {
			b = b[:len(b)/2]
		}
		require.NoError(t, os.WriteFile(path, b, 0o600))
		require.ErrorIs(t, Adopt(copied, &AdoptOptions{Unsealed: true}), ErrCorrupt, path)
	}

	// Without the log, which knows what the newest tables are.
	copied := filepath.Join(top, "copied", "log")
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	logs, err := filepath.Glob(filepath.Join(copied, dataDir, "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		require.NoError(t, os.Remove(path))
	}
	require.ErrorIs(t, Adopt(copied, &AdoptOptions{Unsealed: true}), ErrCorrupt)
}

func TestAdopt_Refused(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	s, err := Open(dir, nil)
	require.NoError(t, err)
	write(t, s, 1)
	picture := filepath.Join(top, "picture")
	require.NoError(t, s.Checkpoint(t.Context(), picture))
	require.ErrorIs(t, Adopt(dir, &AdoptOptions{Unsealed: true}), ErrLocked)
	require.NoError(t, s.Close())
	require.NoError(t, os.MkdirAll(filepath.Join(top, "empty"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(top, "letters", "x"), 0o700))
	for _, c := range []struct {
		name, dir string
		is        error
		words     string
	}{
		{"a store", dir, ErrUnsealed, "Open it"},
		{"nothing", filepath.Join(top, "nothing"), ErrFormat, "it is no store"},
		{"empty", filepath.Join(top, "empty"), ErrFormat, "it is no store"},
		{"something else", filepath.Join(top, "letters"), ErrFormat, `it holds "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Adopt(c.dir, nil)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.words)
			require.ErrorContains(t, err, "adopt "+c.dir)
		})
	}
	require.NoDirExists(t, filepath.Join(top, "nothing"))

	// Every bit of the seal counts.
	seal, err := os.ReadFile(filepath.Join(picture, sealFile))
	require.NoError(t, err)
	for i := range seal {
		damaged := append([]byte(nil), seal...)
		damaged[i] ^= 1 << (i % 8)
		require.NoError(t, os.WriteFile(filepath.Join(picture, sealFile), damaged, 0o600))
		require.ErrorIs(t, Adopt(picture, nil), ErrUnsealed, "byte %d", i)
	}
	require.NoError(t, os.Remove(filepath.Join(picture, sealFile)))
	for _, o := range []*AdoptOptions{nil, {Unsealed: true}} {
		require.ErrorIs(t, Adopt(picture, o), ErrUnsealed, "an unfinished checkpoint")
	}
	_, err = Open(picture, nil)
	require.ErrorIs(t, err, ErrUnsealed)
	require.NoError(t, os.WriteFile(filepath.Join(picture, sealFile), seal, 0o600))
	require.NoError(t, Adopt(picture, nil))
}

// The identity file of a store that was opened is there, or it is damage.
func TestOpen_IdentityGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := Open(dir, &Options{Witness: "-"})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(filepath.Join(dir, identityFile)))
	_, err = Open(dir, &Options{Witness: "-"})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, identityFile+" is gone")
}
