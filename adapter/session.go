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
	txn    *transactions   // nil without Options.Transactional
	work   context.Context // outlives the end of Run's context, for the shutdown time
	until  offsets         // with UntilEnd

	ready chan struct{}      // closed when cl is set
	poll  context.Context    // ends when the session is to end
	wake  context.CancelFunc // of poll

	committed *kmsg.OffsetFetchResponse // what the coordinator said last; of the assigning goroutine
	awaited   awaited

	commits    commits
	progressed bool // something was decided
	closing    bool // the last commit is done
	lost       bool // the loop has seen that the member was lost

	membership membership
	leaders    map[topicPartition]int32 // of pinned partitions, before the client consumes
	aside      bool                     // it is no member, and only reads: a standby

	mu       sync.Mutex // guards what is below
	member   string     // the member ID that the partitions were assigned to
	parts    map[topicPartition]*partition
	boxes    map[topicPartition]*outbox // of all that the session has had
	owing    map[*partition]bool        // those with outputs pending
	had      bool                       // partitions were assigned
	cut      context.CancelFunc         // has the loop give way to a rebalance
	hung     error                      // a handler hangs: why another session follows
	standing map[topicPartition]bool    // assigned, and a handler hangs
	source   *kgo.Client                // reads logs beside the group; nil: not yet

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
		standing: make(map[topicPartition]bool), leaders: make(map[topicPartition]int32),
		restoring: make(map[topicPartition]*restoration)}
}

// run joins the group and works until the session ends. It returns nil when Run
// is done, an *again when another session is to follow, or what ends Run.
func (s *session) run(ctx context.Context) error {
	s.poll, s.wake = context.WithCancel(ctx)
	s.topics = &outputTopics{limits: &s.c.limits}
	if err := s.beginTransactions(ctx); err != nil {
		s.wake()
		return err
	}
	defer s.txn.close()
	s.release(s.poll)
	cl, err := kgo.NewClient(s.c.opts.clientOptions(s.c.st, s.callbacks()...)...)
	if err != nil {
		s.wake()
		return fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	s.cl, s.admin = cl, admin{kadm.NewClient(cl)}
	s.topics.admin = s.admin
	close(s.ready)
	var watch sync.WaitGroup
	watch.Go(s.watchStore)
	watch.Go(s.watchHangs)
	watch.Go(s.watchJoin)
	watch.Go(s.watchUnstable)
	watch.Go(s.watchWithheld)
	if s.c.opts.pinned() {
		s.pin()
	}
	s.loop(ctx)
	s.wake()
	watch.Wait()
	s.endRestores(nil)
	cl.CloseAllowingRebalance()
	s.endRestores(nil) // those that an assignment began meanwhile
	s.forget(s.assigned())
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
	s.settle(s.assigned())
}

// settle commits the positions of these partitions, moved or not, since the
// group's offset may have been set back beside us; and tells the store what it
// does not know. A session that was fenced commits nothing.
func (s *session) settle(parts []*partition) {
	s.take(s.land(true))
	s.mu.Lock()
	fenced := s.fenced
	var died *crash
	crashed := errors.As(s.reason, &died)
	s.mu.Unlock()
	if crashed {
		return
	}
	if !fenced {
		s.take(s.commitFinally(parts))
	}
	if s.c.st.Err() == nil {
		for _, p := range parts {
			s.take(p.flush())
		}
	}
}

// onRevoked runs when a rebalance takes partitions, and when the client is closed.
// The loop waits. An eager rebalance takes all; others take those that move, and
// what stays flows on.
func (s *session) onRevoked(_ context.Context, _ *kgo.Client, revoked map[string][]int32) {
	if s.closing {
		return
	}
	if len(revoked) == 0 && !s.membership.server.Load() {
		s.membership.joining.Store(true) // a cooperative member joins again, with what it keeps
	}
	s.cutRestores(revoked)
	parts := s.named(revoked)
	s.settle(parts)
	s.forget(parts)
}

// named returns those of these partitions that the session has.
func (s *session) named(partitions map[string][]int32) (parts []*partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, numbers := range partitions {
		for _, number := range numbers {
			of := topicPartition{topic, number}
			delete(s.standing, of)
			if p := s.parts[of]; p != nil {
				parts = append(parts, p)
			}
		}
	}
	return parts
}

// forget lets go of partitions.
func (s *session) forget(parts []*partition) {
	for _, p := range parts {
		if p.paused != nil {
			s.unpause(p)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		of := topicPartition{p.topic, p.number}
		delete(s.parts, of)
		delete(s.owing, p)
		s.c.standbys.giveBack(of)
	}
	if s.closing { // how far it came stays to be seen
		s.c.stats.partitions.Store(int64(len(s.parts)))
	} else {
		s.measureLocked()
	}
}

// onLost runs when the group does not know the member any more, or could not
// be joined. The loop waits, and is told why by its next poll; by KIP-848 it is
// only woken.
func (s *session) onLost(context.Context, *kgo.Client, map[string][]int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced = true
	if s.nudge != nil {
		s.nudge()
	}
}

// callbacks are the settings by which the client and the session meet.
func (s *session) callbacks() []kgo.Opt {
	opts := []kgo.Opt{kgo.ProducerBatchMaxBytesFn(s.topics.maxBatch)}
	if s.c.opts.pinned() {
		return opts
	}
	return append(opts,
		kgo.WithHooks(&s.membership),
		kgo.OnPartitionsAssigned(s.onGiven),
		kgo.OnOffsetsFetched(s.onFetched),
		kgo.AdjustFetchOffsetsFn(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
		kgo.OnPartitionsCallbackBlocked(s.onBlocked),
	)
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
