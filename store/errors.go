package store

import (
	"errors"
	"fmt"
)

// Errors of a store as a whole. After one of them Store.Err says the same.
var (
	// ErrClosed is returned by every call on a closed store.
	ErrClosed = errors.New("store: closed")

	// ErrLocked is returned by Open when another process, or another handle in
	// this process, has the directory open. It names the process, where the system
	// tells it.
	ErrLocked = errors.New("store: locked, it is open elsewhere")

	// ErrPoisoned is returned once a write or a sync has failed. Nothing that
	// was not acknowledged is durable for certain, nothing is tried again, and
	// only a restart of the process ends the state.
	ErrPoisoned = errors.New("store: poisoned by a failed write; restart the process")

	// ErrCorrupt is returned when stored bytes are not what was written: by
	// Open, by the first use of a namespace, or by a look-up.
	ErrCorrupt = errors.New("store: corrupt")

	// ErrFormat is returned by Open and by Adopt for a directory that is not a
	// firstseen store, and by them and by the first use of a namespace for what
	// a later release wrote: it names both formats, and touches nothing.
	ErrFormat = errors.New("store: not a store of a format that this release reads")

	// ErrSealed is returned by Open for a checkpoint: Adopt makes it a store.
	ErrSealed = errors.New("store: a checkpoint")

	// ErrUnsealed is returned by Open and by Adopt for a checkpoint without its
	// seal, which was never finished, and by Adopt for a directory that is no
	// checkpoint, unless it is told to take one.
	ErrUnsealed = errors.New("store: not a sealed checkpoint")

	// ErrCopied is returned by Open for a store whose directory is not the one
	// that it was made in. A copy of a running store is not a store.
	ErrCopied = errors.New("store: a copy of store")

	// ErrRolledBack is returned by Open, and by Namespace.Witnessed, for a store
	// that is an older state of itself than the one that was witnessed: batches
	// that were acknowledged are not in it (R16).
	ErrRolledBack = errors.New("store: rolled back")

	// ErrBeyondRepair is returned by Repair for damage to what is not markers: a
	// position, state, outputs, the registry; and for a directory that the
	// storage engine cannot open at all. Nothing was changed.
	ErrBeyondRepair = errors.New("store: beyond repair; restore a backup")

	// ErrBacklog is returned by Update when sealed tables cannot be written as
	// fast as markers come in: the disk is full, or much too slow. The batch
	// was not begun; the call may be made again.
	ErrBacklog = errors.New("store: tables are not written as fast as markers come in")

	// ErrDiskFull is returned by Update, by what forgets and by Open when the disk
	// has less free space than Options.MinFree asks for. The batch was not begun, or
	// nothing of it was kept; the call may be made again, and the store goes on by
	// itself when there is room. Advance and DeleteNamespace make room there.
	ErrDiskFull = errors.New("store: disk full")

	// ErrUnfit is returned by Open when the process, or the directory's rights,
	// would stop the store later on or let other users into it. It names each
	// fault with its way out.
	ErrUnfit = errors.New("store: not fit to be opened")

	// ErrCloseTimeout is returned by Close when a batch, a reader or the disk
	// did not come to an end within ten seconds. What they hold is leaked.
	ErrCloseTimeout = errors.New("store: close did not end in time")
)

// Errors of one call. They leave the store and its namespaces as they were.
var (
	// ErrBatchTooLarge is returned by Update for a batch above MaxBatchBytes.
	// Nothing of it remains; split it by Batch.Size.
	ErrBatchTooLarge = errors.New("store: batch is too large")

	// ErrReplay is returned by Do for a record below the namespace's position:
	// it was decided before and is never decided again (R5).
	ErrReplay = errors.New("store: record was decided before")

	// ErrNoID is returned by Do for an empty ID (R14).
	ErrNoID = errors.New("store: record has no ID")

	// ErrGapAfterFailure is returned by Do for an offset above one whose
	// function failed. Do the failed one again, or pass it by SetPosition.
	ErrGapAfterFailure = errors.New("store: an earlier record failed and was not passed")

	// ErrOtherLog is returned by Do for an origin whose topic ID or partition
	// is not the one of the namespace's position or, before it has any, of the
	// record that failed. SetPosition changes logs.
	ErrOtherLog = errors.New("store: record of another log than the position's")

	// ErrBackwards is returned by SetPosition for an offset below the position
	// in the same log: an acknowledged position never goes back.
	ErrBackwards = errors.New("store: position would go back")

	// ErrDeleted is returned by every call on a namespace that was deleted.
	ErrDeleted = errors.New("store: namespace was deleted")

	// ErrNoNamespace is returned by DeleteNamespace when there is none of that
	// name.
	ErrNoNamespace = errors.New("store: no such namespace")

	// ErrForgets is returned by ForgetOrigins, ForgetTimes and ForgetAll when too
	// many forgotten ranges stand at once.
	ErrForgets = errors.New("store: too many forgotten ranges")

	// ErrSettings is returned by Namespace when the settings asked for would
	// lose what the namespace remembers, and no option allows it.
	ErrSettings = errors.New("store: namespace has other settings")

	// ErrDeadLetter is returned by Tx.Set, Delete and Add for a record whose
	// Action is DeadLetter: it is not accepted, so it must not count in state.
	ErrDeadLetter = errors.New("store: state of a record that is dead-lettered")

	// ErrNoOrigin is returned by Tx.Stage inside Batch.Alter: an output belongs to
	// a record.
	ErrNoOrigin = errors.New("store: an output of no record")

	// ErrStateCleared is returned by Do for a record in a batch in which the state
	// was cleared.
	ErrStateCleared = errors.New("store: state is cleared in this batch")

	// ErrNoClock is returned by Advance while the namespace has not seen the 8
	// times that set its clock (R1).
	ErrNoClock = errors.New("store: namespace has no clock yet")

	// ErrAhead is returned by Advance for a time beyond the wall clock.
	ErrAhead = errors.New("store: time lies ahead of the wall clock")

	// ErrNotRestoring is returned by Batch.Restore and its like without a
	// Batch.BeginRestore before them.
	ErrNotRestoring = errors.New("store: namespace restores nothing")

	// ErrRestoring is returned by Advance while the namespace is being restored.
	ErrRestoring = errors.New("store: namespace is being restored")

	// ErrReadOnly is returned by every call that would change a store which is
	// open to look into it (Options.ReadOnly).
	ErrReadOnly = errors.New("store: opened read-only")

	// ErrTxDone is returned by a Tx, a Batch or a View that is used after the
	// function it was handed to has returned.
	ErrTxDone = errors.New("store: transaction has ended")

	// ErrNotPending is returned by Batch.Replace for an output that is not staged,
	// or is settled.
	ErrNotPending = errors.New("store: the output is not pending")

	// ErrOverflow is returned by Tx.Add when the sum does not fit an int64.
	ErrOverflow = errors.New("store: sum overflows")
)

// corruptf wraps ErrCorrupt with what was found to be wrong.
func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s; restore a backup, or delete the directory to start cold",
		ErrCorrupt, told(format, args...))
}
