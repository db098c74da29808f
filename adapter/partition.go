package adapter

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A partition is one that the session has been assigned. While a poll is worked
// on, one goroutine at a time has it; between polls the callbacks may.
type partition struct {
	s      *session
	topic  string
	number int32
	log    store.ID // the topic's ID
	ns     *store.Namespace

	next  store.Position // L, as it is durable
	fetch int64          // where the next fetch begins: as the plan set it, or the last poll left it
	end   int64          // the end of the log, as far as is known

	batch   uint64        // the newest durable batch
	pending []*kgo.Record // staged up to batch, and not acknowledged; in order
	staged  uint64        // the newest batch that staged outputs
	sent    uint64        // up to this batch all outputs are acknowledged
	settled uint64        // up to this batch the store knows that

	committed store.Committed // what Kafka acknowledged last; Tag "" when nothing
	carried   uint64          // the sequence in its tag
	noted     bool            // the store knows it (K)

	stopped error // why the partition stopped, a *RecordError
}

// item is a record on its way through a batch.
type item struct {
	rec     *kgo.Record
	id      []byte
	missing string // why there is no ID
	err     error  // the extractor panicked
}

// decide takes the records of one poll through one local batch: replays are
// skipped, the others decided in offset order and handled, and L moves. When it
// returns nil the batch is durable. A record that fails stops the partition,
// with those before it kept; an end of Run or of the batch's time leaves the
// rest to a later fetch.
func (p *partition) decide(ctx context.Context, run context.Context, recs []*kgo.Record) error {
	if p.fetch > p.next.Offset {
		return &again{fmt.Errorf("%s/%d was fetched from %d, above the position %d",
			p.topic, p.number, p.fetch, p.next.Offset)}
	}
	p.fetch = recs[len(recs)-1].Offset + 1

	var (
		count  tally
		staged []*kgo.Record
		next   = p.next
		cut    bool
	)
	deadline, _ := ctx.Deadline()
	half := p.s.c.opts.BatchTimeout / 2
	err := p.ns.Update(func(b *store.Batch) error {
		items := p.extract(b.Position().Offset, recs, &count)
		prepare(b, items)
		p.note(b)
		var last *kgo.Record
		for i := range items {
			if cut = run.Err() != nil || time.Until(deadline) < half; cut {
				break
			}
			outputs, done, err := p.handle(ctx, run, b, &items[i], &count)
			if err != nil {
				return err
			}
			if !done {
				break
			}
			last = items[i].rec
			staged = append(staged, outputs...)
		}
		if last != nil {
			b.Remember(last.Offset, Fingerprint(last))
		}
		next = b.Position()
		return p.s.reached("handled")
	})
	if err != nil {
		return err
	}
	p.durable(next, staged)
	p.s.c.stats.add(count)
	if cut {
		p.s.refetch(p)
	}
	return p.s.reached("durable")
}

// extract takes the IDs of the records that are not replays.
func (p *partition) extract(from int64, recs []*kgo.Record, count *tally) []item {
	items := make([]item, 0, len(recs))
	for _, rec := range recs {
		if rec.Offset < from {
			count.replays++
			continue
		}
		it := item{rec: rec}
		it.err = caught(func() error {
			it.id, it.missing = p.s.c.opts.ID.ID(rec)
			return nil
		})
		items = append(items, it)
	}
	return items
}

func prepare(b *store.Batch, items []item) {
	ids := make([][]byte, len(items))
	for i := range items {
		ids[i] = items[i].id
	}
	b.Prepare(ids)
}

// note writes into the batch what Kafka has acknowledged since the last one.
func (p *partition) note(b *store.Batch) {
	if p.owesSettle() {
		b.Settle(p.sent)
	}
	if p.committed.Tag != "" && !p.noted {
		b.SetCommitted(p.committed)
	}
}

// owesSettle tells whether outputs are acknowledged that the store still holds.
func (p *partition) owesSettle() bool { return p.settled < p.staged && p.staged <= p.sent }

