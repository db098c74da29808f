package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// A session is one member of the group from joining to its end. It is
// crash-only: whatever goes wrong with the member or the log ends it, its client
// is closed and commits nothing more, and the next session starts from what the
// store says.
//
// The loop has the partitions between a poll and the AllowRebalance after it;
// the callbacks of revoking and losing wait for that. Assigning does not wait,
// and gives the loop nothing before it is done.
type session struct {
	c      *Consumer
	cl     *kgo.Client
	admin  admin
	topics *outputTopics
	work   context.Context // outlives the end of Run's context, for the shutdown time
	until  offsets         // with UntilEnd

	ready chan struct{}      // closed when cl is set
	poll  context.Context    // ends when the session is to end
	wake  context.CancelFunc // of poll

	committed *kmsg.OffsetFetchResponse // what the coordinator said last; of the assigning goroutine

	progressed bool // something was decided
	closing    bool // the last commit is done

	mu     sync.Mutex // guards what is below
	member string     // the member ID that the partitions were assigned to
	parts  map[topicPartition]*partition
	boxes  map[topicPartition]*outbox // of all that the session has had
	owing  map[*partition]bool        // those with outputs pending
	had    bool                       // partitions were assigned
	source *kgo.Client                // reads logs beside the group; nil: not yet
	aside  bool                       // it is no member, and only reads: a standby

	restoring map[topicPartition]*restoration // not in parts
	restored  []*partition                    // to be taken into parts by the loop
	nudge     context.CancelFunc              // ends the poll that waits for records
	reason    error                           // why it is to end; errDone when all is well
	fenced    bool                            // nothing may be committed any more
}

// errDone ends a session and Run: the context has ended, or the end is reached.
var errDone = errors.New("done")

func newSession(work context.Context, c *Consumer, until offsets) *session {
	return &session{c: c, work: work, until: until,
		ready: make(chan struct{}), parts: make(map[topicPartition]*partition),
		boxes: make(map[topicPartition]*outbox), owing: make(map[*partition]bool),
		restoring: make(map[topicPartition]*restoration)}
}

// run joins the group and works until the session ends. It returns nil when Run
// is done, an *again when another session is to follow, or what ends Run.
func (s *session) run(ctx context.Context) error {
	s.poll, s.wake = context.WithCancel(ctx)
	s.topics = &outputTopics{limits: &s.c.limits}
	cl, err := kgo.NewClient(s.c.opts.clientOptions(s.c.st,
		kgo.ProducerBatchMaxBytesFn(s.topics.maxBatch),
		kgo.OnOffsetsFetched(s.onFetched),
		kgo.AdjustFetchOffsetsFn(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
	)...)
	if err != nil {
		s.wake()
		return fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	s.cl, s.admin = cl, admin{kadm.NewClient(cl)}
	s.topics.admin = s.admin
	close(s.ready)
	var watch sync.WaitGroup
	watch.Go(s.watchStore)
	s.loop(ctx)
	s.wake()
	watch.Wait()
	s.endRestores(nil)
	cl.CloseAllowingRebalance()
	s.forget()
	s.closeSource()
	if err := s.over(); !errors.Is(err, errDone) {
		return err
	}
	return nil
}

// watchStore ends the session when the store has stopped, which a partition
// that has no records would not notice. A full disk is no end: it is met by who
// has something to write.
func (s *session) watchStore() {
	for wait(s.poll, storeCheck) {
		if err := s.c.st.Err(); !errors.Is(err, store.ErrDiskFull) {
			s.take(err)
		}
	}
}

// storeCheck is how often a session asks whether the store runs.
const storeCheck = time.Second

// take ends the session when err is not nil. It reports whether it is.
func (s *session) take(err error) bool {
	if err != nil {
		s.end(err)
	}
	return err == nil
}

// end has the session end for this reason. What ends Run by an error counts
// before what another session follows on, and that before a plain end.
func (s *session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(reason)
}

func (s *session) endLocked(reason error) {
	done := errors.Is(reason, errDone)
	open := s.reason == nil || errors.Is(s.reason, errDone)
	switch {
	case isAgain(reason):
		s.fenced = true
		if open {
			s.reason = reason
		}
	case s.reason == nil, !done && (open || isAgain(s.reason)):
		s.reason = reason
	case !done:
		s.reason = errors.Join(s.reason, reason)
	}
	s.wake()
}

// over returns why the session is to end, nil when it is not.
func (s *session) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

func isAgain(err error) bool {
	var a *again
	return errors.As(err, &a)
}

// finish is the end of a session while no rebalance runs.
func (s *session) finish() {
	s.closing = true
	s.settle()
}

// settle commits every position, moved or not, since the group's offset may
// have been set back beside us; and tells the store what it does not know. A
// session that was fenced commits nothing.
func (s *session) settle() {
	parts := s.assigned()
	s.mu.Lock()
	fenced := s.fenced
	var died *crash
	crashed := errors.As(s.reason, &died)
	s.mu.Unlock()
	if crashed {
		return
	}
	if !fenced {
		s.take(s.commit(parts, true))
	}
	if s.c.st.Err() == nil {
		for _, p := range parts {
			s.take(p.flush())
		}
	}
}

// onRevoked runs when a rebalance takes the partitions, and when the client is
// closed. The loop waits.
func (s *session) onRevoked(context.Context, *kgo.Client, map[string][]int32) {
	if s.closing {
		return
	}
	s.settle()
	s.forget()
}

// forget lets go of all partitions.
func (s *session) forget() {
	s.endRestores(nil)
	for _, p := range s.assigned() {
		if p.paused != nil {
			s.unpause(p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.parts)
	clear(s.owing)
	s.c.standbys.giveBack()
	s.c.stats.partitions.Store(0)
}

// onLost runs when the group does not know the member any more, or could not
// be joined. The loop waits, and is told why by its next poll.
func (s *session) onLost(context.Context, *kgo.Client, map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced = true
}

// refetch has the rest of a poll that was not begun fetched again, from L.
func (s *session) refetch(p *partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{
		p.topic: {p.number: {Epoch: p.next.LeaderEpoch, Offset: p.next.Offset}},
	})
	p.fetch = p.next.Offset
}

// measure brings the numbers of the partitions up to date.
func (s *session) measure() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measureLocked()
}

func (s *session) measureLocked() {
	lag := int64(0)
	for _, p := range s.parts {
		lag += p.lag()
	}
	s.c.stats.partitions.Store(int64(len(s.parts)))
	s.c.stats.lag.Store(lag)
}
