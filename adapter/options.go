package adapter

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// MissingID is what happens to a record that has no ID (R14).
type MissingID uint8

// The policies for a missing ID.
const (
	MissingIDStop       MissingID = iota // Run returns a RecordError, the default
	MissingIDAccept                      // the handler gets the record; it is not deduplicated
	MissingIDDeadLetter                  // it goes to Options.DeadLetterTopic, unhandled
	MissingIDContent                     // key and value are its ID: see Content, and what that costs
)

// Options of a Consumer. Brokers, Group, Topics and ID must be set.
type Options struct {
	// Balancer says how the group divides its partitions, and by which protocol.
	// All members need the same one. Defaults to BalancerRange.
	Balancer Balancer

	// BatchTimeout is how long the records of one poll may take, with all
	// retries (R7). When half of it is over, the records that are not begun
	// are left to the next poll, so that each has at least the other half. A
	// handler may hold up a rebalance as long. Defaults to 5 minutes.
	BatchTimeout time.Duration

	// Brokers are the addresses to begin with, host:port.
	Brokers []string

	// Client holds further settings of the Kafka client, such as TLS, SASL or
	// a session time-out. Those that the adapter sets itself are refused.
	// Hooks and mechanisms are used by one client after another, and with
	// Transactional by two at once.
	Client []kgo.Opt

	// Commit says when Kafka hears of the positions. Defaults to CommitPerPoll().
	Commit CommitStrategy

	// Concurrency is how many records of a partition may be handled at the same
	// time, for slow calls to other systems: those of one key, and copies of one
	// message, one after the other, in offset order; those without a key in any
	// order. Decisions are as ever. Such handlers have no state (ErrNoState). What is handled above a
	// record that is not done yet waits for it, in memory: if the process dies
	// first, its calls are repeated. Defaults to 1.
	Concurrency int

	// DeadLetterTopic receives records that failed under FailureDeadLetter, or
	// whose handler returned DeadLetter(err): as they are, with headers that say
	// where they stood and why, see HeaderError. They leave no marker. It exists
	// when Run begins, and is none of Topics. Empty: there is none.
	DeadLetterTopic string

	// DuplicatesTopic receives a copy of every duplicate, with headers that say
	// when and where it was first seen, see HeaderFirstSeen. It exists when Run
	// begins, and is none of Topics. Empty: there is none.
	DuplicatesTopic string

	// Dynamic makes the consumer a member without an instance ID: it leaves the
	// group when Run ends, and its partitions go to the others at once. By default
	// the instance ID is the store's identity, and the partitions wait for the
	// store to come back, as long as the session time-out; see Leave.
	Dynamic bool

	// FreshState lets a partition start with empty state when the group has an
	// offset and its state is not in this store (R11, rows 5, 10 and 12): the store
	// that committed is gone, or another program read the topic before. What the
	// records below would have left is then missing for good. Without it such a
	// start is ErrStateElsewhere.
	FreshState bool

	// Group is the consumer group.
	Group string

	// ID takes the ID out of a record. See Header, Key, JSONPointer, Content, Composite.
	ID Extractor

	// Logger receives what happens rarely and matters: a session that ends and
	// why, an alarm. Never an ID. Defaults to slog.Default().
	Logger *slog.Logger

	// MaxAttempts is how often the handler is called for a record that fails, in
	// a row, before OnFailure decides. Defaults to 10 under FailureDeadLetter,
	// and otherwise to as many as the batch's time allows.
	MaxAttempts int

	// MaxPending is how many outputs and dead letters of a partition may wait for
	// Kafka, when it does not acknowledge them: then the partition pauses until it
	// has. Those of one poll may exceed it. Defaults to 10,000; 64 MB of them are
	// as many.
	MaxPending int

	// MaxPollRecords bounds the records of one poll. Defaults to 500.
	MaxPollRecords int

	// MaxUncommitted is how many offsets of a partition may lie above what Kafka
	// knows, when it takes no commits: then the partition pauses until it does. They
	// are safe in the store; the bound is on what another instance would repeat.
	// Those of one poll may exceed it. Defaults to 100,000; -1 is no bound.
	MaxUncommitted int

	// MissingID is what happens to a record without an ID. Defaults to
	// MissingIDStop. With MissingIDContent one that has no content either stops.
	MissingID MissingID

	// Observe hands every record to the handler, duplicates, too: they are decided
	// and counted as ever, Record.Decision says Duplicate, and they leave no
	// marker. It shows what would be dropped before anything is.
	Observe bool

	// OnFailure is what happens to a record whose handler fails again and again, and
	// to a staged output that Kafka refuses for good after all: under
	// FailureDeadLetter that output goes to DeadLetterTopic, see HeaderRefused.
	// Defaults to FailureStop.
	OnFailure OnFailure

	// OnForeignOffset is what happens when an operator or another client moved the
	// group's offset (R11, row 7). Defaults to ForeignFail.
	OnForeignOffset OnForeignOffset

	// OnGap is what happens when retention deleted records before they were read
	// (R11, the last row). Defaults to GapStop.
	OnGap OnGap

	// OnMissingOffset is what happens when Kafka has lost an offset that it had
	// acknowledged (R11, row 6). Defaults to MissingOffsetStop.
	OnMissingOffset OnMissingOffset

	// OnRestore is called as the restore of a partition goes on: when it begins,
	// about once a second, and when it is done, see RestoreProgress. It is called
	// by the goroutine that restores, by several side by side, and holds it up.
	// Nil: nobody is told.
	OnRestore func(RestoreProgress)

	// Pinned assigns these partitions, by topic, to the consumer, without a group:
	// one instance a disk, and no rebalance ever. The group only keeps the offsets,
	// and has no members. When another instance commits for such a partition, Run
	// ends with ErrPinnedTwice: each of both may have handled what came since its
	// last commit. It is not for a Repartition. Empty: the partitions are assigned by
	// the group.
	Pinned map[string][]int32

	// Pure says that the state is a pure function of the records: the handler reads
	// and writes nothing but its Tx, and does the same whenever it gets the same
	// record. Then state follows a partition: where another store went on, the
	// handler runs once more over those records, or over all from offset 0 when
	// the log still has them, with its outputs dropped (R13).
	Pure bool

	// RestoreFrom is the topic that markers are restored from, when that is not the
	// one they came from: the topic of Forward, which holds what was accepted, with
	// the place and the time of each in headers. It needs no window of retention in
	// the input. Empty: the consumed topic itself.
	RestoreFrom string

	// ShutdownTimeout is how long the record in hand may go on once the context
	// of Run has ended. Then its handler's context ends, too; nothing of the
	// record remains, and those before it are committed. Defaults to 30 s.
	ShutdownTimeout time.Duration

	// Standby lists, by topic, the partitions that this instance keeps warm while
	// other members have them: it follows the group's offset, without the handler or,
	// if that is Pure, with it. A takeover then costs what came since. Topics are
	// among Topics. Empty: none.
	Standby map[string][]int32

	// Start is where a group begins that never had an offset in a topic.
	// Defaults to StartEarliest.
	Start Start

	// StartTime is the time of Start, when that is StartTime: at the first record
	// of it or later, as Kafka knows their times.
	StartTime time.Time

	// Topics are the topics to consume, by name. Those of Pinned need not be named.
	Topics []string

	// Transactional sends outputs and offsets in one Kafka transaction: readers with
	// the isolation level read_committed see each output exactly once, together with
	// the state (R12). See "Transactions" on the package page. Other readers see
	// those of aborted transactions as well. A transaction that takes longer than
	// TransactionTimeout, 60 s unless Client says otherwise, is aborted by Kafka;
	// it holds the outputs of MaxPending and of one poll at most, for each
	// partition. Where Kafka has access lists, the transactional ID needs WRITE: it
	// begins with "firstseen-", the group and "-".
	Transactional bool

	// Unknown is what happens to records of which the store cannot know whether a
	// copy was handled, for each reason (R4). DeadLetter needs a DeadLetterTopic;
	// there HeaderReason says why. Under Observe the handler gets them whatever
	// this says; those that are not accepted leave no marker, and count as
	// dropped. Defaults to accepting all of them: no message is lost.
	Unknown store.UnknownPolicy

	// UntilEnd makes Run return nil when every partition that this member holds
	// has reached the end that its log had, for a read_committed reader, when Run
	// began. It waits until it holds some; those of other members, and any that
	// nobody holds yet, are theirs who get them.
	UntilEnd bool

	// Window is how long a marker counts. Defaults to window.Day.
	Window window.Window

	sources []string // of a second stage: what the first one consumes
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.BatchTimeout = cmp.Or(c.BatchTimeout, 5*time.Minute)
	if c.OnFailure == FailureDeadLetter {
		c.MaxAttempts = cmp.Or(c.MaxAttempts, 10)
	}
	c.MaxPending = cmp.Or(c.MaxPending, 10_000)
	c.MaxPollRecords = cmp.Or(c.MaxPollRecords, 500)
	if c.Commit.kind == commitPerRecord {
		c.MaxPollRecords = 1
	}
	c.MaxUncommitted = cmp.Or(c.MaxUncommitted, 100_000)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, 30*time.Second)
	if c.Window.IsZero() {
		c.Window = window.Day
	}
	if c.MissingID == MissingIDContent && c.ID != nil {
		c.ID = orContent{c.ID}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Brokers, c.Topics = slices.Clone(c.Brokers), slices.Clone(c.Topics)
	if c.Pinned = clonePinned(c.Pinned); len(c.Topics) == 0 {
		c.Topics = slices.Collect(maps.Keys(c.Pinned))
	}
	c.Client = slices.Clone(c.Client)
	slices.Sort(c.Topics)
	return c
}

