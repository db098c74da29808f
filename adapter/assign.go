package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// namespaceName returns the name of the namespace of a partition: group, topic
// and partition, with "/" between them. A "/" or "%" inside is escaped, so that
// no two partitions share one.
func namespaceName(group, topic string, partition int32) string {
	return fmt.Sprintf("%s%d", namespacePrefix(group, topic), partition)
}

// namespacePrefix is how the names of all partitions of a topic begin.
func namespacePrefix(group, topic string) string {
	plain := strings.NewReplacer("%", "%25", "/", "%2F")
	return plain.Replace(group) + "/" + plain.Replace(topic) + "/"
}

// onFetched keeps what the coordinator says of the group's offsets (G): kgo asks
// for stable ones, and drops the tags.
func (s *session) onFetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	s.committed = resp
	return nil
}

// onAssigned plans where the assigned partitions start, carries the plans out,
// and returns the exact offsets. ctx ends when a rebalance begins, which is no
// fault; then it is called again.
func (s *session) onAssigned(
	ctx context.Context, assigned map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset, error) {
	<-s.ready
	parts, starts, err := s.assign(ctx, assigned)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		s.end(err)
		return nil, err
	}
	member, _ := s.cl.GroupMetadata()
	s.mu.Lock()
	s.member, s.had = member, true
	for _, p := range parts {
		s.parts[topicPartition{p.topic, p.number}] = p
	}
	if s.nudge != nil {
		s.nudge() // there may be offsets to commit
	}
	s.mu.Unlock()
	s.measure()
	return starts, nil
}

func (s *session) assign(
	ctx context.Context, assigned map[string]map[int32]kgo.Offset,
) ([]*partition, map[string]map[int32]kgo.Offset, error) {
	parts, plans, err := s.plans(ctx, assigned)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	for _, plan := range plans {
		errs = append(errs, plan.Supported())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	if err := each(order, func(i int) error { return parts[i].begin(plans[i]) }); err != nil {
		return nil, nil, err
	}
	if err := s.send(parts); err != nil {
		return nil, nil, err
	}
	for _, p := range parts {
		if !p.out.empty() { // it is sent before the partition flows
			s.pause(p, ErrOutputsPending)
		}
	}
	starts := make(map[string]map[int32]kgo.Offset)
	for i, p := range parts {
		if plans[i].Alarm != "" {
			s.c.opts.Logger.Warn(plans[i].Alarm, "topic", p.topic, "partition", p.number)
		}
		if starts[p.topic] == nil {
			starts[p.topic] = make(map[int32]kgo.Offset)
		}
		starts[p.topic][p.number] = kgo.NewOffset().At(plans[i].Offset).WithEpoch(plans[i].Epoch)
	}
	return parts, starts, nil
}

// begin carries out a plan of row 4, 6 or 13: a new position is made durable,
// and what is pending is made ready to be sent.
func (p *partition) begin(plan Plan) error {
	if plan.Row == 4 {
		next := store.Position{
			TopicID: p.log, Partition: p.number, Offset: plan.Offset, LeaderEpoch: plan.Epoch,
		}
		err := p.ns.Update(func(b *store.Batch) error { return b.SetPosition(next) })
		if err != nil {
			return later(fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err))
		}
	}
	status, err := p.ns.Status()
	if err != nil {
		return fmt.Errorf("adapter: position of %s/%d: %w", p.topic, p.number, err)
	}
	p.next, p.fetch = status.Position, plan.Offset
	p.batch, p.grown = status.Sequence, p.s.c.firstBatch
	var stored []*output
	err = p.ns.Pending(func(o store.Output) error {
		p.staged = max(p.staged, o.Sequence)
		if o.Sequence <= plan.Settled || o.Origin.Offset < plan.Passed {
			return nil
		}
		rec, err := decodeOutput(o.Data)
		if err == nil {
			stored = append(stored, newOutput(rec, outputKey{o.Sequence, o.Origin.Offset, o.Index}))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("adapter: outputs of %s/%d: %w", p.topic, p.number, err)
	}
	p.out = p.s.box(topicPartition{p.topic, p.number}, p.log)
	p.out.reset(stored)
	return nil
}
