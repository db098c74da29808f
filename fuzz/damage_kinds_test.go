package fuzz

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

const witnessFile = scriptDir + ".witness"

// fileKinds are parts of names by which the files of a store are told apart.
var fileKinds = []string{
	".sst", ".log", "MANIFEST-", "marker.manifest", "marker.format-version", "OPTIONS-", "FIRSTSEEN", ".witness",
}

// kindFiles returns the paths of a store's files of one kind, in order.
func kindFiles(t require.TestingT, fs vfs.FS, kind string) []string {
	if kind == ".witness" || kind == "FIRSTSEEN" {
		path := witnessFile
		if kind == "FIRSTSEEN" {
			path = scriptDir + "/FIRSTSEEN"
		}
		if _, err := fs.Stat(path); err != nil {
			return nil
		}
		return []string{path}
	}
	return slices.DeleteFunc(dataFiles(t, fs, kind), func(path string) bool {
		// A marker file of the manifest has its name inside.
		return kind == "MANIFEST-" && strings.Contains(path, "/marker.")
	})
}

// A damage does something to a copy of a store, and says what; "" when there is
// nothing in it that it could be done to.
type damage struct {
	name string
	do   func(t require.TestingT, rng *rand.Rand, fs *faultFS, st *storeFiles) string
}

