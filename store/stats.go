package store

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Coverage is since when a namespace has seen every record.
type Coverage struct {
	// Open is set after a hole: nothing is vouched for until the clock moves.
	Open bool
	// Since is a time of the namespace's clock. The zero Time is the beginning.
	Since time.Time
	// Reason of whatever raised coverage last; zero while it is from the
	// beginning.
	Reason Reason
}

// String returns the coverage as one word or a time with its reason.
func (c Coverage) String() string {
	switch {
	case c.Open:
		return fmt.Sprintf("open (%s)", c.Reason)
	case c.Since.IsZero():
		return "from the beginning"
	default:
		return fmt.Sprintf("since %s (%s)", c.Since.Format(time.RFC3339Nano), c.Reason)
	}
}

// public returns the coverage as callers see it.
func (c coverage) public() Coverage {
	switch {
	case c.open:
		return Coverage{Open: true, Reason: c.reason}
	case c.since == math.MinInt64:
		return Coverage{}
	default:
		return Coverage{Since: timeOf(c.since), Reason: c.reason}
	}
}

// Counts are what a namespace decided since the store was opened.
type Counts struct {
	New       uint64
	Duplicate uint64
	Unknown   uint64 // all reasons, all actions

	// Of Unknown, by reason.
	Late, Clock, Cold, Evicted, Lost uint64

	// Of Unknown, by what was done with them (UnknownPolicy).
	Accepted, DeadLettered, Dropped uint64

	NoID    uint64 // passed by Batch.Pass
	Future  uint64 // times beyond the wall clock that were treated as missing
	Replays uint64

	Restored uint64 // markers entered by a restore
}

type counts struct{ Counts }

func (c *counts) add(d *Decision, s step) {
	switch d.Verdict {
	case New:
		c.New++
	case Duplicate:
		c.Duplicate++
	case Unknown:
		c.addUnknown(d)
	default:
		c.NoID++
	}
	if s.future {
		c.Future++
	}
}

func (c *counts) addUnknown(d *Decision) {
	c.Unknown++
	switch d.Reason {
	case Late:
		c.Late++
	case Clock:
		c.Clock++
	case Evicted:
		c.Evicted++
	case Lost:
		c.Lost++
	default:
		c.Cold++
	}
	switch d.Action {
	case DeadLetter:
		c.DeadLettered++
	case Drop:
		c.Dropped++
	default:
		c.Accepted++
	}
}

func (c *counts) addAll(o counts) {
	c.New += o.New
	c.Duplicate += o.Duplicate
	c.Unknown += o.Unknown
	c.Late += o.Late
	c.Clock += o.Clock
	c.Cold += o.Cold
	c.Evicted += o.Evicted
	c.Lost += o.Lost
	c.Accepted += o.Accepted
	c.DeadLettered += o.DeadLettered
	c.Dropped += o.Dropped
	c.NoID += o.NoID
	c.Future += o.Future
	c.Replays += o.Replays
}

// Status is what a namespace knows of itself as of its newest durable batch.
type Status struct {
	// Position is L, the next offset to decide; zero when there is none yet.
	Position Position
	// Clock is C; the zero Time before the first time.
	Clock time.Time
	// Timeline is what the clock holds beside C; while a restore is under way, what
	// the clock of that holds.
	Timeline Timeline
	// Coverage is what the namespace can vouch for.
	Coverage Coverage
	// Committed is K, what the outside acknowledged last; nil when nothing.
	Committed *Committed
	// LastOffset and Fingerprint are those of Batch.Remember; -1: none.
	LastOffset  int64
	Fingerprint uint64
	// Rewind counts the honoured resets, Forgets the calls that forgot IDs.
	Rewind, Forgets uint64
	// Sequence of the newest durable batch; 0 when there was none.
	Sequence uint64
	// HasState tells whether a handler has ever written state.
	HasState bool
	// Note is what the caller kept with the position last, see Batch.SetNote; nil:
	// nothing.
	Note []byte
	// Restore is the restore that is under way, see Batch.BeginRestore; nil: none.
	Restore *Restore
	// Pending is how many staged outputs are not settled.
	Pending int
	// Markers stand in Segments, of which Sealed have a table of their own on disk.
	// They are counted once the namespace is in use; a marker that was forgotten, or
	// replaced by a newer one of its ID, may count until its segment is dropped,
	// and so may the note that an ID was forgotten.
	Markers          uint64
	Segments, Sealed int
	// Counts since the store was opened.
	Counts Counts
	// Ages of the duplicates since the namespace was created.
	Ages Ages
	// Settings are those in force.
	Settings NamespaceOptions
}

