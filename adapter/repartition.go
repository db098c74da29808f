package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// A Repartition is a Consumer whose scope is all partitions of all its topics:
// copies of a message meet wherever they stand (D02, E14). It has two stages, each
// a Consumer with a group of its own, and a topic between them:
//
//	Options.Topics --> spread --> topic, N partitions --> meet --> Handler
//	                   Group      by the hash of the ID   Group + GroupSuffix
//
// The first stage drops nothing and decides nothing: it sends each record to the
// partition of its ID, in the mode that Options.Transactional says. The second one
// is an ordinary Consumer of that topic. See "More than one partition" on the
// package page.
//
// Its methods may be called from any goroutine.
type Repartition struct {
	topic       string
	partitions  int32
	id          Extractor
	opts        Options // as they were given
	hash        kgo.TopicPartitioner
	first, then *Consumer
}

// GroupSuffix is what the group of the second stage of a Repartition has behind
// Options.Group.
const GroupSuffix = "-repartitioned"

// NewRepartition returns a Repartition by way of a topic, of which it uses this
// many partitions. The topic exists when Run begins, has so many partitions, and
// holds nothing else. The number never changes, though the topic may grow: a store
// that knows it refuses another one, and ErrScattered tells of what a store cannot
// know.
//
// Options mean what they mean for New, and those that are about decisions and the
// handler are for the second stage. Start is for the first one; Standby names
// partitions of the topic between; Pinned is not for it. It starts nothing. The
// error names everything that is wrong.
func NewRepartition(st *store.Store, h Handler, opts *Options, topic string, partitions int32) (*Repartition, error) {
	var wrong error
	var outputs []string
	if h == nil {
		wrong = errors.New("adapter: the handler is nil; give one, or Forward")
	} else if to, ok := forwardTopic(h); ok {
		outputs = append(outputs, to)
	}
	r, err := newRepartition(st, opts.withDefaults(), topic, partitions, wrong, outputs...)
	if err == nil {
		r.then.handler = r.meet(h)
	}
	return r, err
}

// NewBatchRepartition returns a Repartition as NewRepartition does, with a handler of
// whole batches, see NewBatch: those of a partition of the topic between.
func NewBatchRepartition(
	st *store.Store, h BatchHandler, opts *Options, topic string, partitions int32,
) (*Repartition, error) {
	o := opts.withDefaults()
	r, err := newRepartition(st, o, topic, partitions, h.check(&o))
	if err == nil {
		r.then.batch = r.meetAll(h)
	}
	return r, err
}

// newRepartition returns a Repartition without a handler, or everything that is wrong.
func newRepartition(
	st *store.Store, o Options, topic string, partitions int32, handler error, outputs ...string,
) (*Repartition, error) {
	wrong := []error{handler}
	if topic == "" || partitions < 1 {
		wrong = append(wrong, fmt.Errorf("adapter: a repartition goes by way of topic %q with %d partitions; "+
			"name a topic, and give at least one partition", topic, partitions))
	}
	if o.pinned() {
		wrong = append(wrong, errors.New("adapter: Pinned is not for a Repartition, whose second stage has other "+
			"partitions; leave it out"))
		o.Pinned = nil
	}
	warm := o.Standby
	o.Standby = nil
	wrong = append(wrong, o.validate())
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	o.Standby = warm
	r := &Repartition{
		topic: topic, partitions: partitions, id: o.ID, opts: o,
		hash: kgo.StickyKeyPartitioner(nil).ForTopic(topic),
	}
	var errs [2]error
	r.first, errs[0] = newConsumer(st, r.spreads(), nil, topic)
	r.then, errs[1] = newConsumer(st, r.meets(), nil, outputs...)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	r.first.handler, r.first.ready = r.spread, r.ready
	return r, nil
}

// spreads are the options of the first stage. It has no markers: its window is the
// shortest there is, so that a restore reads next to nothing.
func (r *Repartition) spreads() Options {
	o := r.opts
	o.ID, o.MissingID = spreadID{r}, MissingIDAccept
	o.Window = window.Of(time.Millisecond)
	o.Unknown = store.UnknownPolicy{}
	o.Concurrency, o.DuplicatesTopic, o.Observe = 0, "", false
	o.FreshState, o.Pure, o.RestoreFrom, o.Standby, o.OnRestore = false, false, "", nil, nil
	return o
}

// meets are the options of the second stage.
func (r *Repartition) meets() Options {
	o := r.opts
	o.Group += GroupSuffix
	o.Topics, o.sources = []string{r.topic}, o.Topics
	o.ID = meetID{r.id}
	o.Start, o.StartTime = StartEarliest, time.Time{}
	return o
}