var damages = []damage{
	{"bits flip", onContent(func(rng *rand.Rand, b []byte) []byte {
		for range 1 + rng.IntN(8) {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
		return b
	})},
	{"truncated", onContent(func(rng *rand.Rand, b []byte) []byte { return b[:rng.IntN(len(b))] })},
	{"4 KiB zeroed", onContent(func(rng *rand.Rand, b []byte) []byte {
		at := rng.IntN(len(b)) &^ (4<<10 - 1)
		clear(b[at:min(at+4<<10, len(b))])
		return b
	})},
	{"zeros to its end", onContent(func(rng *rand.Rand, b []byte) []byte {
		clear(b[rng.IntN(len(b)):])
		return b
	})},
	{"deleted", func(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
		path := anyFile(t, rng, fs)
		require.NoError(t, fs.Remove(path))
		return path
	}},
	{"empty", func(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
		path := anyFile(t, rng, fs)
		replace(t, fs, path, nil)
		return path
	}},
	{"a directory in its place", aDirectory},
	{"two swapped", swapTwo},
	{"one is a copy of another", oneTwice},
	{"one of another store", another},
	{"an old copy", oldCopy},
	{"all are old but one", allOldButOne},
	{"an old file is back", oldFileBack},
	{"a filter bit flips below the checksums", filterBit},
}

// anyFile draws a file: of the kinds, each as often.
func anyFile(t require.TestingT, rng *rand.Rand, fs vfs.FS) string {
	for {
		if of := kindFiles(t, fs, fileKinds[rng.IntN(len(fileKinds))]); len(of) > 0 {
			return of[rng.IntN(len(of))]
		}
	}
}

// onContent damages the content of one file.
func onContent(change func(rng *rand.Rand, b []byte) []byte) func(
	require.TestingT, *rand.Rand, *faultFS, *storeFiles,
) string {
	return func(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
		path := anyFile(t, rng, fs)
		b := contents(t, fs, path)
		if len(b) == 0 {
			return ""
		}
		was := slices.Clone(b)
		b = change(rng, b)
		if slices.Equal(was, b) {
			return ""
		}
		replace(t, fs, path, b)
		return path
	}
}

// aDirectory puts a directory in the place of a file, with something in it or not.
func aDirectory(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
	path := anyFile(t, rng, fs)
	require.NoError(t, fs.Remove(path))
	require.NoError(t, fs.MkdirAll(path, 0o700))
	if rng.IntN(2) == 0 {
		replace(t, fs, path+"/file", nil)
	}
	return path
}

// swapTwo gives two tables, or two logs, each other's content.
func swapTwo(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
	of := kindFiles(t, fs, []string{".sst", ".sst", ".log"}[rng.IntN(3)])
	if len(of) < 2 {
		return ""
	}
	i := rng.IntN(len(of))
	j := (i + 1 + rng.IntN(len(of)-1)) % len(of)
	a, b := contents(t, fs, of[i]), contents(t, fs, of[j])
	replace(t, fs, of[i], b)
	replace(t, fs, of[j], a)
	return fmt.Sprintf("%s with %s", of[i], of[j])
}

// oneTwice gives a table, or a log, the content of another one.
func oneTwice(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
	of := kindFiles(t, fs, []string{".sst", ".sst", ".log"}[rng.IntN(3)])
	if len(of) < 2 {
		return ""
	}
	i := rng.IntN(len(of))
	j := (i + 1 + rng.IntN(len(of)-1)) % len(of)
	replace(t, fs, of[i], contents(t, fs, of[j]))
	return fmt.Sprintf("%s is %s", of[i], of[j])
}

// another gives a file the content of one of its kind in another store.
func another(t require.TestingT, rng *rand.Rand, fs *faultFS, st *storeFiles) string {
	kind := fileKinds[rng.IntN(len(fileKinds))]
	ours, theirs := kindFiles(t, fs, kind), kindFiles(t, st.other, kind)
	if len(ours) == 0 || len(theirs) == 0 || strings.HasPrefix(kind, "marker.") {
		return ""
	}
	path, from := ours[rng.IntN(len(ours))], theirs[rng.IntN(len(theirs))]
	b := contents(t, st.other, from)
	if slices.Equal(b, contents(t, fs, path)) {
		return ""
	}
	replace(t, fs, path, b)
	return fmt.Sprintf("%s is %s of another store", path, from)
}

// allOldButOne gives the database the files of an earlier moment, and one of now.
// Nearly a whole store that is older is what the witness is for: who knows the
// sequences alone takes a namespace that was made anew for the one before.
func allOldButOne(t require.TestingT, rng *rand.Rand, fs *faultFS, st *storeFiles) string {
	then := st.moments[rng.IntN(len(st.moments))]
	now := dataFiles(t, fs, "")
	kept := now[rng.IntN(len(now))]
	for _, path := range now {
		if path != kept {
			require.NoError(t, fs.Remove(path))
		}
	}
	for _, path := range dataFiles(t, then, "") {
		if path != kept {
			replace(t, fs, path, contents(t, then, path))
		}
	}
	replace(t, fs, witnessFile, slices.Clone(st.witness))
	return "all but " + kept
}

// oldCopy gives a file the content that it, or the newest of its kind of then,
// had at an earlier moment.
func oldCopy(t require.TestingT, rng *rand.Rand, fs *faultFS, st *storeFiles) string {
	then := st.moments[rng.IntN(len(st.moments))]
	kind := fileKinds[rng.IntN(len(fileKinds))]
	now, old := kindFiles(t, fs, kind), kindFiles(t, then, kind)
	if len(now) == 0 || len(old) == 0 {
		return ""
	}
	path, from := now[len(now)-1], old[len(old)-1]
	if at := rng.IntN(len(now)); slices.Contains(old, now[at]) {
		path, from = now[at], now[at]
	}
	a, b := contents(t, fs, path), contents(t, then, from)
	if strings.HasPrefix(kind, "marker.") { // what it says is in its name
		if path == from {
			return ""
		}
		require.NoError(t, fs.Rename(path, from))
		return path + " was " + from
	}
	if slices.Equal(a, b) {
		return ""
	}
	replace(t, fs, path, b)
	return path + " from " + from
}

// oldFileBack brings back a file that is gone by now.
func oldFileBack(t require.TestingT, rng *rand.Rand, fs *faultFS, st *storeFiles) string {
	then := st.moments[rng.IntN(len(st.moments))]
	kind := fileKinds[rng.IntN(len(fileKinds))]
	gone := slices.DeleteFunc(kindFiles(t, then, kind), func(path string) bool { return exists(fs, path) })
	if len(gone) == 0 {
		return ""
	}
	path := gone[rng.IntN(len(gone))]
	replace(t, fs, path, contents(t, then, path))
	return path
}

// filterBit flips a bit of a segment's filter inside the database, which gives
// it whole checksums: a filter that came from elsewhere, or was wrong when it
// was written.
func filterBit(t require.TestingT, rng *rand.Rand, fs *faultFS, _ *storeFiles) string {
	var what string
	inside(t, fs, scriptDir, func(db *pebble.DB) {
		var keys [][]byte
		for key := range entries(t, db) {
			if key[0] == 0x01 && key[13] == 0x01 { // a table's filter, see store/key.go
				keys = append(keys, slices.Clone(key))
			}
		}
		if len(keys) == 0 {
			return
		}
		key := keys[rng.IntN(len(keys))]
		v := valueAt(t, db, key)
		v[rng.IntN(len(v))] ^= 1 << rng.IntN(8)
		require.NoError(t, db.Set(key, v, pebble.Sync))
		what = fmt.Sprintf("%x", key)
	})
	return what
}
