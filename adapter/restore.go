package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// ErrRestoring is why a partition is paused whose markers, or state, are being
// read back from the log; it goes on by itself when they are.
var ErrRestoring = errors.New("adapter: the partition is being restored")

// restoreBatch is how many records of a restore make a batch of the store.
const restoreBatch = 5000

// opening is how a plan begins: what is durable before its reading.
type opening struct {
	plan    resumePlan     // with the position at which the reading begins
	restore *store.Restore // nil: none is begun
	since   time.Time      // coverage opens at this clock, or a later one
}

// reads tells whether a plan reads records before the partition flows.
func (p resumePlan) reads() bool { return p.Action != actionStart && p.Action != actionStop }

// opening returns how the plan begins. A reading begins at the offset of its
// range; K follows when it is done.
func (p *partition) opening(ctx context.Context, plan resumePlan) (opening, error) {
	o := opening{plan: plan, since: p.heard()}
	if !plan.reads() {
		return o, nil
	}
	first := &o.plan
	first.Offset, first.Epoch, first.Follow = plan.Read.From, p.in.Local.Epoch, false
	if plan.Gap != (offsetRange{}) || plan.EmptyState || plan.Read.From == fromClock {
		first.Epoch = -1
	}
	if plan.Action == actionHandleAgain {
		return o, nil
	}
	o.since = time.Time{}
	o.restore = &store.Restore{To: plan.Read.To}
	if plan.Clock > 0 {
		o.restore.Until = time.UnixMilli(plan.Clock)
	}
	if plan.Action == actionRestore && p.s.c.opts.RestoreFrom != "" {
		err := p.openAtOutput(ctx, plan, p.edge(plan), &o)
		return o, err
	}
	switch {
	case plan.Action == actionRebuild && plan.EmptyState:
		o.restore.Anew = p.oneLog()
	case plan.Read.From == fromClock || p.byOutput():
		err := p.openAtClock(ctx, plan, &o)
		return o, err
	case plan.Forget:
		first.Epoch = p.in.Local.Acknowledged.Epoch
		if tag, ours, err := decodeTag(p.in.Local.Acknowledged.Tag); ours && err == nil && tag.Clock > 0 {
			o.restore.From = time.UnixMilli(tag.Clock)
		}
	}
	return o, nil
}

// begin begins the restore, or ends the one that was cut short.
func (o *opening) begin(b *store.Batch) error {
	if o.restore == nil {
		return b.EndRestore()
	}
	return b.BeginRestore(*o.restore)
}

// oneLog tells whether the namespace knows nothing of an earlier log.
func (p *partition) oneLog() bool {
	return !p.in.Local.Present || p.in.Local.TopicID == p.in.TopicID
}

// byOutput tells whether a restore was cut short that read the relay's output: the
// markers that it has entered are not those up to the position.
func (p *partition) byOutput() bool {
	status, err := p.ns.Status()
	return err == nil && status.Restore != nil && !status.Restore.Source.IsZero()
}

// edge returns the edge of the window at G, 0 when there is none.
func (p *partition) edge(plan resumePlan) int64 {
	w := p.s.c.opts.Window
	if w.IsForever() || plan.Clock <= 0 {
		return 0
	}
	return max(0, w.Edge(plan.Clock))
}

// openAtClock begins a restore from nothing: at the first record of the time W
// before the clock of G (R13). Where that is the beginning of the log, all of it
// is read as it was read the first time.
func (p *partition) openAtClock(ctx context.Context, plan resumePlan, o *opening) error {
	edge := p.edge(plan)
	at := p.in.LogStart
	if edge > 0 {
		found, err := p.source.offsetAt(ctx, edge)
		if err != nil {
			return err
		}
		at = max(at, found)
	}
	at = min(at, plan.Read.To)
	o.plan.Offset = at
	if at == 0 {
		o.restore.Anew = p.oneLog()
		return nil
	}
	o.plan.OpensCoverage = true
	if edge > 0 {
		o.since = time.UnixMilli(edge)
	}
	if plan.Clock > 0 {
		o.restore.From = time.UnixMilli(max(edge, 1))
	}
	return nil
}

// offsetAt returns the offset of the first record of a time or later.
func (r *reader) offsetAt(ctx context.Context, ms int64) (int64, error) {
	found, err := listed(kadm.NewClient(r.cl).ListOffsetsAfterMilli(ctx, ms, r.topic))
	if err != nil {
		return 0, unanswered("offsets of a time", err)
	}
	return found[r.topic][r.number], nil
}

