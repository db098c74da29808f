package adapter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
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
	in     resumeInputs // of its plan
	kept   note         // what is kept with the position

	next  store.Position // L, as it is durable
	at    atomic.Int64   // its offset, for who looks from beside
	fetch int64          // where the next fetch begins: as the plan set it, or the last poll left it
	end   int64          // the end of the log, as far as is known

	batch   uint64  // the newest durable batch
	out     *outbox // staged up to batch, and not acknowledged
	staged  uint64  // the newest batch that staged outputs
	sent    uint64  // up to this batch all outputs are acknowledged
	settled uint64  // up to this batch the store knows that

	tries tries // of transactions with these outputs

	known     int64           // the offset that Kafka had at the start
	committed store.Committed // what Kafka acknowledged last; Tag "" when nothing
	carried   uint64          // the sequence in its tag
	noted     bool            // the store knows it (K)
	unsure    bool            // K in the store is not of a commit of ours

	batchState atomic.Int32 // what is to become of the batch that is being made

	repeating bool       // records are handled again, their outputs dropped (R13; R11, row 9)
	source    *reader    // of the log beside the group, while it is read before the partition flows
	outputs   *outputLog // the relay's output, where that is read instead; nil: it is not
	progress  *progress  // of that; nil: none

	doubt int64             // records handled together failed, the last of them below this offset; 0: none did
	ahead map[int64]*course // of records above L, by offset: they are handled, and wait for those before them

	grown int   // how many records the next batch may hold
	stamp stamp // of the newest record that has a time

	stopped error // why the session is to end, a *RecordError or an *again
	failed  error // why the partition is to pause, a *RecordError
	paused  error // why it is paused; nil: it flows
}

// item is a record on its way through a batch.
type item struct {
	rec     *kgo.Record
	id      []byte
	missing string // why there is no ID
	err     error  // the extractor panicked
}

// decide takes the records of one poll through local batches: replays are
// skipped, the others decided in offset order and handled, and L moves. When it
// returns nil the batches are durable. A record that fails stops or pauses the
// partition, with those before it kept; an end of Run, of the batch's time or of
// the room for outputs leaves the rest to a later fetch.
//
// The first batch of a partition is a single record, and each one twice as large
// as the one before. So a process that a record kills, again and again, comes
// nearer to it each time, until only that record is handled again (A11).
func (p *partition) decide(ctx context.Context, run context.Context, recs []*kgo.Record) error {
	if p.fetch > p.next.Offset {
		return &again{fmt.Errorf("%s/%d was fetched from %d, above the position %d",
			p.topic, p.number, p.fetch, p.next.Offset)}
	}
	p.fetch = recs[len(recs)-1].Offset + 1
	p.watchStamps(recs)
	for whole := true; whole && len(recs) > 0; {
		var err error
		if whole, err = p.decideBatch(ctx, run, recs[:p.portion(recs)]); err != nil {
			return err
		}
		recs = recs[len(below(recs, p.next.Offset)):]
		p.grown = min(2*p.grown, p.s.c.opts.MaxPollRecords)
	}
	return nil
}

// portion returns how many of these records the next batch takes.
func (p *partition) portion(recs []*kgo.Record) int {
	n := min(len(recs), p.grown)
	if below := len(below(recs, p.doubt)); below > 0 {
		n = min(n, max(1, below/2))
	}
	return n
}

// decideBatch takes records through one local batch. It returns false when no
// other one is to follow now.
func (p *partition) decideBatch(ctx, run context.Context, recs []*kgo.Record) (whole bool, err error) {
	w := &work{p: p, ctx: ctx, run: run}
	next, kept := p.next, p.kept
	p.beginBatch()
	err = p.ns.Update(func(b *store.Batch) error {
		w.b = b
		items := p.extract(b.Position().Offset, recs, &w.count)
		prepare(b, items)
		p.tell(b)
		if err := w.do(items); err != nil {
			return err
		}
		if w.last != nil {
			b.Remember(w.last.Offset, fingerprint(w.last))
			var err error
			if kept, err = p.keepStamp(b, w.last); err != nil {
				return err
			}
		}
		next = b.Position()
		return errors.Join(p.mayCommit(), p.s.reached("handled"))
	})
	if err != nil {
		return false, later(err)
	}
	p.kept = kept
	p.durable(next, w.staged)
	p.s.c.stats.add(w.count)
	if (w.cut || run.Err() != nil) && !p.repeating {
		p.s.refetch(p)
	}
	return !w.cut && p.stopped == nil && p.failed == nil && run.Err() == nil, p.s.reached("durable")
}

