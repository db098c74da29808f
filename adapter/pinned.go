package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

func clonePinned(pinned map[string][]int32) map[string][]int32 {
	c := make(map[string][]int32, len(pinned))
	for topic, numbers := range pinned {
		c[topic] = slices.Clone(numbers)
	}
	return c
}

// checkPinned returns everything that is wrong with the pinned partitions.
func (o *Options) checkPinned() error {
	if !o.pinned() {
		return nil
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("adapter: "+format, args...)) }
	for topic, numbers := range o.Pinned {
		switch sorted := slices.Sorted(slices.Values(numbers)); {
		case !slices.Contains(o.Topics, topic):
			wrong("Pinned names %q, and Topics does not; name it there, too, or leave Topics empty", topic)
		case len(numbers) == 0:
			wrong("Pinned names no partition of %q; name at least one, or leave the topic out", topic)
		case sorted[0] < 0:
			wrong("Pinned names partition %d of %q; give numbers from 0 on", sorted[0], topic)
		case len(slices.Compact(slices.Clone(sorted))) < len(sorted):
			wrong("Pinned names a partition of %q twice: %v; name it once", topic, numbers)
		}
	}
	for _, topic := range o.Topics {
		if _, ok := o.Pinned[topic]; !ok {
			wrong("Topics names %q, and Pinned no partition of it; name at least one, or leave the topic out", topic)
		}
	}
	if o.Dynamic || o.Balancer != BalancerRange {
		wrong("Pinned goes with neither Balancer nor Dynamic, which are for members of a group; leave them out")
	}
	return errors.Join(errs...)
}

// pin assigns the pinned partitions, as the group assigns those of a member.
func (s *session) pin() {
	starts, err := s.pinned(s.poll)
	if err != nil {
		if s.poll.Err() == nil {
			s.end(err)
		}
		return
	}
	s.cl.AddConsumePartitions(starts)
}

func (s *session) pinned(ctx context.Context) (map[string]map[int32]kgo.Offset, error) {
	assigned := make(map[string]map[int32]kgo.Offset)
	metadata, err := s.admin.Metadata(ctx, s.c.opts.Topics...)
	if err != nil {
		return nil, unanswered("topics", err)
	}
	ids := make(map[string]store.ID)
	for topic, numbers := range s.c.opts.Pinned {
		detail, err := usable(metadata, topic)
		if err != nil {
			return nil, err
		}
		ids[topic], assigned[topic] = store.ID(detail.ID), make(map[int32]kgo.Offset)
		for _, number := range numbers {
			found, ok := detail.Partitions[number]
			s.leaders[topicPartition{topic, number}] = found.Leader
			if !ok {
				return nil, fmt.Errorf("%w: it has no partition %d: %q has %d; correct Pinned",
					ErrUnknownTopic, number, topic, len(detail.Partitions))
			}
			assigned[topic][number] = kgo.NewOffset()
		}
	}
	s.awaited.set(s.c.opts.Pinned)
	for failures := 0; ; failures++ {
		resp, err := s.askOffsets(ctx, s.c.opts.Pinned, ids)
		if err == nil {
			s.committed = resp
			return s.onAssigned(ctx, assigned)
		}
		if !errors.Is(err, kerr.UnstableOffsetCommit) || !wait(ctx, backOff(failures)) {
			return nil, unanswered("the group's offsets", err)
		}
	}
}

// leader returns the broker that leads a partition. In pinned mode the client knows
// the topics only once it consumes them, which begins with the plan.
func (s *session) leader(of topicPartition) (int32, error) {
	leader, _, err := s.cl.PartitionLeader(of.topic, of.number)
	if found, ok := s.leaders[of]; ok && err == nil && leader < 0 {
		return found, nil
	}
	return leader, err
}

