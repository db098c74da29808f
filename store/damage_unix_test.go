//go:build unix

package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stand is what may stand in place of a file.
type stand struct {
	name string
	put  func(path string) error
}

var (
	aDirectory = stand{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }}
	aFullOne   = stand{"a directory with a file", func(path string) error {
		return errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
	}}
	anEmptyFile = stand{"an empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }}
	aLink       = stand{"a link to nothing", func(path string) error { return os.Symlink("nothing", path) }}
)

// inPlaceOf calls fn while something else stands in place of a file.
func inPlaceOf(t *testing.T, path string, in stand, fn func()) {
	t.Helper()
	kept := filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.Rename(path, kept))
	require.NoError(t, in.put(path))
	fn()
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Rename(kept, path))
}

// storeOfTables makes a store with markers in tables and in its log.
func storeOfTables(t *testing.T) (dir string, offset int64) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s, err := open(dir, nil, seams{limits: limits{full: 100, small: 10, merge: mergeAbove, table: 1 << 20}})
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	accept(t, n, 0, 500, 0)
	require.NoError(t, s.queue.drain())
	accept(t, n, 500, 20, 0)
	require.NoError(t, s.Close())
	return dir, 520
}

// In place of a file of the database there is something else: whoever looks into
// the store finds it as it was, or is told by an error that has a name and a way
// out. Nothing is changed by it.
func TestFault_B05_B06_B07_B08_OtherThanAFile(t *testing.T) {
	dir, offset := storeOfTables(t)
	files, err := filepath.Glob(filepath.Join(dir, dataDir, "*"))
	require.NoError(t, err)
	refused := 0
	for _, path := range files {
		for _, in := range []stand{aDirectory, aFullOne, anEmptyFile, aLink} {
			inPlaceOf(t, path, in, func() {
				at, err := lookedInto(dir)
				if err == nil {
					require.Equal(t, offset, at, "%s in place of %s: older than it was, and silent", in.name, path)
					return
				}
				refused++
				require.True(t, slices.ContainsFunc([]error{ErrCorrupt, ErrUnfit, ErrRolledBack}, func(is error) bool {
					return errors.Is(err, is)
				}), "%s in place of %s: %v", in.name, path, err)
				require.Contains(t, err.Error(), "; ", "%s in place of %s: no way out", in.name, path)
			})
		}
	}
	require.Greater(t, refused, len(files))
	at, err := lookedInto(dir)
	require.NoError(t, err)
	require.Equal(t, offset, at)
}

// lookedInto returns the position of a store that nobody changes.
func lookedInto(dir string) (offset int64, err error) {
	s, err := Open(dir, &Options{ReadOnly: true, Logger: quiet()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err := s.Namespace("a", nil)
	if err != nil {
		return 0, err
	}
	if err := n.Load(); err != nil {
		return 0, err
	}
	st, err := n.Status()
	return st.Position.Offset, err
}

// Of what is not the database's, each has its own way out.
func TestFault_B08_B20_OtherThanOurFile(t *testing.T) {
	dir, _ := storeOfTables(t)
	for _, c := range []struct {
		path  string
		in    stand
		is    error
		words string
	}{
		{"FIRSTSEEN", aDirectory, ErrCorrupt, "FIRSTSEEN is a directory, and no file; restore a backup"},
		{"FIRSTSEEN", anEmptyFile, ErrCorrupt, "FIRSTSEEN does not read as an identity file; restore a backup"},
		{"ballast", aFullOne, ErrUnfit, "ballast is a directory, and a file of the store has to be there; move it away"},
		{"db", anEmptyFile, ErrCorrupt, "not a directory; restore a backup"},
		{"db/LOCK", aDirectory, ErrUnfit, "LOCK is a directory, and a file of the store has to be there; move it away"},
		{"../store.witness", aDirectory, ErrCorrupt, "store.witness is damaged; make sure that the store is the newest"},
		{"../store.witness", anEmptyFile, ErrCorrupt, "store.witness is damaged; make sure that the store is the newest"},
		{"../store.witness", aLink, ErrUnfit, "store.witness is a symbolic link; remove it, or set Options.Witness"},
	} {
		path := filepath.Join(dir, c.path)
		inPlaceOf(t, path, c.in, func() {
			opens := []func() error{func() error { _, err := Open(dir, nil); return err }}
			if c.path != ballastFile { // which only matters to whoever writes
				opens = append(opens, func() error { _, err := lookedInto(dir); return err })
			}
			if !strings.HasSuffix(c.path, witnessSuffix) && c.path != ballastFile {
				opens = append(opens, func() error { _, err := VerifyDir(t.Context(), dir, nil); return err })
			}
			for _, open := range opens {
				err := open()
				require.ErrorIs(t, err, c.is, "%s in place of %s", c.in.name, path)
				require.NotErrorIs(t, err, ErrLocked)
				require.ErrorContains(t, err, c.words)
			}
		})
	}
	s, err := Open(dir, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