// restore enters the markers of the plan's Read, from the position on. Each batch is
// durable with its position, so that it can be cut short anywhere.
func (p *partition) restore(ctx context.Context, plan resumePlan) error {
	if p.outputs != nil {
		return p.restoreOutputs(ctx)
	}
	skips := plan.Skips
	if !plan.Follow { // the tag is gone: the store kept them when it began
		skips = p.kept.ranges()
	}
	return p.enterAll(ctx, p.source, offsetRange{p.next.Offset, plan.Read.To}, skips, func(c chunk) error {
		if err := p.enter(c, plan); err != nil {
			return err
		}
		p.progress.add(p.next.Offset, len(c.recs), c.bytes)
		return nil
	})
}

// enterAll hands enter what each read of a range brings, while the next one is on
// its way.
func (p *partition) enterAll(
	ctx context.Context, r *reader, of offsetRange, skips []offsetRange, enter func(chunk) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks := r.ahead(ctx, of.From, of.To, skips)
	defer func() {
		cancel()
		for range chunks {
		}
	}()
	for c := range chunks {
		if c.err != nil {
			return c.err
		}
		if err := enter(c); err != nil {
			return err
		}
		if err := p.s.reached("restored"); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// enter makes durable what a read brought.
func (p *partition) enter(c chunk, plan resumePlan) error {
	for first := true; first || len(c.recs) > 0; first = false {
		n := min(len(c.recs), restoreBatch)
		recs, next := c.recs[:n], c.next
		if c.recs = c.recs[n:]; len(c.recs) > 0 {
			next = c.recs[0].Offset
		}
		if err := p.enterBatch(recs, next, c.hole, plan); err != nil {
			return err
		}
	}
	return nil
}

func (p *partition) enterBatch(recs []*kgo.Record, next int64, hole bool, plan resumePlan) error {
	p.watchStamps(recs)
	at, kept := p.next, p.kept
	err := p.ns.Update(func(b *store.Batch) error {
		p.tell(b)
		if hole {
			if err := b.OpenCoverage(reasonOf(plan), time.Time{}); err != nil {
				return err
			}
		}
		items := p.extract(b.Position().Offset, recs, &tally{})
		prepare(b, items)
		for i := range items {
			if err := p.enterRecord(b, &items[i], plan); err != nil {
				return err
			}
		}
		if n := len(items); n > 0 {
			last := items[n-1].rec
			b.Remember(last.Offset, fingerprint(last))
			var err error
			if kept, err = p.keepStamp(b, last); err != nil {
				return err
			}
		}
		at = b.Position()
		at.Offset = max(at.Offset, next)
		return b.SetPosition(at)
	})
	if err != nil {
		return later(fmt.Errorf("adapter: restore of %s/%d: %w", p.topic, p.number, err))
	}
	p.kept = kept
	p.durable(at, nil)
	return nil
}

// enterRecord enters one record. One that has no ID, or whose ID cannot be taken,
// left no marker.
func (p *partition) enterRecord(b *store.Batch, it *item, plan resumePlan) error {
	if plan.Epoch >= 0 && it.rec.LeaderEpoch > plan.Epoch {
		return &again{fmt.Errorf("%s/%d: the record at %d is of leader epoch %d, the group's offset %d of epoch %d: "+
			"the log has changed", p.topic, p.number, it.rec.Offset, it.rec.LeaderEpoch, plan.Offset, plan.Epoch)}
	}
	r := p.recordOf(it)
	if len(it.id) == 0 || it.err != nil {
		return b.Pass(r, nil)
	}
	_, err := b.Restore(r)
	return err
}

// follow ends a start at which records were read: the position is G, and K
// becomes G.
func (p *partition) follow(plan resumePlan) error {
	g, at := p.in.Committed, p.next
	at.Offset, at.LeaderEpoch = max(at.Offset, plan.Offset), max(at.LeaderEpoch, plan.Epoch)
	err := p.ns.Update(func(b *store.Batch) error {
		p.tell(b)
		if plan.Action != actionHandleAgain {
			if err := b.SetPosition(at); err != nil {
				return err
			}
			if err := b.EndRestore(); err != nil {
				return err
			}
			if plan.endsOpen(p.in, p.kept) {
				if err := b.OpenCoverage(reasonOf(plan), p.heard()); err != nil {
					return err
				}
			}
		}
		if plan.Follow {
			b.SetCommitted(store.Committed{Offset: g.Offset, LeaderEpoch: g.Epoch, Tag: g.Tag})
		}
		return nil
	})
	if err != nil {
		return later(fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err))
	}
	if plan.Action == actionHandleAgain {
		at = p.next
	}
	p.durable(at, nil)
	p.fetch = at.Offset
	return nil
}

// endsOpen tells whether a reading does not bring all that its range had: Kafka
// compacts the log, what was skipped is not told exactly, or the log lost a tail.
func (p resumePlan) endsOpen(in resumeInputs, kept note) bool {
	return in.Compacted || p.OpensCoverage && p.Lowered || kept.merged
}
