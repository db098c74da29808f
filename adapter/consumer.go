package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A Handler handles one record that is New, or Unknown and accepted; under
// Options.Observe every record. When it
// returns nil, what it did to tx is kept together with the marker and the
// position, all or nothing; an error or a panic leaves nothing of the record,
// and it is called again (R7). Records of one partition come in offset order,
// one at a time, unless Options.Concurrency says otherwise; those of different
// partitions side by side.
//
// The context ends when the batch has run out of time, or when the shutdown
// has; a handler that does not return then is given up, see ErrHandlerHangs. tx
// and rec are valid until the handler returns.
type Handler func(ctx context.Context, tx *Tx, rec *Record) error

// A Record is a Kafka record as a Handler gets it.
type Record struct {
	*kgo.Record
	// ID is what the extractor took from it; nil when it has none and that is
	// accepted.
	ID []byte
	// Decision is why it is handled: New, or Unknown and the reason; under
	// Options.Observe also Duplicate. It is the zero Decision when there is no ID.
	Decision store.Decision

	group  string
	origin store.Position

	batch *BatchTx // of a BatchHandler
	tx    *Tx      // what it produces by in that call; nil when it has returned
}

// Token returns the idempotency token of the message for calls to other
// systems: the same for every copy of it, see [Token]. Without an ID it is the
// same for every attempt at this record only.
func (r *Record) Token() string {
	if len(r.ID) == 0 {
		return outputID(r.group, r.origin.TopicID, r.origin.Partition, r.origin.Offset, -1)
	}
	return Token(r.group, r.Topic, r.ID)
}

// A Consumer reads topics as a member of a group, and hands every message to
// its Handler once within the window. See the package page.
type Consumer struct {
	st      *store.Store
	handler Handler
	batch   BatchHandler // in the place of handler
	opts    Options
	stats   counters
	limits  limits
	pauses  pauses
	hangs   hangs
	session atomic.Pointer[session] // the one that runs; nil: none

	restoreStats restoreStats
	standbys     standbys
	restores     chan struct{} // a token for each partition that is restored

	// firstBatch is how many records the first batch of a partition may hold:
	// 1, and more in tests that count batches.
	firstBatch int

	// firstRead is how many bytes the first read of a restore asks for: fewer in
	// tests that cut it short.
	firstRead int32

	// ready is asked before a Run begins, of the first stage of a Repartition.
	ready func(context.Context, admin) error

	// step is called between the steps of the loop with the name of the one
	// that is done; an error ends the session there and then, as a crash does.
	// Nil but in tests.
	step func(done string) error
}

// New returns a Consumer that keeps its markers, positions and state in st. It
// starts nothing. The error names everything that is wrong with the options.
func New(st *store.Store, h Handler, opts *Options) (*Consumer, error) {
	var wrong error
	var outputs []string
	if h == nil {
		wrong = errors.New("adapter: the handler is nil; give one, or Forward")
	} else if topic, ok := forwardTopic(h); ok {
		outputs = append(outputs, topic)
	}
	c, err := newConsumer(st, opts.withDefaults(), wrong, outputs...)
	if err == nil {
		c.handler = h
	}
	return c, err
}

// newConsumer returns a Consumer without a handler, or everything that is wrong:
// what was found before, and with the options, or with the topics of outputs.
func newConsumer(st *store.Store, o Options, wrong error, outputs ...string) (*Consumer, error) {
	if st == nil {
		wrong = errors.Join(errors.New("adapter: the store is nil; open one by store.Open"), wrong)
	}
	if err := errors.Join(wrong, o.validate()); err != nil {
		return nil, err
	}
	var errs []error
	if o.RestoreFrom != "" && !slices.Contains(outputs, o.RestoreFrom) {
		errs = append(errs, fmt.Errorf("adapter: RestoreFrom is %q; give the topic of Forward, whose records say "+
			"what was accepted, or leave it empty", o.RestoreFrom))
	}
	for _, topic := range append(outputs, o.asideTopics()...) {
		errs = append(errs, o.checkLoop(topic))
	}
	if err := errors.Join(append(errs, o.checkClient(st))...); err != nil {
		return nil, err
	}
	c := &Consumer{st: st, opts: o, firstBatch: 1,
		restores: make(chan struct{}, restoresMost), firstRead: 8 * leastBytes}
	c.standbys.c = c
	return c, nil
}

// running are the Runs of this process: a use each.
var running sync.Map

type use struct {
	st    *store.Store
	group string
}

