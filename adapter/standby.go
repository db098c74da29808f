package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Standing is a partition that a consumer stands by for: its markers, and the
// state of a pure handler, follow the group's offset, so that taking it over costs
// no more than what came since (R13).
type Standing struct {
	// Topic and Partition are in Options.Standby.
	Topic     string
	Partition int32
	// Offset is how far the store has come, and Group where the group stood when it
	// was asked last; -1: nowhere.
	Offset, Group int64
	// Err is why it does not follow: what a takeover would stop with as well. It is
	// tried again when the group's offset moves. Nil: it follows.
	Err error
}

// standbyPause is how often the group's offsets are asked for.
const standbyPause = time.Second

// standbys are the partitions that a Run stands by for. A session takes those that
// the group assigns to it, and gives them back.
type standbys struct {
	c *Consumer

	mu    sync.Mutex // held over no call
	taken map[topicPartition]bool
	work  map[topicPartition]*following
	known map[topicPartition]*Standing
	seen  map[topicPartition]committedOffset // the offset that was followed, or could not be, last
}

// following is one partition on its way to G.
type following struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

// standBy follows the group's offsets until the function that it returns is called.
func (c *Consumer) standBy(ctx context.Context) (end func()) {
	if len(c.opts.Standby) == 0 {
		return func() {}
	}
	s := &c.standbys
	s.mu.Lock()
	s.taken = make(map[topicPartition]bool)
	s.work = make(map[topicPartition]*following)
	s.known = make(map[topicPartition]*Standing)
	s.seen = make(map[topicPartition]committedOffset)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var loop sync.WaitGroup
	loop.Go(func() { s.run(ctx) })
	return func() { cancel(); loop.Wait() }
}