// validate returns everything that is wrong, at once.
func (o *Options) validate() error {
	var errs []error
	wrong := func(when bool, format string, args ...any) {
		if when {
			errs = append(errs, fmt.Errorf("adapter: "+format, args...))
		}
	}
	wrong(len(o.Brokers) == 0, "Brokers is empty; give at least one host:port")
	wrong(o.Group == "", "Group is empty; name the consumer group")
	wrong(len(o.Topics) == 0, "Topics is empty; name at least one topic")
	wrong(slices.Contains(o.Topics, ""), "Topics holds an empty name; leave it out")
	wrong(len(slices.Compact(slices.Clone(o.Topics))) < len(o.Topics),
		"Topics names a topic twice: %s; name it once", strings.Join(o.Topics, ", "))
	wrong(int(o.Balancer) >= len(balancers), "Balancer is %d; give one of the Balancer constants", o.Balancer)
	wrong(o.BatchTimeout < 0, "BatchTimeout is %v; give a positive duration, or 0 for 5m", o.BatchTimeout)
	wrong(o.Concurrency < 0, "Concurrency is %d; give a positive number, or 0 for one at a time", o.Concurrency)
	wrong(o.MaxPollRecords < 0, "MaxPollRecords is %d; give a positive number, or 0 for 500", o.MaxPollRecords)
	wrong(o.ShutdownTimeout < 0, "ShutdownTimeout is %v; give a positive duration, or 0 for 30s", o.ShutdownTimeout)
	wrong(o.MissingID > MissingIDContent,
		"MissingID is %d; give MissingIDStop, MissingIDAccept, MissingIDDeadLetter or MissingIDContent", o.MissingID)
	wrong(o.MaxAttempts < 0, "MaxAttempts is %d; give a positive number, or 0 for the default", o.MaxAttempts)
	wrong(o.MaxPending < 0, "MaxPending is %d; give a positive number, or 0 for 10,000", o.MaxPending)
	wrong(o.OnFailure > FailureDeadLetter,
		"OnFailure is %d; give FailureStop, FailurePause or FailureDeadLetter", o.OnFailure)
	wrong(o.DeadLetterTopic == "" && o.deadLetters(), "DeadLetterTopic is empty; name the topic for dead letters")
	wrong(o.OnGap > GapJump, "OnGap is %d; give GapStop or GapJump", o.OnGap)
	wrong(o.OnForeignOffset > ForeignIgnore,
		"OnForeignOffset is %d; give ForeignFail, ForeignHonour or ForeignIgnore", o.OnForeignOffset)
	wrong(o.OnMissingOffset > MissingOffsetResume,
		"OnMissingOffset is %d; give MissingOffsetStop or MissingOffsetResume", o.OnMissingOffset)
	for topic, numbers := range o.Standby {
		wrong(!slices.Contains(o.Topics, topic), "Standby names topic %q, which is none of Topics", topic)
		wrong(slices.ContainsFunc(numbers, func(n int32) bool { return n < 0 }),
			"Standby names a partition of %q below 0; give those that the topic has", topic)
	}
	wrong(o.Start > StartTime, "Start is %d; give StartEarliest, StartLatest or StartTime", o.Start)
	wrong((o.Start == StartTime) != !o.StartTime.IsZero(),
		"Start and StartTime go together; give StartTime and a time, or neither")
	wrong(o.Start == StartTime && !o.StartTime.IsZero() && o.StartTime.UnixMilli() < 0,
		"StartTime is %v; give a time from 1970 on", o.StartTime)
	for reason, action := range unknowns(o.Unknown) {
		wrong(action > store.Drop, "Unknown.%s is %d; give store.Accept, store.DeadLetter or store.Drop", reason, action)
	}
	wrong(o.MaxUncommitted < -1, "MaxUncommitted is %d; give a positive number, 0 for 100,000, or -1 for no bound",
		o.MaxUncommitted)
	wrong(o.Commit.kind == commitPerRecord && o.Concurrency > 1,
		"Concurrency is %d with CommitPerRecord, whose polls bring one record; leave one of them out", o.Concurrency)
	errs = append(errs, o.Commit.validate())
	errs = append(errs, o.checkPinned())
	errs = append(errs, checkExtractor(o.ID), o.Window.Validate())
	return errors.Join(errs...)
}
