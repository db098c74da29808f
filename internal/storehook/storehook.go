// Package storehook lets this module's tests open a store over a file system of
// their own, with segments small enough to fill. It is how faults are injected;
// nothing else is.
package storehook

import "github.com/cockroachdb/pebble/v2/vfs"

// Hooks are what a test may replace. Zero fields replace nothing.
type Hooks struct {
	// FS is the file system of the store's directory.
	FS vfs.FS
	// FullSegment is how many markers fill a segment, SmallSegment how many a
	// closed one needs to be written as a table at once, MergeAbove how many
	// segments there may be before neighbours are merged.
	FullSegment, SmallSegment, MergeAbove int
	// ShareLeast is how many markers a segment needs to go into a shared table.
	ShareLeast int
	// MemTable is how many bytes the storage engine gathers before it writes a
	// table of its own.
	MemTable int
	// Cache is how many bytes of blocks it keeps in memory.
	Cache int
}

// Open is store.Open with hooks. The store package sets it; options and result
// are its *Options and *Store.
var Open func(dir string, opts any, h Hooks) (any, error)

// Adopt is store.Adopt with hooks; options are its *AdoptOptions.
var Adopt func(dir string, opts any, h Hooks) error

// Drain waits until the store has written and removed all tables that wait for
// it, or cannot.
var Drain func(store any) error

// VerifyDir and Repair are those of store with hooks and no options, but for a
// logger of Repair's, a *slog.Logger. The reports are its *Report and
// *RepairReport.
var (
	VerifyDir func(dir string, h Hooks) (report any, err error)
	Repair    func(dir string, logger any, h Hooks) (report any, err error)
)
