package adapter

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/firstseen/firstseen/store"
)

// begin carries out the plan of the partition's start (R11): what it changes is
// made durable in one batch, before anything flows, and what is pending is made
// ready to be sent.
func (p *partition) begin(ctx context.Context, plan resumePlan) error {
	stored, settled, err := p.stored(plan)
	if err != nil {
		return fmt.Errorf("adapter: outputs of %s/%d: %w", p.topic, p.number, err)
	}
	o, err := p.opening(ctx, plan)
	if err != nil {
		return err
	}
	if err := p.overrule(o, settled); err != nil {
		return err
	}
	p.s.c.stats.skipped.Add(uint64(plan.Gap.length() + plan.Skipped.length()))
	if err := p.ready(o.plan, stored); err != nil {
		return err
	}
	p.progress.starts(p.next.Offset)
	switch plan.Action {
	case actionHandleAgain, actionRebuild:
		err = p.handleAgain(ctx, plan)
	case actionRestore:
		err = p.restore(ctx, plan)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return p.follow(plan)
}

// stored returns the outputs that the store holds and whose duty is not done,
// and the newest batch of which, and of all before it, no such output is left.
// Outputs of another log, of a topic that was deleted, are not passed by what
// happened in this one. They never stand beside those of this one: a partition
// flows when they are sent.
func (p *partition) stored(plan resumePlan) (left []*output, settled uint64, err error) {
	settled = math.MaxUint64
	err = p.ns.Pending(func(o store.Output) error {
		p.staged = max(p.staged, o.Sequence)
		here := o.Origin.TopicID == p.log && o.Origin.Partition == p.number
		passed := here && (o.Origin.Offset < plan.Passed || plan.Forget && o.Origin.Offset >= plan.ForgetFrom)
		if o.Sequence <= plan.Settled || passed {
			return nil
		}
		settled = min(settled, o.Sequence-1)
		rec, err := decodeOutput(o.Data)
		if err == nil {
			left = append(left, newOutput(rec, outputKey{o.Sequence, o.Origin.Offset, o.Index}))
		}
		return err
	})
	return left, min(settled, p.staged), err
}

// overrule makes durable, in one batch, what a plan changes. A plan that changes
// nothing costs no batch.
func (p *partition) overrule(o opening, settled uint64) error {
	plan := o.plan
	status, err := p.ns.Status()
	if err != nil {
		return fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err)
	}
	at := store.Position{TopicID: p.log, Partition: p.number, Offset: plan.Offset, LeaderEpoch: plan.Epoch}
	kept := p.keep(plan, status)
	changes := plan.Follow || plan.Lowered || plan.OpensCoverage || plan.Forget || plan.EmptyState ||
		plan.Settled > status.Sequence || plan.Rewind > status.Rewind ||
		status.Position.TopicID != at.TopicID || status.Position.Offset != at.Offset ||
		string(kept.encode()) != string(status.Note) || o.restore != nil || status.Restore != nil
	p.kept = kept
	if !changes {
		return nil
	}
	err = p.ns.Update(func(b *store.Batch) error {
		if plan.Forget {
			if err := b.ForgetOrigins(p.log, p.number, plan.ForgetFrom, math.MaxInt64); err != nil {
				return err
			}
		}
		b.Settle(settled)
		if err := b.RaiseSequence(plan.Settled); err != nil {
			return err
		}
		if plan.EmptyState {
			if err := b.ClearState(); err != nil {
				return err
			}
		}
		if err := b.MoveTo(at); err != nil {
			return err
		}
		if err := o.begin(b); err != nil {
			return err
		}
		p.setK(b, plan)
		if plan.OpensCoverage {
			if err := b.OpenCoverage(reasonOf(plan), o.since); err != nil {
				return err
			}
		}
		b.SetRewind(plan.Rewind)
		return b.SetNote(kept.encode())
	})
	if err != nil {
		return later(fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err))
	}
	return nil
}

// setK sets what Kafka is known to hold, as a plan changes it.
func (p *partition) setK(b *store.Batch, plan resumePlan) {
	g, k := p.in.Committed, p.in.Local.Acknowledged
	switch {
	case plan.Follow:
		b.SetCommitted(store.Committed{Offset: g.Offset, LeaderEpoch: g.Epoch, Tag: g.Tag})
	case plan.Lowered && k.Present && p.in.Local.TopicID == p.in.TopicID:
		b.SetCommitted(store.Committed{
			Offset: min(k.Offset, plan.LowerTo), LeaderEpoch: k.Epoch, Tag: k.Tag,
		})
	}
}

// keep returns what is to be kept with the position, by a plan.
func (p *partition) keep(plan resumePlan, status store.Status) note {
	n := p.kept
	if status.Position.TopicID != p.log { // offsets of another log
		n.skipped, n.merged = nil, false
	}
	clock := max(millis(status.Clock), millis(p.heard()))
	n = n.within(p.s.c.opts.Window, clock)
	follows := plan.Follow || plan.reads()
	if tag, ours, err := decodeTag(p.in.Committed.Tag); follows && ours && err == nil {
		n = n.skip(clock, plan.Skips...)
		n.merged = n.merged || tag.Merged
	}
	n = n.skip(clock, plan.Skipped)
	n.broken = (n.broken || plan.StateBroken) && !plan.EmptyState
	n.stateless = n.stateless || plan.NoState
	return n
}

// heard is the clock in the tag of what the group has committed in this log; the
// zero time when there is none.
func (p *partition) heard() time.Time {
	tag, ours, err := decodeTag(p.in.Committed.Tag)
	if !p.in.Committed.Present || !ours || err != nil || tag.TopicID != p.in.TopicID || tag.Clock <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(tag.Clock)
}

func reasonOf(plan resumePlan) store.Reason {
	if plan.Lost {
		return store.Lost
	}
	return store.Cold
}

// ready takes over the position that is durable now.
func (p *partition) ready(plan resumePlan, stored []*output) error {
	status, err := p.ns.Status()
	if err != nil {
		return fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err)
	}
	p.next, p.fetch, p.known = status.Position, plan.Offset, p.knownOffset(status.Position)
	p.at.Store(p.next.Offset)
	p.batch, p.grown = status.Sequence, p.s.c.firstBatch
	p.out = p.s.box(topicPartition{p.topic, p.number}, p.log)
	p.out.reset(stored)
	if k := status.Committed; k != nil {
		tag, ours, err := decodeTag(k.Tag)
		p.unsure = !ours || err != nil || tag.StoreID != p.in.StoreID
	}
	tag, _, _ := decodeTag(p.committed.Tag)
	if plan.Lowered || tag.Rewind > plan.Rewind {
		// What Kafka holds lies above what is to be committed now, or is not to
		// be followed.
		p.committed, p.noted = store.Committed{}, false
	}
	return nil
}

// alarm tells the operator what a plan has done.
func (p *partition) alarm(plan resumePlan) {
	log := p.s.c.opts.Logger
	if plan.Alarm != "" {
		log.Warn(plan.Alarm, "topic", p.topic, "partition", p.number)
	}
	if r := plan.Gap; r != (offsetRange{}) {
		log.Warn("jumped over a gap", "topic", p.topic, "partition", p.number, "from", r.From, "to", r.To)
	}
	if plan.Row == 7 {
		log.Warn("somebody moved the group", "topic", p.topic, "partition", p.number,
			"to", p.in.Committed.Offset, "store", p.in.Local.Offset, "start", plan.Offset)
	}
}

func (r offsetRange) length() int64 { return r.To - r.From }
