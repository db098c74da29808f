package store

import (
	"encoding/hex"
	"strconv"
	"time"
)

// ID names a store, one opening of a store, or a topic: 16 opaque bytes.
type ID [16]byte

// String returns the ID in hexadecimal.
func (i ID) String() string { return hex.EncodeToString(i[:]) }

// Position is a place in a log: where a record stands, or, as the position of a
// namespace, the next offset that it has not decided.
//
// The zero Position means that there is no log: such a record is never a
// replay and moves no position.
type Position struct {
	// TopicID is the identity of the log. A log without one of its own should
	// be given one, for example a digest of its name.
	TopicID ID
	// Partition of the topic.
	Partition int32
	// Offset in the partition.
	Offset int64
	// LeaderEpoch of the record's batch, -1 when it is not known.
	LeaderEpoch int32
}

// IsZero reports whether there is no log behind the position.
func (p Position) IsZero() bool { return p == Position{} }

// sameLog reports whether both are places in one log.
func (p Position) sameLog(q Position) bool {
	return p.TopicID == q.TopicID && p.Partition == q.Partition
}

// String returns topic ID, partition and offset.
func (p Position) String() string {
	b := hex.AppendEncode(make([]byte, 0, 64), p.TopicID[:])
	b = strconv.AppendInt(append(b, '/'), int64(p.Partition), 10)
	return string(strconv.AppendInt(append(b, '@'), p.Offset, 10))
}

// Record is what is decided: an ID, a time and a place in a log.
type Record struct {
	// ID names the message; never empty. It is not kept after the call.
	ID []byte
	// At is the record's own time, used in whole milliseconds. The zero Time
	// and any time up to 1970 mean that it is not known (R1).
	At time.Time
	// Origin is where the record stands. Zero: no log behind it.
	Origin Position
	// Redrives is where the record stands that this one repeats, when it is a dead
	// letter which is fed back (R7): an Unknown that the policy would dead-letter
	// is accepted, and a marker that a restore has made of the record itself does
	// not stand in its way. Leave At zero. Zero: it is none.
	Redrives Position
}

// Verdict says whether an ID was seen within the window.
type Verdict uint8

// The verdicts. The zero Verdict is none of them, so an unset Decision never
// says "process".
const (
	_         Verdict = iota
	New               // no copy was accepted within the window, and the store can vouch for it (R3)
	Duplicate         // a copy was accepted within the window (R2)
	Unknown           // the store cannot know; Decision.Reason says why (R4)
)

// String returns the verdict's name in lower case.
func (v Verdict) String() string {
	switch v {
	case New:
		return "new"
	case Duplicate:
		return "duplicate"
	case Unknown:
		return "unknown"
	default:
		return "none"
	}
}

// Reason says why a verdict is Unknown, or why coverage was raised.
type Reason uint8

// The reasons. The zero Reason is none.
const (
	_       Reason = iota
	Late           // the record is older than the window
	Clock          // a row of jumps stands, and the two clocks disagree (R1)
	Cold           // the store has not seen the whole window
	Evicted        // markers of the window were given up
	Lost           // markers of the window were lost
)

// String returns the reason's name in lower case, "" for the zero Reason.
func (r Reason) String() string {
	switch r {
	case Late:
		return "late"
	case Clock:
		return "clock"
	case Cold:
		return "cold"
	case Evicted:
		return "evicted"
	case Lost:
		return "lost"
	default:
		return ""
	}
}

// Decision is the answer for one record: a pure function of the log, and of the
// settings in force and the Advances at their places in it.
type Decision struct {
	// Verdict is New, Duplicate or Unknown; zero when nothing was decided.
	Verdict Verdict
	// Reason of an Unknown; zero otherwise.
	Reason Reason
	// Action is what the namespace's policy asks for an Unknown; zero otherwise.
	Action Action
	// First is when the accepted copy of a Duplicate was first seen, by the
	// namespace's clock. Zero for other verdicts.
	First time.Time
	// Origin is where the accepted copy of a Duplicate stands. Zero for other
	// verdicts, and for copies without a log behind them.
	Origin Position
	// Coverage is what the namespace could vouch for when it decided, the
	// record's own time included.
	Coverage Coverage
}

// Committed is K: the last offset of the namespace's log that the outside (a
// Kafka group) acknowledged to this store, with the tag it went with.
type Committed struct {
	// Offset is the next offset, as committed.
	Offset int64
	// LeaderEpoch it was committed with, -1 when none.
	LeaderEpoch int32
	// Tag is the metadata of the commit.
	Tag string
}

// Output is a staged output that is still pending.
type Output struct {
	// Origin is the record that produced it.
	Origin Position
	// Sequence of the batch that staged it; Batch.Settle counts in these.
	Sequence uint64
	// Index among the outputs of its record, from 0.
	Index int
	// Data is what was staged. The caller's own copy.
	Data []byte
}

// millis returns t in Unix milliseconds, 0 for a time that is not known.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