// full tells whether the outputs that wait for Kafka, with some more, have
// reached their bound.
func (p *partition) full(more int) bool {
	n, bytes := p.out.size()
	return n > 0 && n+more >= p.s.c.opts.MaxPending || bytes >= maxPendingBytes
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

// tell writes into the batch what Kafka has acknowledged since the last one.
func (p *partition) tell(b *store.Batch) {
	if p.owesSettle() {
		b.Settle(p.sent)
	}
	if p.committed.Tag != "" && !p.noted {
		b.SetCommitted(p.committed)
	}
}

// owesSettle tells whether outputs are acknowledged that the store still holds.
func (p *partition) owesSettle() bool { return p.settled < min(p.staged, p.sent) }

// durable takes over what a batch that is durable has changed.
func (p *partition) durable(next store.Position, staged []*output) {
	if p.owesSettle() {
		p.settled = p.sent
	}
	p.noted = p.committed.Tag != ""
	p.unsure = p.unsure && !p.noted
	p.next = next
	p.at.Store(next.Offset)
	if status, err := p.ns.Status(); err == nil {
		p.batch = status.Sequence
	}
	if len(staged) > 0 {
		p.staged = p.batch
		p.out.add(staged)
	}
	p.sent = max(p.sent, p.out.settled(p.batch))
}

// attempt decides a record once, and has do done for it if it is to be handled.
// failure is what that returned; err is what the store did.
func (p *partition) attempt(
	b *store.Batch, it *item, count *tally, do func(*Tx) error,
) (staged []*kgo.Record, failure, err error) {
	r := p.recordOf(it)
	call := func(stx *store.Tx) error {
		tx := p.tx(stx, it)
		failure = caught(func() error { return do(tx) })
		staged = tx.staged
		return failure
	}
	var d store.Decision
	switch {
	case len(it.id) == 0:
		err = b.Pass(r, call)
	case p.s.c.opts.seesDuplicates():
		d, err = b.Observe(r, call)
	default:
		d, err = b.Do(r, call)
	}
	if failure != nil {
		if broken := p.s.c.st.Err(); broken != nil {
			return nil, nil, broken
		}
		return nil, failure, nil
	}
	if err != nil {
		return nil, nil, p.storeError(it, err)
	}
	switch {
	case len(it.id) == 0:
		count.withoutID++
	case d.Verdict == store.New:
		count.fresh++
	case d.Verdict == store.Duplicate:
		count.duplicates++
	case d.Action == store.Drop:
		count.dropped++
	case d.Action == store.DeadLetter:
		count.deadLetters++
	default:
		count.unknown++
	}
	return staged, nil, nil
}

// recordOf is the record as the store decides it. One that is redriven has no
// time of its own (R7).
func (p *partition) recordOf(it *item) store.Record {
	r := store.Record{ID: it.id, At: it.rec.Timestamp, Redrives: redriven(it.rec), Origin: store.Position{
		TopicID: p.log, Partition: p.number,
		Offset: it.rec.Offset, LeaderEpoch: it.rec.LeaderEpoch,
	}}
	if !r.Redrives.IsZero() {
		r.At = time.Time{}
	}
	return r
}

// tx is what a handler gets for a record.
func (p *partition) tx(stx *store.Tx, it *item) *Tx {
	return &Tx{Tx: stx, p: p, rec: &Record{
		Record: it.rec, ID: it.id, Decision: stx.Decision(),
		group: p.s.c.opts.Group, origin: p.recordOf(it).Origin,
	}}
}

func (p *partition) storeError(it *item, err error) error {
	return fmt.Errorf("adapter: %s/%d@%d: %w", p.topic, p.number, it.rec.Offset, err)
}

func (p *partition) recordError(rec *kgo.Record, err error) error {
	return &RecordError{Topic: p.topic, Partition: p.number, Offset: rec.Offset, Err: err}
}

func (p *partition) stop(rec *kgo.Record, err error) { p.stopped = p.recordError(rec, err) }

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
// acknowledged, when the tag that Kafka has does not say it: otherwise they
// would be sent again. And of the first offset that Kafka acknowledged after one
// that we only followed: otherwise an operator who sets the group there once
// more would not be told from before.
func (p *partition) flush() error {
	owes := p.owesSettle() && p.carried < p.staged
	if !owes && !p.owesK() {
		return nil
	}
	err := p.ns.Update(func(b *store.Batch) error {
		p.tell(b)
		return nil
	})
	if err == nil {
		p.durable(p.next, nil)
	}
	return later(err)
}

func (p *partition) owesK() bool { return p.unsure && p.committed.Tag != "" && !p.noted }

// lag returns how many offsets lie before the end of the log.
func (p *partition) lag() int64 { return max(0, p.end-p.next.Offset) }