// Status returns what the namespace knows of itself. It reads nothing from disk
// and never waits for a batch.
func (n *Namespace) Status() (Status, error) {
	if err := errors.Join(n.s.stopped(), n.there()); err != nil {
		return Status{}, err
	}
	return *n.status.Load(), nil
}

// publish makes the owner's view everybody's.
func (n *Namespace) publish() {
	n.status.Store(n.tell())
	n.show()
}

func (n *Namespace) tell() *Status {
	h := &n.head
	st := &Status{
		Position: h.pos, Clock: timeOf(h.reached().now), Timeline: h.timeline(false), Committed: h.committed,
		Coverage:   h.cov.public(),
		LastOffset: h.lastOffset, Fingerprint: h.fingerprint,
		Rewind: h.rewind, Forgets: h.forgets, Sequence: h.sequence, HasState: h.hasState,
		Note:    slices.Clone(h.note),
		Restore: h.restore.public(),
		Markers: h.sum.n, Counts: n.total.Counts, Ages: n.ages, Settings: n.opts,
	}
	for _, p := range n.pending {
		st.Pending += p.n
	}
	if x, ok := n.index.(*segments); ok {
		st.Segments = len(x.list)
		for _, g := range x.list {
			if g.table != nil && !g.shared {
				st.Sealed++
			}
		}
	}
	return st
}

// DiskBytes returns what the namespace takes in tables on disk, its state and
// outputs included. What is only in the log yet is not counted.
func (n *Namespace) DiskBytes() (uint64, error) {
	if err := n.s.enter(); err != nil {
		return 0, err
	}
	defer n.s.leave()
	var total uint64
	err := n.s.fault.read("measure a namespace", func() error {
		for _, kind := range slices.Concat(tableKinds, spaceKinds) {
			from := nsKey(kind, n.num)
			bytes, err := n.s.db.EstimateDiskUsage(from, after(from))
			if err != nil {
				return err
			}
			total += bytes
		}
		return nil
	})
	return total, errors.Join(err, n.there())
}

// Stats are figures of the store as a whole.
type Stats struct {
	// State of the store, as Store.State returns it.
	State State
	// Namespaces is how many there are.
	Namespaces int
	// MemoryBytes is what markers take of Options.Memory.
	MemoryBytes int64
	// FilterBytes is what filters take, and CacheBytes what cached blocks and
	// write buffers take, beside it.
	FilterBytes, CacheBytes int64
	// FiltersMadeAnew is how many filters were found to be damaged since the
	// store was opened, and were made anew from their tables.
	FiltersMadeAnew int64
	// DiskBytes is what the database takes on disk, its log included.
	DiskBytes uint64
}

// Stats returns figures of the store: once it has stopped, its state alone.
func (s *Store) Stats() Stats {
	if s.enter() != nil {
		return Stats{State: s.State()}
	}
	defer s.leave()
	s.mu.Lock()
	st := Stats{
		State: s.State(), Namespaces: len(s.names), FiltersMadeAnew: s.refilled.Load(),
		MemoryBytes: s.memory.Load(), FilterBytes: s.filters.Load(),
	}
	s.mu.Unlock()
	// Metrics of a database that fails meanwhile are no reason to fail.
	_ = guarded(func() error {
		m := s.db.Metrics()
		st.DiskBytes = m.DiskSpaceUsage()
		st.CacheBytes = m.BlockCache.Size + int64(m.MemTable.Size+m.MemTable.ZombieSize)
		return nil
	})
	return st
}

var _ pebble.Logger = (*fault)(nil)