// durable takes over what a batch that is durable has changed.
func (p *partition) durable(next store.Position, staged []*kgo.Record) {
	if p.owesSettle() {
		p.settled = p.sent
	}
	p.noted = p.committed.Tag != ""
	p.next = next
	if status, err := p.ns.Status(); err == nil {
		p.batch = status.Sequence
	}
	if len(staged) > 0 {
		p.pending, p.staged = append(p.pending, staged...), p.batch
	}
	if len(p.pending) == 0 {
		p.sent = p.batch
	}
}

// handle decides one record and, when it is to be handled, calls the handler
// until it succeeds or the batch has run out of time (R7). When it is not done,
// p.stopped says why, unless Run is to end. The error is one that undoes the
// batch.
func (p *partition) handle(
	ctx, run context.Context, b *store.Batch, it *item, count *tally,
) (staged []*kgo.Record, done bool, err error) {
	if it.err == nil && len(it.id) == 0 && p.s.c.opts.MissingID == MissingIDStop {
		it.err = fmt.Errorf("%w: %s (extractor %s)", ErrMissingID, it.missing, p.s.c.opts.ID.Name())
	}
	if it.err != nil {
		p.stop(it.rec, it.err)
		return nil, false, nil
	}
	for failures := 0; ; failures++ {
		staged, failed, err := p.attempt(ctx, b, it, count)
		switch {
		case err != nil:
			return nil, false, err
		case failed == nil:
			return staged, true, nil
		}
		p.s.c.stats.failures.Add(1)
		pause := backOff(failures)
		deadline, _ := ctx.Deadline()
		if lasting(failed) || time.Until(deadline) < pause || !wait(run, pause) {
			if run.Err() == nil {
				p.stop(it.rec, failed)
			}
			return nil, false, nil
		}
	}
}

// attempt decides and handles a record once. failed is what its handler
// returned; err is what the store did.
func (p *partition) attempt(
	ctx context.Context, b *store.Batch, it *item, count *tally,
) (staged []*kgo.Record, failed, err error) {
	origin := store.Position{
		TopicID: p.log, Partition: p.number,
		Offset: it.rec.Offset, LeaderEpoch: it.rec.LeaderEpoch,
	}
	r := store.Record{ID: it.id, At: it.rec.Timestamp, Origin: origin}
	call := func(stx *store.Tx) error {
		rec := &Record{Record: it.rec, ID: it.id, Decision: stx.Decision(),
			group: p.s.c.opts.Group, origin: origin}
		tx := &Tx{Tx: stx, p: p, rec: rec}
		failed = caught(func() error { return p.s.c.handler(ctx, tx, rec) })
		staged = tx.staged
		return failed
	}
	var d store.Decision
	if len(it.id) == 0 {
		err = b.Pass(r, call)
	} else {
		d, err = b.Do(r, call)
	}
	if failed != nil {
		if broken := p.s.c.st.Err(); broken != nil {
			return nil, nil, broken
		}
		return nil, failed, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("adapter: %s/%d@%d: %w", p.topic, p.number, it.rec.Offset, err)
	}
	switch {
	case len(it.id) == 0:
		count.withoutID++
	case d.Verdict == store.New:
		count.fresh++
	case d.Verdict == store.Duplicate:
		count.duplicates++
	default:
		count.unknown++
	}
	return staged, nil, nil
}

func (p *partition) stop(rec *kgo.Record, err error) {
	p.stopped = &RecordError{Topic: p.topic, Partition: p.number, Offset: rec.Offset, Err: err}
}

// caught calls fn and returns its error, or its panic as a *PanicError.
func caught(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}

// flush tells the store, in a batch of its own, of outputs that are
// acknowledged, when the tag that Kafka has does not say it. Otherwise they
// would be sent again.
func (p *partition) flush() error {
	if !p.owesSettle() || p.carried >= p.staged {
		return nil
	}
	err := p.ns.Update(func(b *store.Batch) error {
		p.note(b)
		return nil
	})
	if err == nil {
		p.durable(p.next, nil)
	}
	return err
}

// lag returns how many offsets lie before the end of the log.
func (p *partition) lag() int64 { return max(0, p.end-p.next.Offset) }
