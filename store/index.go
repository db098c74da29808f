package store

import "github.com/cockroachdb/pebble/v2"

// index is the one seam around the markers of a namespace. Two things stand
// behind it: segments, what a store is made of, and a plain map, which the
// tests hold against it.
//
// A batch begins, looks up and accepts, stages what it changed, and ends by
// committed or rollback. All of it is for the namespace's owner alone.
type index interface {
	// begin starts a batch. durable is the clock as it stands on disk.
	begin(durable clock) error

	// prepare looks up many IDs at once, in front of the marker they will
	// find. Their places are the at of the look-ups that follow.
	prepare(ids []ident)

	// lookup returns the marker that an ID was given last; at is its place in
	// the last prepare, -1 when it was not prepared.
	lookup(id ident, at int) (marker, bool, error)

	// accept enters a marker. older is F of the one it replaces, 0 when none;
	// now is C, which cuts time into segments.
	accept(id ident, m marker, older, now int64)

	// stage writes what the batch changed.
	stage(b *pebble.Batch)

	// sum is the ledger of everything that is live once the batch is durable.
	sum() ledger

	// next is the number of the next segment; it goes up only.
	next() uint64

	// committed ends a batch that is durable, rollback one that never was.
	committed()
	rollback()

	// adopt and relieve serve the store's budget between batches: adopt lets
	// go of what has a table now; relieve gives memory up until excess bytes
	// are gone or on their way, and returns what is left of excess.
	adopt()
	relieve(excess int64) int64
}