// Run consumes until ctx ends, a record or a partition has to stop, or the
// store fails. It returns nil when ctx ends: the record in hand is finished,
// its batch is durable, and the offsets are committed. Otherwise the error says
// what stopped it: a *RecordError, one of the errors of this package, or one of
// the store. Everything that Run started has ended when it returns, but for
// handlers that hang (ErrHandlerHangs), and it may be called again. It does not
// leave the group, unless the member is dynamic: a static member that comes back
// within the session time-out finds its partitions without a rebalance.
func (c *Consumer) Run(ctx context.Context) error {
	me := use{c.st, c.opts.Group}
	if _, used := running.LoadOrStore(me, c); used {
		return fmt.Errorf("%w: store %s, group %q; end that one first, or take another group",
			ErrInUse, c.st.ID(), c.opts.Group)
	}
	defer running.Delete(me)

	work, cancel := c.outlive(ctx)
	defer cancel()
	until, err := c.reach(ctx)
	if err == nil {
		defer c.standBy(ctx)()
	}
	for failures := 0; err == nil; {
		s := newSession(work, c, until)
		c.session.Store(s)
		err = s.run(ctx)
		c.session.Store(nil)
		var again *again
		if !errors.As(err, &again) {
			break
		}
		if s.progressed {
			failures = 0
		}
		pause := backOff(failures)
		failures++
		if ctx.Err() == nil {
			c.stats.sessions.Add(1)
			c.opts.Logger.Warn("session ended, a new one follows",
				"group", c.opts.Group, "reason", again.err, "after", pause)
		}
		err = nil
		if !wait(ctx, pause) {
			break
		}
		err = c.known(ctx)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return errors.Join(err, c.hangs.err())
}

// outlive returns a context for what goes on after ctx has ended, for
// ShutdownTimeout at most.
func (c *Consumer) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		select {
		case <-ctx.Done():
			wait(work, c.opts.ShutdownTimeout)
			cancel()
		case <-work.Done():
		}
	}()
	return work, func() { cancel(); <-joined }
}

// again ends a session for a reason that a new session may not meet: the
// member was fenced, a partition was lost, the log changed, a broker is away.
// A session that ends so commits nothing more.
type again struct{ err error }

func (a *again) Error() string { return a.err.Error() }
func (a *again) Unwrap() error { return a.err }

const (
	// startTimeout is how long Run waits for a broker to answer at its start, and
	// how long a topic may be missing while it runs.
	startTimeout = 30 * time.Second
	// topicPatience is how long a topic may be missing at the start: a broker may
	// not have heard yet of one that was just created.
	topicPatience = 5 * time.Second
)

// reach waits for the brokers and checks the topics. It returns where Run ends
// when it is to run until the end: the last stable offsets, or for a second stage the
// ends that the first one has left.
func (c *Consumer) reach(ctx context.Context) (until offsets, err error) {
	within, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = c.withAdmin(within, func(a admin) error {
		begun := time.Now()
		for failures := 0; ; failures++ {
			err := a.checkTopics(within, c.opts.allTopics())
			for _, topic := range c.opts.asideTopics() {
				if err == nil { // known before it is needed: it may be away by then
					_, err = (&outputTopics{&c.limits, a}).of(within, topic)
				}
			}
			if err == nil && c.ready != nil {
				err = c.ready(within, a)
			}
			if err == nil && c.opts.UntilEnd {
				ends := a.stableEnds
				if len(c.opts.sources) > 0 { // what the first stage has just committed
					ends = a.ends
				}
				until, err = ends(within, c.opts.Topics)
			}
			if err == nil || !passes(err) || errors.Is(err, ErrNoTopicID) {
				return err
			}
			if errors.Is(err, ErrUnknownTopic) && time.Since(begun) > topicPatience {
				return err // brokers answer, and that is their answer
			}
			if !wait(within, backOff(failures)) {
				return fmt.Errorf("%w at %s within %v: %w; "+
					"check the addresses, the settings of TLS and SASL, and that Kafka runs",
					ErrBrokersAway, strings.Join(c.opts.Brokers, ", "), startTimeout, err)
			}
		}
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return until, err
}

// known waits between two sessions until the brokers answer and the topics
// exist. A topic that was deleted has startTimeout to come back; brokers are
// waited for as long as it takes.
func (c *Consumer) known(ctx context.Context) error {
	return c.withAdmin(ctx, func(a admin) error {
		var missing time.Time
		for failures := 0; ; failures++ {
			err := a.checkTopics(ctx, c.opts.Topics)
			if err == nil {
				return nil
			}
			if errors.Is(err, ErrUnknownTopic) {
				if missing.IsZero() {
					missing = time.Now()
				}
				if time.Since(missing) > startTimeout {
					return err
				}
			} else if missing = (time.Time{}); !passes(err) {
				return err
			}
			if !wait(ctx, backOff(failures)) {
				return ctx.Err()
			}
		}
	})
}
