package fuzz

import (
	"errors"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// What a store holds, seen and changed behind its back: for what no damage to a
// file can bring about, because every block has a checksum.

// inside opens the database of a store that is closed.
func inside(t require.TestingT, fs vfs.FS, dir string, look func(db *pebble.DB)) {
	db, err := pebble.Open(dir+"/db", &pebble.Options{
		FS: fs, ErrorIfNotExists: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	look(db)
}

// silent is a logger for what nobody reads.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) { panic("the database gave up") }

// entries returns keys and values, which are not the caller's to keep.
func entries(t require.TestingT, db *pebble.DB) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		it, err := db.NewIter(nil)
		require.NoError(t, err)
		for ok := it.First(); ok && yield(it.Key(), it.Value()); ok = it.Next() {
		}
		require.NoError(t, errors.Join(it.Error(), it.Close()))
	}
}

// valueAt returns a copy of the value of a key.
func valueAt(t require.TestingT, db *pebble.DB, key []byte) []byte {
	v, closer, err := db.Get(key)
	require.NoError(t, err)
	v = slices.Clone(v)
	require.NoError(t, closer.Close())
	return v
}

// holdings counts the entries of a store by kind, the first byte of a key, and
// of its tables those that were merged (see store/segment.go).
func holdings(t require.TestingT, fs vfs.FS, dir string) (kinds map[byte]int, merged int) {
	kinds = map[byte]int{}
	inside(t, fs, dir, func(db *pebble.DB) {
		for key := range entries(t, db) {
			kinds[key[0]]++
			if key[0] == 0x02 && key[11]|key[12] != 0 {
				merged++
			}
		}
	})
	return kinds, merged
}