// Run runs both stages until ctx ends or one of them has to stop, as Consumer.Run
// does; with Options.UntilEnd the first one to the end of its topics, and then the
// second one to the end of what is between.
func (r *Repartition) Run(ctx context.Context) error {
	if r.opts.UntilEnd {
		if err := r.first.Run(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		return r.then.Run(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := make(chan error, 1)
	go func() {
		defer cancel()
		first <- r.first.Run(ctx)
	}()
	then := r.then.Run(ctx)
	cancel()
	return errors.Join(<-first, then)
}

// Stages returns the Consumer that spreads the records, and the one that handles
// them: for Paused, Resume, Leave and what else they say of themselves. Their Run is
// that of the Repartition.
func (r *Repartition) Stages() (spread, meet *Consumer) { return r.first, r.then }

// Stats returns the numbers of the second stage. Lag, DeadLetters, Skipped, Paused,
// Transactions, Failures and Sessions are those of both.
func (r *Repartition) Stats() Stats {
	first, s := r.first.Stats(), r.then.Stats()
	s.Lag += first.Lag
	s.DeadLetters += first.DeadLetters
	s.Records += first.DeadLetters
	s.Skipped += first.Skipped
	s.Paused += first.Paused
	s.Transactions += first.Transactions
	s.Failures += first.Failures
	s.Sessions += first.Sessions
	return s
}

// ready checks that the topic between has the partitions that are used.
func (r *Repartition) ready(ctx context.Context, a admin) error {
	known, err := (&outputTopics{&r.first.limits, a}).of(ctx, r.topic)
	switch {
	case err != nil:
		return err
	case known.partitions < r.partitions:
		return fmt.Errorf("%w: %q has %d partitions, and %d are used; add partitions to it",
			ErrUnknownTopic, r.topic, known.partitions, r.partitions)
	case known.partitions > r.partitions && !r.remembered():
		return fmt.Errorf("%w: %q has %d partitions, and %d would be used; use them all, or take a new topic between",
			ErrScattered, r.topic, known.partitions, r.partitions)
	}
	return nil
}

// remembered tells whether the store was used for these topics before: then it
// knows the number of partitions by the name of spreadID.
func (r *Repartition) remembered() bool {
	for name := range r.first.st.Namespaces() {
		for _, topic := range r.first.opts.Topics {
			if strings.HasPrefix(name, namespacePrefix(r.opts.Group, topic)) {
				return true
			}
		}
	}
	return false
}

// place returns the partition where an ID belongs: as Kafka's own clients choose
// it for a key, from a number of partitions that does not follow the topic's.
func (r *Repartition) place(id []byte) int32 {
	return int32(r.hash.Partition(&kgo.Record{Key: id}, int(r.partitions)))
}

// spread is the handler of the first stage.
func (r *Repartition) spread(_ context.Context, tx *Tx, rec *Record) error {
	var id []byte
	var missing string
	err := caught(func() error {
		id, missing = r.id.ID(rec.Record)
		return nil
	})
	to := rec.Partition % r.partitions
	switch {
	case err != nil && r.opts.OnFailure == FailureStop:
		return Stop(err) // an extractor is pure: another attempt is in vain
	case err != nil:
		return err
	case len(id) > 0:
		to = r.place(id)
	case r.opts.MissingID != MissingIDAccept:
		err := fmt.Errorf("%w: %s (extractor %s)", ErrMissingID, missing, r.id.Name())
		if r.opts.MissingID == MissingIDDeadLetter {
			return DeadLetter(err)
		}
		return Stop(err)
	}
	out, own := tx.asItIs(r.topic)
	if len(own) > 0 {
		// Its time lies too far ahead for Kafka. The next clock is to treat it
		// as a missing one, as the law does with times ahead (R1).
		out.Timestamp = time.UnixMilli(-1)
	}
	return tx.produce(out, func(int32) int32 { return to }, append(own, tx.originals()...)...)
}

// meet makes the handler of the second stage of the user's.
func (r *Repartition) meet(h Handler) Handler {
	return func(ctx context.Context, tx *Tx, rec *Record) error {
		if err := r.belongs(rec); err != nil {
			return Stop(err)
		}
		rec.Record = asItWas(rec.Record)
		return h(ctx, tx, rec)
	}
}

// meetAll is meet for a handler of whole batches.
func (r *Repartition) meetAll(h BatchHandler) BatchHandler {
	return func(ctx context.Context, tx *BatchTx, recs []*Record) error {
		for _, rec := range recs {
			if err := r.belongs(rec); err != nil {
				return Stop(fmt.Errorf("the record at %d: %w", rec.Offset, err))
			}
			rec.Record = asItWas(rec.Record)
		}
		return h(ctx, tx, recs)
	}
}

// belongs returns an error for a record that stands in another partition than that of
// its ID.
func (r *Repartition) belongs(rec *Record) error {
	if len(rec.ID) == 0 || rec.Partition == r.place(rec.ID) {
		return nil
	}
	return fmt.Errorf("%w: partition %d of %d is that of its ID; take a new topic between if the "+
		"number has changed, and write nothing else to it", ErrScattered, r.place(rec.ID), r.partitions)
}

// asItWas returns a record of the topic between with the headers and the time that
// it had before; its place is that in the topic between.
func asItWas(rec *kgo.Record) *kgo.Record {
	was := *rec
	was.Headers = make([]kgo.RecordHeader, 0, len(rec.Headers))
	for _, h := range rec.Headers {
		switch original, its := strings.CutPrefix(h.Key, HeaderOriginal); {
		case its:
			was.Headers = append(was.Headers, kgo.RecordHeader{Key: HeaderPrefix + original, Value: h.Value})
		case h.Key == HeaderTime:
			if ms, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				was.Timestamp = time.UnixMilli(ms)
			}
		case !strings.HasPrefix(h.Key, HeaderPrefix):
			was.Headers = append(was.Headers, h)
		}
	}
	return &was
}

// spreadID gives the first stage no IDs. Its name lets the store refuse another
// topic between, or another number of partitions: copies would not meet.
type spreadID struct{ r *Repartition }

func (x spreadID) Name() string {
	return fmt.Sprintf("repartition:%s:%d:%s", x.r.topic, x.r.partitions, x.r.id.Name())
}

func (spreadID) ID(*kgo.Record) (id []byte, missing string) { return nil, "it is not asked for" }

// meetID takes the ID out of a record as it was.
type meetID struct{ Extractor }

func (x meetID) ID(rec *kgo.Record) (id []byte, missing string) { return x.Extractor.ID(asItWas(rec)) }
