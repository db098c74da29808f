package adapter

import (
	"sync/atomic"
	"time"
)

// Stats are numbers of a Consumer since it was made, over all its Runs. What a
// batch adds is added when the batch is durable.
type Stats struct {
	// Partitions that it has now, but those that are being restored, or in which a
	// handler hangs. Consumer.Partitions lists all of them.
	Partitions int
	// Lag is how many offsets of these lie before the end of their logs, as
	// far as is known.
	Lag int64

	// Records fetched and done with: the sum of the next eight.
	Records uint64
	// New, Duplicates and Unknown count verdicts; the Unknown are those that
	// Options.Unknown accepts.
	New, Duplicates, Unknown uint64
	// Dropped counts the Unknown that Options.Unknown drops.
	Dropped uint64
	// WithoutID counts records without an ID that were accepted.
	WithoutID uint64
	// Replays counts records below the position: decided before (R5).
	Replays uint64

	// DeadLetters counts records that were staged for the dead-letter topic.
	DeadLetters uint64
	// Discarded counts records whose handler returned Discard.
	Discarded uint64

	// Skipped counts offsets that a policy passed unread: over a gap (OnGap), or to
	// where somebody moved the group (OnForeignOffset).
	Skipped uint64
	// Paused is how many partitions are paused now, see Consumer.Paused.
	Paused int
	// Outputs that Kafka acknowledged, dead letters among them.
	Outputs uint64
	// Transactions that Kafka committed, see Options.Transactional.
	Transactions uint64
	// Failures of a handler, each time it was called.
	Failures uint64
	// Restoring is how many partitions are being restored now: they are not among
	// Partitions yet. See Consumer.Restores.
	Restoring int
	// Restored counts the records that restores have read, RestoredBytes their bytes
	// as Kafka sent them.
	Restored, RestoredBytes uint64
	// RestoreETA is how long the slowest of the restores takes at its pace; 0 when
	// none runs, or it is not known.
	RestoreETA time.Duration
	// Sessions that ended and were followed by a new one.
	Sessions uint64
}

// Stats returns the numbers as they are now. It may be called at any time, from
// any goroutine.
func (c *Consumer) Stats() Stats {
	n := &c.stats
	s := Stats{
		Partitions:   int(n.partitions.Load()),
		Lag:          n.lag.Load(),
		New:          n.fresh.Load(),
		Duplicates:   n.duplicates.Load(),
		Unknown:      n.unknown.Load(),
		Dropped:      n.dropped.Load(),
		WithoutID:    n.withoutID.Load(),
		Replays:      n.replays.Load(),
		DeadLetters:  n.deadLetters.Load(),
		Discarded:    n.discarded.Load(),
		Skipped:      n.skipped.Load(),
		Paused:       len(c.Paused()),
		Outputs:      n.outputs.Load(),
		Transactions: n.transactions.Load(),
		Failures:     n.failures.Load(),
		Sessions:     n.sessions.Load(),
	}
	c.restoreStats.addTo(&s)
	s.Records = s.New + s.Duplicates + s.Unknown + s.WithoutID + s.Replays +
		s.DeadLetters + s.Discarded + s.Dropped
	return s
}

type counters struct {
	partitions, lag                                atomic.Int64
	fresh, duplicates, unknown, withoutID, replays atomic.Uint64
	deadLetters, discarded, dropped                atomic.Uint64
	outputs, failures, sessions, skipped           atomic.Uint64
	transactions                                   atomic.Uint64
}

// tally counts for one batch.
type tally struct {
	fresh, duplicates, unknown, withoutID, replays, deadLetters, discarded, dropped uint64
}

func (n *counters) add(t tally) {
	n.fresh.Add(t.fresh)
	n.duplicates.Add(t.duplicates)
	n.unknown.Add(t.unknown)
	n.withoutID.Add(t.withoutID)
	n.replays.Add(t.replays)
	n.deadLetters.Add(t.deadLetters)
	n.discarded.Add(t.discarded)
	n.dropped.Add(t.dropped)
}