func (s *standbys) run(ctx context.Context) {
	cl, err := s.c.sourceClient()
	if err != nil {
		s.c.opts.Logger.Warn("no standby", "reason", err)
		return
	}
	defer cl.Close()
	for failures := 0; ; {
		pause := standbyPause
		if err := s.round(ctx, cl); err != nil && ctx.Err() == nil {
			s.c.opts.Logger.Warn("standby does not follow", "group", s.c.opts.Group, "reason", err)
			pause = max(pause, backOff(failures))
			failures++
		} else {
			failures = 0
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// round follows the offsets of the group as they are now.
func (s *standbys) round(ctx context.Context, cl *kgo.Client) error {
	committed, err := s.committed(ctx, cl)
	if err != nil {
		return err
	}
	var all []topicPartition
	for topic, numbers := range s.c.opts.Standby {
		for _, number := range numbers {
			all = append(all, topicPartition{topic, number})
		}
	}
	return each(all, func(of topicPartition) error { return s.follow(ctx, cl, committed, of) })
}

// committed asks for the group's stable offsets.
func (s *standbys) committed(ctx context.Context, cl *kgo.Client) (*kmsg.OffsetFetchResponse, error) {
	topics := make([]string, 0, len(s.c.opts.Standby))
	for topic := range s.c.opts.Standby {
		topics = append(topics, topic)
	}
	found, err := kadm.NewClient(cl).FetchOffsetsForTopics(kadm.RequireStable(ctx), s.c.opts.Group, topics...)
	if err != nil {
		return nil, unanswered("the group's offsets", err)
	}
	group := kmsg.NewOffsetFetchResponseGroup()
	found.Each(func(o kadm.OffsetResponse) {
		if o.Err != nil || o.At < 0 {
			return
		}
		part := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch, part.Metadata = o.Partition, o.At, o.LeaderEpoch, &o.Metadata
		i := slices.IndexFunc(group.Topics, func(t kmsg.OffsetFetchResponseGroupTopic) bool { return t.Topic == o.Topic })
		if i < 0 {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic = o.Topic
			i, group.Topics = len(group.Topics), append(group.Topics, t)
		}
		group.Topics[i].Partitions = append(group.Topics[i].Partitions, part)
	})
	return &kmsg.OffsetFetchResponse{Groups: []kmsg.OffsetFetchResponseGroup{group}}, nil
}

// follow brings one partition up to G, unless the session has it.
func (s *standbys) follow(
	ctx context.Context, cl *kgo.Client, committed *kmsg.OffsetFetchResponse, of topicPartition,
) error {
	asking := &session{c: s.c, committed: committed}
	g := asking.groupOffset(of.topic, [16]byte{}, of.number)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &following{cancel: cancel, ended: make(chan struct{})}
	s.mu.Lock()
	if s.taken[of] || !g.Present || s.seen[of] == g {
		s.mu.Unlock()
		return nil
	}
	s.work[of] = f
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.work, of)
		s.mu.Unlock()
		close(f.ended)
	}()
	at, err := s.warm(ctx, cl, committed, of)
	var again *again
	if ctx.Err() != nil || errors.As(err, &again) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.known[of]; err != nil && (was == nil || was.Err == nil) {
		s.c.opts.Logger.Warn("standby does not follow", "topic", of.topic, "partition", of.number, "reason", err)
	}
	s.seen[of] = g
	s.known[of] = &Standing{Topic: of.topic, Partition: of.number, Offset: at, Group: g.Offset, Err: err}
	return nil
}

// warm plans as an assignment would, and carries out what only reads.
func (s *standbys) warm(
	ctx context.Context, cl *kgo.Client, committed *kmsg.OffsetFetchResponse, of topicPartition,
) (at int64, err error) {
	asks := newSession(ctx, s.c, nil)
	asks.cl, asks.source, asks.admin, asks.poll, asks.committed = cl, cl, admin{kadm.NewClient(cl)}, ctx, committed
	asks.aside = true
	parts, plans, err := asks.plans(ctx, map[string]map[int32]kgo.Offset{of.topic: {of.number: {}}})
	if err != nil {
		return -1, err
	}
	p, plan := parts[0], plans[0]
	if plan.Err == nil && (plan.Action == actionRestore || plan.Action == actionRebuild) {
		select {
		case s.c.restores <- struct{}{}:
			defer func() { <-s.c.restores }()
		case <-ctx.Done():
			return -1, ctx.Err()
		}
		p.progress = s.c.newProgress(p, plan)
		p.progress.begin()
		err := p.begin(ctx, plan)
		p.progress.end(err == nil)
		if err != nil {
			return -1, err
		}
	}
	status, err := p.ns.Status()
	if err != nil {
		return -1, fmt.Errorf("adapter: position of %s/%d: %w", of.topic, of.number, err)
	}
	at = -1
	if status.Position.TopicID == p.log {
		at = status.Position.Offset
	}
	return at, plan.Err
}

// take has the partitions of an assignment followed no more.
func (s *standbys) take(assigned map[string]map[int32]kgo.Offset) {
	s.mu.Lock()
	var ends []*following
	for topic, numbers := range assigned {
		for number := range numbers {
			of := topicPartition{topic, number}
			if s.taken != nil {
				s.taken[of] = true
			}
			delete(s.known, of)
			delete(s.seen, of)
			if f := s.work[of]; f != nil {
				ends = append(ends, f)
			}
		}
	}
	s.mu.Unlock()
	for _, f := range ends {
		f.cancel()
		<-f.ended
	}
}

// giveBack has a partition followed again, if it is in the list.
func (s *standbys) giveBack(of topicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, of)
}

// Standbys returns the partitions of Options.Standby that other members of the group
// have, in order, as far as they were met. It may be called at any time, from any
// goroutine.
func (c *Consumer) Standbys() []Standing {
	s := &c.standbys
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Standing, 0, len(s.known))
	for _, st := range s.known {
		all = append(all, *st)
	}
	slices.SortFunc(all, func(a, b Standing) int {
		return topicPartition{a.Topic, a.Partition}.compare(topicPartition{b.Topic, b.Partition})
	})
	return all
}
