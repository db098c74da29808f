package store

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/firstseen/firstseen/window"
)

// index is the one seam around the markers of a namespace. Two things stand
// behind it: segments, what a store is made of, and a plain map, which the
// tests hold against it.
//
// A batch begins, looks up and accepts, stages what it changed, and ends by
// absorb and committed, or by rollback. All of it is for the namespace's owner
// alone.
type index interface {
	// begin starts a batch. durable is the clock as it stands on disk. One that
	// brings markers waits while too many wait for their tables.
	begin(durable clock, brings bool) error

	// dropping reports whether the batch that was begun drops what has expired.
	dropping() bool

	// setRules changes the settings, between batches.
	setRules(r rules, b window.Buckets)

	// prepare looks up many IDs at once, in front of the marker they will
	// find. Their places are the at of the look-ups that follow.
	prepare(ids []ident)

	// lookup returns the marker that an ID was given last, unless it is
	// forgotten; at is its place in the last prepare, -1 when it was not prepared.
	lookup(id ident, at int) (marker, bool, error)

	// accept enters a marker. older is F of the one it replaces, 0 when none;
	// now is C, which cuts time into segments.
	accept(id ident, m marker, older, now int64)

	// forget hides the marker of an ID, which was found, and older ones.
	forget(id ident, was marker, now int64)

	// sweep hides what a sweep matches of everything accepted so far. It may be
	// refused, which changes nothing.
	sweep(s sweep) error

	// stage writes what the batch changed.
	stage(b *pebble.Batch)

	// sum is the ledger of everything that is live once the batch is durable.
	sum() ledger

	// sweepSum proves the sweeps that stand once the batch is durable.
	sweepSum() uint64

	// next is the place of the next segment; it goes up only.
	next() uint64

	// hold lets readers beside the owner wait until the batch ends: what it
	// deletes they must not look for. absorb then takes the batch's markers into
	// the segments, while it is being written.
	hold()
	absorb()

	// detach ends a batch after absorb, if all that is left is to wait until it is
	// durable. Whoever does calls unhold, on any goroutine, and others may look IDs
	// up again, or never if it is not durable. Meanwhile the next batch may begin
	// by follow, if follows allows it, but is not staged.
	detach() bool
	unhold(durable bool)
	follows(now clock) bool
	follow()

	// Any other batch ends by committed when it is durable, by rollback when nothing of
	// it was written, and by failed when writing it failed after absorb: the
	// index is then of no use any more.
	committed()
	rollback()
	failed()

	// end gives everything up, between batches: the namespace is deleted.
	end()

	// What follows serves the store's budgets between batches. adopt lets new
	// tables answer. The others give up memory until excess bytes are gone or
	// on their way, and return what is left of excess: release what is in
	// memory beside a table, relieve by having tables written, squeeze by
	// halving the oldest filters, strip by dropping those. unload gives up
	// everything that can be read back, if nothing is under way, and tells how
	// much of the budget it was.
	adopt()
	release(excess int64) int64
	relieve(excess int64) int64
	squeeze(excess int64) int64
	strip(excess int64) int64
	unload() (freed int64, done bool)
}
