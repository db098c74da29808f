package adapter

import (
	"errors"

	"github.com/firstseen/firstseen/store"
)

// Errors that the plan of a partition's start ends in (R11).
var (
	// ErrLogReplaced is returned when the log is not the one that the store or
	// the group knows, though it has the same topic ID (row 3).
	ErrLogReplaced = errors.New("adapter: the log was replaced")

	// ErrStateElsewhere is returned when the user state of a partition is not in
	// this store and cannot be made from the log (rows 5, 9, 10 and 12).
	ErrStateElsewhere = errors.New("adapter: the state of the partition is not in this store")

	// ErrOffsetsLost is returned when the group no longer has an offset that it
	// had acknowledged to this store (row 6).
	ErrOffsetsLost = errors.New("adapter: the group lost its committed offset")

	// ErrForeignOffset is returned when the group's offset was committed by an
	// operator or another client (row 7).
	ErrForeignOffset = errors.New("adapter: the group's offset was not committed by firstseen")

	// ErrCloned is returned when the offset was committed by this store under an
	// opening that the directory does not know: it is a backup or a clone (row 8).
	ErrCloned = errors.New("adapter: the store is a backup or a clone")

	// ErrGap is returned when the log starts above the first offset that is to
	// be read (the last row).
	ErrGap = errors.New("adapter: retention deleted records before they were read")
)

// Start is where a group begins that never had an offset in the topic.
type Start uint8

// The starts.
const (
	StartEarliest Start = iota // the log start, the default
	StartLatest                // the log end
	StartTime                  // the first record of Options.StartTime or later
)

// OnGap is what happens when retention deleted records before they were read.
type OnGap uint8

// The policies for a gap.
const (
	GapStop OnGap = iota // the partition stops with ErrGap, the default
	GapJump              // the gap is counted, and coverage is open
)

// OnForeignOffset is what happens when somebody else committed the group's offset.
type OnForeignOffset uint8

// The policies for a foreign offset.
const (
	ForeignFail   OnForeignOffset = iota // the partition stops with ErrForeignOffset, the default
	ForeignHonour                        // the partition goes where the offset says
	ForeignIgnore                        // the partition goes on where the store stands
)

// OnMissingOffset is what happens when the group lost an acknowledged offset.
type OnMissingOffset uint8

// The policies for a lost offset.
const (
	MissingOffsetStop   OnMissingOffset = iota // the partition stops with ErrOffsetsLost, the default
	MissingOffsetResume                        // the partition goes on where the store stands
)

// A committedOffset is an offset in Kafka with what was committed beside it. The zero
// value is none.
type committedOffset struct {
	Present bool
	Offset  int64  // the next one
	Epoch   int32  // leader epoch, -1 when none
	Tag     string // the metadata as it is
}

// An epochEnd is a broker's answer to where a leader epoch ended. The zero value
// is no answer.
type epochEnd struct {
	Known  bool
	Offset int64
}

// A seam is what stands now where the last record of the store stood.
type seam uint8

// The seams. Nothing at that offset is no evidence: compaction and control
// records do that.
const (
	seamNotAsked seam = iota
	seamSame
	seamOther
	seamNothing
)

// A localPosition is the position of a store in a partition. The zero value is none.
type localPosition struct {
	Present      bool
	TopicID      [16]byte
	Offset       int64           // L, the next one
	Epoch        int32           // leader epoch of the record before it, -1 when none
	Last         int64           // offset of the record remembered
	Seam         seam            // what stands at Last now
	Acknowledged committedOffset // K
	Rewind       uint64
	Restoring    int64 // the offset up to which it was being restored; 0: it was not
}

