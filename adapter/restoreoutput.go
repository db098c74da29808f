package adapter

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A relay's output holds what it accepted, and nothing else: each record with the
// headers that say where it stood and when it was first seen. So the markers can be
// read from it as they were, without deciding anything: exactly, and from fewer
// records than the input where much of that is duplicates.

// An outputLog is the relay's output as a source of markers of one partition.
type outputLog struct {
	*reader
	p        *partition
	from, to int64 // the origins that are missing
	end      int64 // where the reading ends
	edge     int64 // ms; the edge of the window at G, 0: no edge
}

// outputLog returns the output topic as it is now.
func (p *partition) outputLog(ctx context.Context, plan resumePlan, edge int64) (*outputLog, error) {
	name := p.s.c.opts.RestoreFrom
	adm := admin{kadm.NewClient(p.source.cl)}
	metadata, err := adm.Metadata(ctx, name)
	if err != nil {
		return nil, unanswered("topics", err)
	}
	detail, err := usable(metadata, name)
	if err != nil {
		return nil, err
	}
	// A transaction may have settled the group's offset and not yet its outputs: these
	// lie above the last stable offset, and are waited for.
	ends, err := adm.ends(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	r := *p.source
	r.topic, r.log, r.leader = name, store.ID(detail.ID), -1
	return &outputLog{reader: &r, p: p, from: max(plan.Read.From, 0), to: plan.Read.To,
		end: ends[name][p.number], edge: edge}, nil
}

// begins returns the offset from which on the output is read, and whether nothing
// that is missing can lie before it: outputs stand in the order of their origins,
// so one record that is not missing, before the first that is, proves it.
func (l *outputLog) begins(ctx context.Context, since int64) (at int64, whole bool, err error) {
	starts, err := listed(kadm.NewClient(l.cl).ListStartOffsets(ctx, l.topic))
	if err != nil {
		return 0, false, unanswered("log starts", err)
	}
	start := starts[l.topic][l.number]
	at = start
	if since > 0 {
		if at, err = l.offsetAt(ctx, since); err != nil {
			return 0, false, err
		}
	}
	for at = max(at, start); ; at = start {
		first, found, err := l.first(ctx, at)
		if err != nil {
			return 0, false, err
		}
		before := found && (first.Origin.Offset < l.from || l.edge > 0 && millis(first.At) < l.edge)
		if before || found && first.Origin.Offset == 0 {
			return at, true, nil
		}
		if at == start {
			return at, false, nil
		}
	}
}

// first returns the first record of the partition at an offset of the output or
// later.
func (l *outputLog) first(ctx context.Context, at int64) (store.Record, bool, error) {
	for at < l.end {
		c := l.next(ctx, at)
		if c.err != nil {
			return store.Record{}, false, c.err
		}
		for _, rec := range c.recs {
			if m, _, ok := l.marker(rec); ok {
				return m, true, nil
			}
		}
		at = c.next
	}
	return store.Record{}, false, nil
}

// marker returns the marker that an output tells of, and what it tells of the clock
// beside it, if it is one of this group and partition.
func (l *outputLog) marker(rec *kgo.Record) (m store.Record, told store.Timeline, ok bool) {
	var id, origin, clock, timeline string
	for _, h := range rec.Headers {
		switch h.Key {
		case HeaderOutputID:
			id = string(h.Value)
		case HeaderOrigin:
			origin = string(h.Value)
		case HeaderClock:
			clock = string(h.Value)
		case HeaderTimeline:
			timeline = string(h.Value)
		}
	}
	o, ok := parseOrigin(origin)
	first, err := strconv.ParseInt(clock, 10, 64)
	told, unread := store.ParseTimeline(timeline)
	if !ok || err != nil || unread != nil || o.TopicID != l.p.log || o.Partition != l.p.number ||
		id != outputID(l.p.s.c.opts.Group, o.TopicID, o.Partition, o.Offset, 0) {
		return m, told, false
	}
	m.Origin = o
	if first > 0 {
		m.At = time.UnixMilli(first)
	}
	return m, told, true
}

// openAtOutput begins, or goes on with, a restore from the relay's output.
func (p *partition) openAtOutput(ctx context.Context, plan resumePlan, edge int64, o *opening) error {
	l, err := p.outputLog(ctx, plan, edge)
	if err != nil {
		return err
	}
	p.outputs = l
	o.restore.Timeline = plan.Timeline
	// What the input lacks is no hole, and how it is kept does not matter.
	o.plan.OpensCoverage = plan.OpensCoverage && plan.Lowered
	if p.in.Compacted, err = (admin{kadm.NewClient(l.cl)}).compacted(ctx, l.topic); err != nil {
		return err
	}
	if o.plan.Offset = plan.Read.From; plan.Read.From == fromClock {
		o.plan.Offset, o.restore.Anew = 0, p.oneLog()
	}
	status, err := p.ns.Status()
	if err != nil {
		return err
	}
	if r := status.Restore; r != nil && r.Source.TopicID == l.log { // it was cut short
		o.restore.Source, o.restore.Anew = r.Source, false
		o.plan.OpensCoverage = o.plan.OpensCoverage && status.Coverage.Open
		return nil
	}
	since := edge
	if plan.Read.From != fromClock {
		since = max(edge, millis(status.Clock))
	}
	at, whole, err := l.begins(ctx, since)
	if err != nil {
		return err
	}
	o.restore.Source = store.Position{TopicID: l.log, Partition: l.number, Offset: at, LeaderEpoch: -1}
	if plan.Read.From == fromClock || !whole {
		first, found, err := l.first(ctx, at)
		switch {
		case err != nil:
			return err
		case found && whole && first.Origin.Offset == 0:
		case whole:
			o.plan.OpensCoverage, o.since = true, time.UnixMilli(max(edge, 1))
		default: // another of the same time may have stood before the first
			o.plan.OpensCoverage, o.since = true, time.UnixMilli(millis(first.At)+1)
		}
	}
	return nil
}

// restoreOutputs enters the markers that the relay's output tells of.
func (p *partition) restoreOutputs(ctx context.Context) error {
	status, err := p.ns.Status()
	if err != nil {
		return err
	}
	l := p.outputs
	return p.enterAll(ctx, l.reader, offsetRange{status.Restore.Source.Offset, l.end}, nil, p.enterOutputs)
}

// enterOutputs makes durable what a read of the output brought.
func (p *partition) enterOutputs(c chunk) error {
	l := p.outputs
	at, last := c.next, p.next.Offset
	err := p.ns.Update(func(b *store.Batch) error {
		p.tell(b)
		if c.hole { // retention of the output passed the restore
			if err := b.OpenCoverage(store.Cold, time.Time{}); err != nil {
				return err
			}
		}
		items := p.extract(c.from, c.recs, &tally{})
		prepare(b, items)
		next := store.Position{TopicID: l.log, Partition: l.number, Offset: at, LeaderEpoch: -1}
		for i := range items {
			m, told, ok := l.marker(items[i].rec)
			if !ok || m.Origin.Offset < l.from || m.Origin.Offset >= l.to || len(items[i].id) == 0 {
				continue
			}
			m.ID, last = items[i].id, m.Origin.Offset+1
			if err := b.RestoreMarker(m, told); err != nil {
				return err
			}
		}
		return b.RestoreFrom(next)
	})
	if err != nil {
		return later(fmt.Errorf("adapter: restore of %s/%d from %s: %w", p.topic, p.number, l.topic, err))
	}
	p.durable(p.next, nil)
	p.progress.add(last, len(c.recs), c.bytes)
	return nil
}
