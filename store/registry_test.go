package store

import (
	"errors"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// recordOf returns the store record as it is on disk.
func recordOf(t *testing.T, s *Store) []byte {
	t.Helper()
	v, err := s.get([]byte{kindStore})
	require.NoError(t, err)
	return slices.Clone(v)
}

// withRecord returns a copy of a closed store's files with another store record,
// below every checksum of the storage engine. also may change more.
func withRecord(t *testing.T, fs *vfs.MemFS, record []byte, also func(*pebble.DB)) *vfs.MemFS {
	t.Helper()
	fs = fs.CrashClone(vfs.CrashCloneCfg{})
	s, err := openOffline("store", (*Options)(nil).withDefaults(), seams{fs: fs}, false)
	require.NoError(t, err)
	require.NoError(t, s.db.Set([]byte{kindStore}, record, pebble.Sync))
	if also != nil {
		also(s.db)
	}
	require.NoError(t, s.Close())
	return fs
}

// Whatever bit of the store record flips, the one that says which number the next
// namespace gets or how many batches are gone among them, Open refuses it.
func TestFault_B08_AnyBitOfTheStoreRecord(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		n, err := s.Namespace(name, nil)
		require.NoError(t, err)
		accept(t, n, 0, 20, 0)
	}
	require.NoError(t, s.DeleteNamespace("b"))
	require.NoError(t, s.queue.drain())
	record := recordOf(t, s)
	require.NoError(t, s.Close())
	for at := range record {
		damaged := slices.Clone(record)
		damaged[at] ^= 1 << (at % 8)
		_, err := open("store", &Options{Logger: quiet(), Witness: witnessNone},
			seams{fs: withRecord(t, fs, damaged, nil)})
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at)
	}
}

// The store record and the registry go back together, to before a namespace was
// made, and agree: its number is not given out once more while anything stands
// under it, to a namespace that would have its markers.
func TestFault_B08_NumberIsGivenOutOnce(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: mergeLimits})
	require.NoError(t, err)
	_, err = s.Namespace("a", nil)
	require.NoError(t, err)
	before := recordOf(t, s)
	b := filled(t, s, "b")
	require.NoError(t, s.queue.drain())
	accept(t, b, 3001, 3, 0) // too few for a table
	require.NoError(t, s.Close())
	for what, left := range map[string]byte{
		"head": kindHead, "runs": kindRun, "state": kindState, "tables": kindPage, "dead record": kindDead,
	} {
		t.Run(what, func(t *testing.T) {
			fs := withRecord(t, fs, before, func(db *pebble.DB) {
				require.NoError(t, db.Set(segKey(kindDead, b.num, 1), nil, pebble.Sync))
				require.NoError(t, db.Delete(nameKey("b"), pebble.Sync))
				for _, kind := range spaced {
					if from := nsKey(kind, b.num); kind != left {
						require.NoError(t, db.DeleteRange(from, after(from), pebble.Sync))
					}
				}
			})
			s, err := open("store", &Options{Logger: quiet(), Witness: witnessNone}, seams{fs: fs})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			_, err = s.Namespace("c", nil)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "the next namespace is number 2, and that was given out")
			_, err = s.Namespace("a", nil)
			require.ErrorIs(t, err, ErrCorrupt, "the store has stopped")
		})
	}
}

// Whatever the store record was at any earlier moment: beside everything else as
// it is now it is refused, or it changes nothing but the count of batches, which
// the witness holds against it.
func TestFault_B08_OlderStoreRecord(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
	require.NoError(t, err)
	var records [][]byte
	create := func(name string) {
		records = append(records, recordOf(t, s))
		n, err := s.Namespace(name, nil)
		require.NoError(t, err)
		accept(t, n, 0, 20, 0)
	}
	gone := func(name string) {
		records = append(records, recordOf(t, s))
		require.NoError(t, s.DeleteNamespace(name))
		require.NoError(t, s.queue.drain())
	}
	create("a")
	create("b")
	gone("b") // the registry is as it was before b, the next number is not
	create("c")
	gone("a")
	create("d")
	gone("d")
	last := recordOf(t, s)
	require.NoError(t, s.Close())
	for i, record := range records {
		require.NotEqual(t, last, record)
		fs := withRecord(t, fs, record, nil)
		_, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrRolledBack), "record %d: %v", i, err)
		s, err := open("store", &Options{Logger: quiet(), Witness: witnessNone}, seams{fs: fs})
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt, "record %d", i)
			continue
		}
		require.Equal(t, []string{"c"}, slices.Collect(s.Namespaces()), "record %d", i)
		require.Empty(t, recordsOf(t, s, "e"), "record %d", i)
		require.Len(t, recordsOf(t, s, "c"), 20, "record %d", i)
		require.NoError(t, s.Close())
	}
}

// recordsOf returns which of the first IDs a namespace knows.
func recordsOf(t *testing.T, s *Store, name string) []string {
	t.Helper()
	n, err := s.Namespace(name, nil)
	require.NoError(t, err)
	return duplicates(t, n, idsOf(0, 20)...)
}

// The store record and the registry go back together, to before a namespace was
// deleted, and agree. The witness has seen its batches go; and nothing of what was
// deleted is back.
func TestFault_B08_DeletedNamespaceIsNotBack(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: mergeLimits})
	require.NoError(t, err)
	num := filled(t, s, "a").num
	before, entry := recordOf(t, s), slices.Clone(s.names["a"])
	require.NoError(t, s.DeleteNamespace("a"))
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.Close())
	fs = withRecord(t, fs, before, func(db *pebble.DB) {
		require.NoError(t, db.Set(nameKey("a"), entry, pebble.Sync))
	})
	_, err = open("store", &Options{Logger: quiet()}, seams{fs: fs})
	require.ErrorIs(t, err, ErrRolledBack)
	s, err = open("store", &Options{Logger: quiet(), Witness: witnessNone}, seams{fs: fs})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.Equal(t, []string{"a"}, slices.Collect(s.Namespaces()))
	require.Zero(t, keysOf(t, s, num))
	require.Empty(t, recordsOf(t, s, "a"))
}