// resumeInputs are all that the start of a partition depends on (R11).
type resumeInputs struct {
	// Group, Topic and Partition are for errors and alarms. They decide nothing.
	Group     string
	Topic     string
	Partition int32

	TopicID   [16]byte        // of the topic as it is now; zero when brokers give none
	Local     localPosition   // L and K
	Committed committedOffset // G, of a stable read

	LocalEpochEnd, CommittedEpochEnd epochEnd // the broker's answers for the epochs of L and G

	LogStart, LogEnd int64
	Compacted        bool // the topic's clean-up policy
	ByOutput         bool // markers are restored from the relay's output, whatever the log still has
	EverPositioned   bool // the group or this store had a position in the topic's name before

	StoreID   [16]byte
	Ancestors [][16]byte                 // the stores that this one is an adopted backup of
	KnownOpen func(openID [16]byte) bool // the openings that the store remembers; nil knows none

	HasState      bool // the handler writes user state, or the namespace holds some
	StateWhole    bool // the state is that of all records below L
	Pure          bool // the handler may run again to make its state
	FreshState    bool // told to start without the state that is missing
	Transactional bool // outputs and offsets are committed in one transaction

	Start           Start
	TimeOffset      int64 // for StartTime: the first offset of a record of that time or later
	OnGap           OnGap
	OnForeignOffset OnForeignOffset
	OnMissingOffset OnMissingOffset
}

// A planAction is what a plan does before a partition flows.
type planAction uint8

// The actions. The zero planAction is none of them.
const (
	_                 planAction = iota
	actionStart                  // nothing: the partition flows from the plan's Offset
	actionRestore                // markers of Read are restored, without the handler
	actionRebuild                // the handler makes state and markers of Read, outputs dropped
	actionHandleAgain            // the handler runs again over Read, outputs dropped
	actionStop                   // the partition stops with Err
)

const (
	// lastRow is the row of a plan that the last row of R11 has changed.
	lastRow = 14
	// fromClock as Read.From: the reading begins at the time W before Clock.
	fromClock = -1
)

// A resumePlan says where a partition starts and what comes before. Of a plan that
// stops only Row, Action and Err are set. What is pending is sent before the
// partition flows.
type resumePlan struct {
	Row    int        // of R11, 3 to 13, or lastRow
	Action planAction // what comes first
	Offset int64      // where the partition flows from: the new L
	Epoch  int32      // leader epoch to fetch Offset with, -1 when none

	Read     offsetRange    // what the action reads
	Skips    []offsetRange  // what a policy skipped, inside Read or not: no markers, no handler
	Clock    int64          // the clock in G's tag, for fromClock; Unix milliseconds
	Timeline store.Timeline // beside it

	Lowered bool  // row 2: L and K become the lower of themselves and LowerTo, and
	LowerTo int64 // the last record, when it stands there or above, is forgotten

	Follow  bool        // K becomes G with its tag, in the next batch
	Rewind  uint64      // the position's rewind number from now on
	Skipped offsetRange // row 7: what honouring skips, for the tag
	Gap     offsetRange // the last row: what is jumped over

	Forget     bool  // row 12: markers with origins from ForgetFrom on are forgotten first,
	ForgetFrom int64 // and what is pending with them

	// Settled is the newest batch whose outputs are acknowledged, so not pending
	// any more. The store numbers its next batch above it.
	Settled uint64
	// Passed is the offset that another store reached: outputs of origins below
	// it are not pending any more. 0 when none did.
	Passed int64

	NoState       bool   // the handler may write none: the group came without
	EmptyState    bool   // the state starts empty, before the action
	StateBroken   bool   // the state is not whole any more
	OpensCoverage bool   // coverage is open from here on (R1)
	Lost          bool   // its reason: this store had the markers, and lost them
	Alarm         string // what the operator has to know; empty when nothing
	Err           error  // why the partition stops, and the way out

	where string
}

// planResume plans where a partition starts: the table of R11. Rows 1 and 2
// change the inputs and go on; of rows 3 to 13 the first that matches gives an
// offset, which the last row judges. It is a pure and total function.
func planResume(in resumeInputs) resumePlan {
	r := newResume(in)
	r.recreated()
	r.tailLoss()
	return r.judge(r.match())
}
