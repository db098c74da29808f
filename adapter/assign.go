package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
	s.awaited.set(nil)
	if err := s.joined(); err != nil {
		s.end(err)
		return nil, err
	}
	parts, starts, err := s.assign(ctx, assigned)
	if err != nil || ctx.Err() != nil { // they are not the session's, and nothing is said of them
		for _, p := range parts {
			if p.paused != nil {
				s.unpause(p)
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.mu.Lock()
	s.had = true
	lag := int64(0)
	for _, p := range parts { // before the loop has them; it may be at work on others
		s.parts[topicPartition{p.topic, p.number}] = p
		lag += p.lag()
	}
	s.c.stats.partitions.Store(int64(len(s.parts)))
	s.c.stats.lag.Add(lag)
	if s.nudge != nil {
		s.nudge() // there may be offsets to commit
	}
	s.mu.Unlock()
	return starts, nil
}

func (s *session) assign(
	ctx context.Context, assigned map[string]map[int32]kgo.Offset,
) ([]*partition, map[string]map[int32]kgo.Offset, error) {
	s.endRestores(assigned)
	s.c.standbys.take(assigned)
	assigned, standing := s.apart(assigned)
	parts, plans, err := s.plans(ctx, assigned)
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	var order []int // of those that flow at once
	var flow []*partition
	for i := range plans {
		errs = append(errs, plans[i].Err)
		if !plans[i].reads() {
			order, flow = append(order, i), append(flow, parts[i])
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	if err := each(order, func(i int) error { return parts[i].begin(ctx, plans[i]) }); err != nil {
		return nil, nil, err
	}
	if err := s.sendStored(flow); err != nil {
		return nil, nil, err
	}
	for _, p := range flow {
		if !p.out.empty() { // it is sent before the partition flows
			s.pause(p, ErrOutputsPending)
		}
	}
	starts := standing
	for i, p := range parts {
		p.alarm(plans[i])
		if starts[p.topic] == nil {
			starts[p.topic] = make(map[int32]kgo.Offset)
		}
		starts[p.topic][p.number] = kgo.NewOffset().At(plans[i].Offset).WithEpoch(plans[i].Epoch)
	}
	if err := s.beginRestores(ctx, parts, plans); err != nil {
		return flow, nil, err
	}
	return flow, starts, nil
}

// apart takes those partitions out of which a handler hangs, from an earlier
// session. They fetch nothing, from any offset, until it has returned.
func (s *session) apart(
	assigned map[string]map[int32]kgo.Offset,
) (flow, stand map[string]map[int32]kgo.Offset) {
	flow, stand = make(map[string]map[int32]kgo.Offset), make(map[string]map[int32]kgo.Offset)
	hung := s.c.hangs.standing()
	for topic, numbers := range assigned {
		for number, offset := range numbers {
			to := flow
			of := topicPartition{topic, number}
			if hung[of] != nil {
				to, offset = stand, kgo.NewOffset().At(0)
				s.cl.PauseFetchPartitions(map[string][]int32{topic: {number}})
				s.mu.Lock()
				s.standing[of] = true
				s.mu.Unlock()
			}
			if to[topic] == nil {
				to[topic] = make(map[int32]kgo.Offset)
			}
			to[topic][number] = offset
		}
	}
	return flow, stand
}
