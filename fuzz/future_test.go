package fuzz

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// A store that a later release wrote is refused by a sentence that names both
// formats, and nothing of it is touched.
func TestFault_F11_FutureStore(t *testing.T) {
	closed := filesOfScript(t, writeScript(740, usual())).closed
	identity := scriptDir + "/FIRSTSEEN"
	for _, witnessed := range []bool{true, false} {
		fs := closed.crash(0, nil)
		if !witnessed {
			require.NoError(t, fs.Remove(witnessFile))
		}
		raise(t, fs, identity)
		before := everything(t, fs)
		refusedAsFuture(t, (&driver{fs: fs}).open(), scriptDir)
		refusedAsFuture(t, storehook.Adopt(scriptDir, nil, storehook.Hooks{FS: fs}), scriptDir)
		require.Equal(t, before, everything(t, fs), "it was refused, and written to")
	}

	fs := closed.crash(0, nil)
	raise(t, fs, witnessFile)
	before := everything(t, fs)
	refusedAsFuture(t, (&driver{fs: fs}).open(), witnessFile)
	require.Equal(t, before, everything(t, fs))
}

// The formats below the identity file are of one release as a rule. One that is
// raised alone, by hand or by halves, is no damage either: the first that needs
// the value refuses it, and with it everything that stands on it.
func TestFault_F11_FutureRecord(t *testing.T) {
	s := writeScript(741, usual())
	closed := filesOfScript(t, s).closed
	for _, c := range []struct {
		kind  byte // of the key, see store/key.go
		part  byte // of a table's key
		what  string
		opens bool // it is needed by the first use of its namespace only
	}{
		{kind: 0x06, what: "the store record"},
		{kind: 0x04, what: "the head of a namespace"}, // by Open, which holds it against the witness
		{kind: 0x02, what: "an entry of its catalogue", opens: true},
		{kind: 0x01, part: 0x02, what: "the header of segment", opens: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			fs := closed.crash(0, nil)
			require.Positive(t, raiseInside(t, fs, c.kind, c.part))
			d := newDriver(s, fs)
			err := d.open()
			if !c.opens {
				refusedAsFuture(t, err, c.what)
				return
			}
			require.NoError(t, err)
			refused := 0
			for i := range s.spaces {
				n, err := d.space(i)
				require.NoError(t, err)
				st, err := n.Status()
				require.NoError(t, err)
				if err := n.Load(); err != nil {
					refusedAsFuture(t, err, c.what)
					refusedAsFuture(t, n.Update(func(*store.Batch) error {
						require.FailNow(t, "a batch was begun")
						return nil
					}), c.what)
					again, err := n.Status()
					require.NoError(t, err)
					require.Equal(t, st, again)
					refused++
				}
			}
			require.Positive(t, refused)
			require.NoError(t, d.close())
		})
	}
}

// Without a witness, nobody needs a head before its namespace is used.
func TestFault_F11_FutureHeadWithoutAWitness(t *testing.T) {
	s := writeScript(741, usual())
	fs := filesOfScript(t, s).closed.crash(0, nil)
	raised := raiseInside(t, fs, 0x04, 0)
	require.Positive(t, raised)
	opened, err := storehook.Open(scriptDir, &store.Options{Witness: "-"}, storehook.Hooks{FS: fs})
	require.NoError(t, err)
	refused := 0
	for name := range opened.(*store.Store).Namespaces() {
		if _, err := opened.(*store.Store).Namespace(name, nil); err != nil {
			refusedAsFuture(t, err, "its head")
			refused++
		}
	}
	require.Equal(t, raised, refused)
	require.NoError(t, opened.(*store.Store).Close())
}

// A checkpoint that a later release took is not adopted, even where only its
// seal says so.
func TestFault_F11_FutureCheckpoint(t *testing.T) {
	d, _ := half(t, writeScript(742, usual()))
	require.NoError(t, d.store.Checkpoint(t.Context(), pictureDir))
	require.NoError(t, d.close())
	for _, name := range []string{"FIRSTSEEN", "SEAL"} {
		fs := d.fs.crash(0, nil)
		raise(t, fs, pictureDir+"/"+name)
		before := everything(t, fs)
		refusedAsFuture(t, storehook.Adopt(pictureDir, nil, storehook.Hooks{FS: fs}), pictureDir)
		require.Equal(t, before, everything(t, fs), "it was refused, and written to")
	}
}

func refusedAsFuture(t *testing.T, err error, what string) {
	t.Helper()
	require.ErrorIs(t, err, store.ErrFormat)
	require.NotErrorIs(t, err, store.ErrCorrupt)
	require.ErrorContains(t, err, what)
	require.ErrorContains(t, err, "has format 2, this release reads 1; open it with the release that wrote it")
}

// raiseInside raises the format of every value of one kind, and returns how many
// there are.
func raiseInside(t *testing.T, fs *faultFS, kind, part byte) (raised int) {
	inside(t, fs, scriptDir, func(db *pebble.DB) {
		var keys [][]byte
		for key := range entries(t, db) {
			if key[0] == kind && (part == 0 || key[13] == part) {
				keys = append(keys, slices.Clone(key))
			}
		}
		for _, key := range keys {
			v := valueAt(t, db, key)
			require.EqualValues(t, 1, v[0])
			v[0] = 2
			require.NoError(t, db.Set(key, v, pebble.Sync))
			raised++
		}
	})
	return raised
}

// raise writes the next format into a text file.
func raise(t *testing.T, fs *faultFS, path string) {
	text := string(contents(t, fs, path))
	next := strings.Replace(text, "format 1\n", "format 2\n", 1)
	require.NotEqual(t, text, next)
	replace(t, fs, path, []byte(next))
}

// everything returns the contents of every file below disk, as one text each.
func everything(t *testing.T, fs *faultFS) map[string]string {
	all := map[string]string{}
	var walk func(dir string)
	walk = func(dir string) {
		names, err := fs.List(dir)
		require.NoError(t, err)
		for _, name := range names {
			path := fs.PathJoin(dir, name)
			info, err := fs.Stat(path)
			require.NoError(t, err)
			if info.IsDir() {
				walk(path)
				continue
			}
			all[path] = fmt.Sprintf("%q", contents(t, fs, path))
		}
	}
	walk("disk")
	return all
}
