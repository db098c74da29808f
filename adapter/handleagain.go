package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// errHandledAgain is why a failure, whatever the policy, stops a partition whose
// records are handled again: what became of them the first time is in Kafka.
var errHandledAgain = errors.New("adapter: it was handled before, and is handled again, " +
	"for its state is not in this store; it cannot fail now")

// handleAgain makes the state and the markers of the plan's Read again: the store lost
// them (row 9), or another store made them and the handler is pure (R13). Kafka
// has their outputs, which are dropped. It decides as ever, in local batches, and
// can be cut short anywhere.
func (p *partition) handleAgain(ctx context.Context, plan resumePlan) error {
	p.repeating = true
	defer func() { p.repeating = false }()
	for p.next.Offset < plan.Read.To {
		before := p.next.Offset
		if err := p.handleSome(ctx, plan); err != nil {
			return err
		}
		if err := errors.Join(p.stopped, p.failed, ctx.Err()); err != nil {
			return err
		}
		if p.next.Offset == before {
			return &again{fmt.Errorf("%s/%d does not go on from %d, below the group's offset %d",
				p.topic, p.number, before, plan.Read.To)}
		}
	}
	return nil
}

// handleSome goes on by a read, or over a range that a policy had skipped.
func (p *partition) handleSome(ctx context.Context, plan resumePlan) error {
	from, to := p.next.Offset, plan.Read.To
	for _, s := range plan.Skips {
		if s.From <= from && from < s.To {
			return p.passTo(min(s.To, to), true)
		}
		if from < s.From {
			to = min(to, s.From)
		}
	}
	recs, next, err := p.read(ctx, from)
	if err != nil {
		return err
	}
	recs = below(recs, to)
	defer func() { p.progress.add(p.next.Offset, len(recs), 0) }()
	switch {
	case len(recs) > 0:
		p.fetch = from
		// The time of a batch does not end with that of Run, which may be less.
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.s.c.opts.BatchTimeout)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		err := p.guarded(within, func() error { return p.decide(within, ctx, recs) })
		if p.givenUp() {
			return p.s.hanging()
		}
		return err
	case next > from: // offsets without records
		return p.passTo(min(next, to), false)
	default:
		return nil
	}
}

// below returns the records below an offset.
func below(recs []*kgo.Record, offset int64) []*kgo.Record {
	for i, rec := range recs {
		if rec.Offset >= offset {
			return recs[:i]
		}
	}
	return recs
}

// passTo moves the position over offsets that hold no records, or records that
// were skipped: those leave a hole.
func (p *partition) passTo(offset int64, hole bool) error {
	next := p.next
	next.Offset = offset
	err := p.ns.Update(func(b *store.Batch) error {
		p.tell(b)
		if hole {
			if err := b.OpenCoverage(store.Cold, p.heard()); err != nil {
				return err
			}
		}
		return b.SetPosition(next)
	})
	if err != nil {
		return later(fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err))
	}
	p.durable(next, nil)
	return nil
}
