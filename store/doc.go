// Package store keeps, for each namespace, which IDs were seen within a window
// of the namespace's own time, together with the position in the log they come
// from and whatever state the handler of a record wants to keep: all of it in
// ONE atomic, synced batch. The first time counts, every other time is a
// duplicate.
//
// There are only a few types. A [Store] is a directory. A [Namespace] is a space
// in which an ID is unique: for Kafka, one partition as one group reads it. Its
// Update hands out a [Batch], whose Do decides a record and, unless it is a
// duplicate, calls the handler with a [Tx] for its state and its outputs.
// [Namespace.View] reads state from anywhere.
//
// # What is promised
//
//   - A decision is a pure function of the log: the same records in the same
//     order are decided alike, however they were split into batches, crashed
//     over, stored or expired. Exact to the millisecond; no ID is ever taken for
//     another. The wall clock only tells times that lie in the future.
//   - Update returned nil: markers, state, outputs, clock and position are on
//     disk, all of them. Any error: none of them are (after ErrPoisoned only the
//     next Open can tell).
//   - Nothing is marked before the handler returned nil. A failed or panicking
//     handler leaves nothing of its record.
//   - Nothing is forgotten silently. A namespace proves its markers before its
//     first verdict; what it cannot vouch for is [Unknown], with the reason, and
//     an [UnknownPolicy] says what becomes of it. A window may change at any
//     time; what that forgets is told first, and [Coverage] tells the rest.
//   - The store never ends the process, never waits for ever, never logs an ID.
//
// It is not safe on a network file system, and two processes cannot share it.
//
// # Backups
//
// [Store.Checkpoint] makes a picture of a running store; [Adopt] makes a store of
// the picture, with an identity of its own, so that the two are never taken for
// each other. Nothing else is a backup: a directory that was copied is refused
// with [ErrCopied], because a copy of a running store holds parts of different
// moments. (Snapshots of a whole volume keep the directory's inode and cannot be
// told from it. They hold one moment, like a crash, so they are safe to open; and
// rolled back, which is the next thing.)
//
// An older state of a store is consistent, and proves itself. That it is older is
// known to whoever saw it further on: Kafka, by the tag of a committed offset; the
// caller, by [Namespace.Witnessed]; or the witness, a small file beside the
// directory ([Options].Witness). What none of them saw, the batches of the last
// five seconds before a crash, or all of them where the witness was rolled back
// with the store, is lost without a sign: put the witness on another disk.
//
// # Forgetting
//
// [Namespace.Forget] forgets an ID, ForgetOrigins and ForgetTimes forget ranges,
// ForgetAll everything, each also in a [Batch] with other changes;
// [Store.DeleteNamespace] deletes a namespace whole. A forgotten ID is as if it had
// never been accepted: its next record is decided anew. State and outputs are the
// handler's, and stay.
//
// That is so at once, and durable. The bytes of an ID (for one above 256 bytes, of
// its digest) stay on disk until the segment that holds them is merged or leaves
// the window, and in the log until its files are used again; after ForgetAll and
// DeleteNamespace tables go with the batches that follow. Where IDs are personal
// data and have to be erased, this is the bound to name: the window. A window of
// forever has none. Checkpoints keep what they hold.
//
// # Looking in, and mending
//
// Lookup, Why, Markers, Segments and Status may be called by anybody at any time,
// beside batches: they see the newest durable batch and wait for no handler. To
// look into a store that nobody has open, and leave it as it is, open it with
// Options.ReadOnly.
//
// That, and [VerifyDir], also go where nothing can be written: a snapshot, or a
// backup that is mounted for reading only. The lock is one there that others may
// share who look, and it still excludes whoever writes to the directory by another
// mount of the same machine. Where there is no lock's file, as in a checkpoint,
// nobody has the store open, and there is no lock: do not open, adopt or repair the
// directory by another mount meanwhile, or what is looked at may seem damaged, or
// be older than what is there. A directory in which only this user may not write is
// refused (ErrUnfit): its owner may open it at any time.
//
//	                 owner                          everybody else
//	handler runs     reads the index                looks up beside it
//	batch written    holds the index (hold)         waits for the disk, no longer
//	batch durable    shows a new picture, lets go   sees all of it
//
// While a batch is synced the owner may be another goroutine already, whose batch
// runs in the meantime (see [Namespace.Update]).
//
// [Store.Verify] reads all that is on disk, believes nothing that is in memory,
// and names what is damaged and where: each table by its pages, its filter and
// its ledger, runs by the sum that the head keeps. [Repair] takes segments that do
// not prove out of a closed store. Their namespace's coverage moves to where none
// of their markers would count any more, or is open: what was lost is never taken
// for new. Anything else that is damaged is beyond repair: restore a backup.
//
// # The way of a record
//
//	Do(record)
//	  clock      move C by the record's time                     clock.go   R1
//	  find       row, then segments, newest first                lookup.go  R2
//	  decide     New | Duplicate | Unknown(reason)               decide.go  R2-R4
//	  handler    fn(tx): state, outputs                          tx.go      R7
//	  accept     marker into the open segment, if the policy     policy.go  R4
//	             lets an Unknown leave one                       segments.go
//	Update ends
//	  commit     ONE batch: runs, head, state, outputs           batch.go   R6
//	             + what expired under the DURABLE clock          segments.go R9
//	  sync       the next batch runs, where one waits            flight.go
//
// # States
//
// A store is in one named state ([Store.State]; [Store.Err] is its error, with the
// way out). It never ends the process for it, and never acknowledges what is not
// durable.
//
//	running    accepts batches
//	disk-full  Update returns ErrDiskFull and has not begun; call again later. Entered
//	           when less than Options.MinFree is free, left without help. What has
//	           expired is dropped all the same, and Advance lets more expire
//	poisoned   a write or a sync failed: everything returns ErrPoisoned until the
//	           process is restarted. Nothing is tried again
//	corrupt    stored bytes are not what was written: ErrCorrupt
//	closed     ErrClosed
//
// Open refuses a directory that somebody else has open (ErrLocked), that other
// users may write to, or a process with too few descriptors (ErrUnfit). An error
// inside Open, and a disk that fails under it, may end the process inside Pebble:
// let a supervisor start it anew, and do not open again in the same process.
//
// # The markers
//
// Markers are not keys. The new markers of a batch in one segment are one value,
// a run; a segment is a closed slice of a namespace's time, up to 1.3 million
// markers; one that is full or old is spilled into one immutable table of pages,
// each holding the markers of one range of the hash. Looking up an absent ID
// costs no read: an exact table in memory or a filter answers for each segment. A
// segment is dropped whole when its newest marker has left the window. Neighbours
// are merged, so that there are at most 64 of them, none longer than a bucket or a
// sixteenth of the window: it would keep its oldest markers for long.
//
// In memory there is one budget ([Options].Memory). While it allows, the pages of the
// newest segments are kept beside their tables on disk: duplicates are mostly of
// recent IDs, and cost no read then. Beyond it those go first, a megabyte at a time;
// then idle namespaces put their closed segments into shared tables, and are unloaded, and
// read back when they are used; then tables are written early. Filters have a
// budget of their own: the oldest are halved, then dropped. Answers never change,
// only what they cost.
//
// A segment below 50,000 markers gets no table of its own: it stays in its runs,
// which lie in the database's files beside those of others, and goes by their
// deletion. So tables are never more than live markers / 50,000 and one a namespace,
// but for those that a namespace too large for the budget has written early.
// Reading an unloaded namespace back takes about 0.13 us for each marker in runs.
// So where the budget is short, segments of 256 markers and more are laid out as
// tables are, in pages and with a filter, and these replace the runs as ordinary
// keys: many namespaces' in one synced batch, which the database gathers in its own
// tables. Such a shared table is no file of its own: a file with segments of many
// namespaces would overlap the next one of its kind, which the database could not
// put into its lowest level, and it would stay until the last of them has expired.
// What is shared costs a namespace a catalogue entry and a filter to read back, and
// the database rewrites it now and then, as it does with runs. With 2,000 namespaces
// of 10,000 markers in 52 MB, where each batch is for the namespace that was idle
// longest, 100 records a batch are decided at 184,000 a second and 500 at 425,000;
// without shared tables it is 59,000 and 314,000.
//
//	page   ns seg part index   a table's pages, filter, header   Ingest
//	cat    ns seg              facts of a table                  with the deletion of its runs
//	run    ns seg seq          markers in order of arrival       batch
//	head   ns                  position, clock, coverage, sums   every batch
//	out    ns batch i          staged outputs                    batch, until settled
//	store                      ID, ancestors, secret, sum of     when a namespace is made or deleted, Adopt
//	                           the registry
//	name   name                number and settings               when a namespace is made, or changes
//	state  ns key              the user's                        batch
//	row    ns                  markers of a row of jumps         batch, when it changes
//	dead   ns seg              dropped, its table may stand      batch, until it is gone
//	dead   ns                  the namespace was deleted         DeleteNamespace, until its tables are gone
//	opens                      count, and the last 64 openings   Open
//	ages   ns                  ages of duplicates                batch, when they change
//	sweeps ns                  forgotten ranges                  batch, when they change
//	shared ns seg part index   pages and filter of a small one   a batch for many namespaces, with the
//	                                                             deletion of its runs and its entry in cat
//
// # Invariants
//
// The numbers are those of docs/faults.md; tests carry them.
//
//	I1   state is the fold of the accepted records below the position
//	I5   an acknowledged position never goes back
//	I6   no segment outlives the batch after its newest marker left the window
//	I7   a filter holds at least the markers of its segment
//	I8   age < W is always a duplicate, age >= W never
//	I10  the clock never goes back after its first 8 times, and is stored
//	I11  a ledger is what its markers sum up to
//
// # Why every crash is safe
//
// A batch is one record of the log: all or nothing. A table is written only from
// a frozen segment, whose last batch is durable; until the batch that puts it
// into the catalogue and deletes its runs, both stand, and the table wins. A
// dropped segment's batch deletes what points to its table and leaves a dead
// record, so that the table's removal is finished after a crash. A table that
// nothing points to is damage, and is reported, because its markers were
// acknowledged once.
//
// What goes into a shared table goes by one batch, with the catalogue entry and
// without the runs; what is dropped from it goes with the batch that drops it. Who
// looks IDs up beside the owner holds an iterator of before, or waits.
//
// A merged table names the segments it replaces, and holds what they accepted,
// which the ledgers prove. From its ingestion on it stands for them; the batch
// that puts it into the catalogue leaves dead records for them. A segment that is
// about to be replaced is not dropped: either the merge is given up, or the drop
// waits for the merged one.
//
// Settings change in one batch: the registry's entry, the store record that
// proves it, and a head whose coverage and floor are those of the new settings.
// The floor makes what had left a window count no more whether it still stands
// or not: when segments go is a matter of layout, and must not show.
//
// What is forgotten comes with a batch: an ID as a tombstone, an entry like any
// other, which outlives what it hides; a range as a sweep, which concerns what
// stands below a place and goes with the batch after which nothing is there. Both
// are proved, tombstones by the ledgers, sweeps by the head. A namespace is deleted
// by one batch, whose dead record has its tables removed.
package store