// askOffsets asks the coordinator for the group's offsets, as nobody's member.
func (s *session) askOffsets(
	ctx context.Context, of map[string][]int32, ids map[string]store.ID,
) (*kmsg.OffsetFetchResponse, error) {
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = s.c.opts.Group
	for topic, numbers := range of {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.TopicID, t.Partitions = topic, ids[topic], numbers
		group.Topics = append(group.Topics, t)
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return nil, err
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	for _, g := range resp.Groups {
		err = errors.Join(err, kerr.ErrorForCode(g.ErrorCode))
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
	if errors.Is(err, kerr.GroupIDNotFound) { // nobody has committed for it yet
		err = nil
	}
	return resp, err
}

// checkAlone is what commitPinned does first, before offsets join a transaction.
func (s *session) checkAlone(ctx context.Context, sent map[*partition]store.Committed) error {
	if !s.c.opts.pinned() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	of, ids := make(map[string][]int32), make(map[string]store.ID)
	for p := range sent {
		of[p.topic], ids[p.topic] = append(of[p.topic], p.number), p.log
	}
	for failures := 0; ; failures++ {
		resp, err := s.askOffsets(ctx, of, ids)
		if errors.Is(err, kerr.UnstableOffsetCommit) && wait(ctx, backOff(failures)) {
			continue
		}
		if err != nil {
			return unanswered("the group's offsets", err)
		}
		s.committed = resp
		var errs []error
		for p := range sent {
			errs = append(errs, s.alone(topicPartition{p.topic, p.number}))
		}
		return errors.Join(errs...)
	}
}

// commitPinned commits without a member. Nobody fences a pinned consumer, so it
// looks first whether the offsets are those that it knows: another store's tag
// says that two of them are at work (E08), and anything else that somebody moved
// the group, for which the next session has its policy (R11).
func (s *session) commitPinned(
	ctx context.Context, at map[string]map[int32]kgo.EpochOffset, sent map[topicPartition]store.Committed,
) (map[topicPartition]error, error) {
	of := make(map[string][]int32)
	ids := make(map[string]store.ID)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = s.c.opts.Group, -1
	for topic, numbers := range at {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = topic
		for number, offset := range numbers {
			key := topicPartition{topic, number}
			tag := sent[key].Tag
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = number, offset.Offset, offset.Epoch, &tag
			t.Partitions = append(t.Partitions, p)
			of[topic] = append(of[topic], number)
			t.TopicID = s.logOf(key)
		}
		ids[topic] = store.ID(t.TopicID)
		req.Topics = append(req.Topics, t)
	}
	resp, err := s.askOffsets(ctx, of, ids)
	switch {
	case err != nil && (errors.Is(err, kerr.UnstableOffsetCommit) || passes(err)):
		return nil, nil // the next one is as high or higher
	case err != nil:
		return nil, unanswered("the group's offsets", err)
	}
	s.committed = resp
	for key := range sent {
		if err := s.alone(key); err != nil {
			return nil, err
		}
	}
	answer, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return nil, nil
	}
	answers := answersOf(req, answer)
	for key, err := range answers {
		if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration) {
			return nil, fmt.Errorf("%w: group %q has members, %s/%d; give the pinned consumers a group of their own",
				ErrPinnedTwice, s.c.opts.Group, key.topic, key.number)
		}
	}
	return answers, nil
}

// alone tells by the offset that the group has whether nobody else is at work on
// a partition.
func (s *session) alone(of topicPartition) error {
	s.mu.Lock()
	p := s.parts[of]
	s.mu.Unlock()
	if p == nil {
		return nil
	}
	g, known := s.groupOffset(of.topic, p.log, of.number), p.in.Committed
	if c := p.committed; c.Tag != "" {
		known = committedOffset{Present: true, Offset: c.Offset, Epoch: c.LeaderEpoch, Tag: c.Tag}
	}
	tag, firstseen, err := decodeTag(g.Tag)
	mine := firstseen && err == nil && tag.StoreID == s.c.st.ID() && tag.OpenID == s.c.st.OpenID()
	switch {
	case mine, g.Present == known.Present && g.Offset == known.Offset && g.Tag == known.Tag:
		return nil
	case firstseen && err == nil:
		return fmt.Errorf("%w: %s/%d of group %q: store %s, opening %s has committed offset %d; this one stands at %d, "+
			"and both may have handled what came since; stop the other one, or give it a group of its own",
			ErrPinnedTwice, of.topic, of.number, s.c.opts.Group,
			store.ID(tag.StoreID), store.ID(tag.OpenID), g.Offset, p.next.Offset)
	default:
		return &again{fmt.Errorf("somebody moved the group in %s/%d to %d", of.topic, of.number, g.Offset)}
	}
}

// logOf returns the topic ID of a partition that the session has.
func (s *session) logOf(of topicPartition) store.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[of]; p != nil {
		return p.log
	}
	return store.ID{}
}
