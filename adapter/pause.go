package adapter

import (
	"cmp"
	"errors"
	"slices"
	"sync"
)

// A Pause is a partition that is assigned and stands still.
type Pause struct {
	// Topic, Partition and Offset are where it stands: the offset is the next
	// one that it will handle.
	Topic     string
	Partition int32
	Offset    int64
	// Err says why: a *RecordError for a record that failed under FailurePause,
	// ErrOutputRefused for an output of it that Kafka refuses, ErrOutputsPending,
	// ErrUncommitted, ErrRestoring, or ErrHandlerHangs.
	Err error
}

// Paused returns the partitions that are paused now, in order. It may be called
// at any time, from any goroutine.
func (c *Consumer) Paused() []Pause {
	c.pauses.mu.Lock()
	defer c.pauses.mu.Unlock()
	all := make([]Pause, 0, len(c.pauses.now))
	for _, p := range c.pauses.now {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Pause) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all
}

// Resume has a partition go on that is paused for a record that failed, or for an
// output that was refused: it is handled, or sent, again. It reports whether there
// is such a partition. One that waits for Kafka, for its restore, or for a handler
// that hangs, goes on by itself; so does every partition that is assigned anew. It
// may be called at any time, from any goroutine.
func (c *Consumer) Resume(topic string, partition int32) bool {
	of := topicPartition{topic, partition}
	c.pauses.mu.Lock()
	defer c.pauses.mu.Unlock()
	at, ok := c.pauses.now[of]
	if !ok || slices.ContainsFunc([]error{ErrOutputsPending, ErrUncommitted, ErrRestoring, ErrHandlerHangs},
		func(itself error) bool { return errors.Is(at.Err, itself) }) {
		return false
	}
	c.pauses.wanted = append(c.pauses.wanted, of)
	if c.pauses.nudge != nil {
		c.pauses.nudge()
	}
	return true
}

// pauses are those of a consumer, and whom to resume.
type pauses struct {
	mu     sync.Mutex // held over no call but nudge, which does not block
	now    map[topicPartition]Pause
	wanted []topicPartition
	nudge  func() // ends the poll that waits for records
}

// awake has Resume end polls by fn.
func (p *pauses) awake(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nudge = fn
	if len(p.wanted) > 0 {
		fn()
	}
}

func (p *pauses) set(of topicPartition, at Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		p.now = make(map[topicPartition]Pause)
	}
	p.now[of] = at
}

func (p *pauses) end(of topicPartition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, of)
}

func (p *pauses) takeWanted() []topicPartition {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := p.wanted
	p.wanted = nil
	return wanted
}

// pause has a partition fetch nothing from now on. Its fetch offset is set back
// to L when it flows again (I13).
func (s *session) pause(p *partition, why error) {
	p.paused = why
	s.cl.PauseFetchPartitions(map[string][]int32{p.topic: {p.number}})
	s.c.pauses.set(topicPartition{p.topic, p.number},
		Pause{Topic: p.topic, Partition: p.number, Offset: p.next.Offset, Err: why})
	s.c.opts.Logger.Warn("partition paused", "topic", p.topic, "partition", p.number,
		"offset", p.next.Offset, "reason", why)
}

// resume has a paused partition flow again, from L.
func (s *session) resume(p *partition) {
	s.refetch(p)
	s.unpause(p)
	s.c.opts.Logger.Info("partition resumed", "topic", p.topic, "partition", p.number, "offset", p.next.Offset)
}

func (s *session) unpause(p *partition) {
	p.paused = nil
	s.cl.ResumeFetchPartitions(map[string][]int32{p.topic: {p.number}})
	s.c.pauses.end(topicPartition{p.topic, p.number})
}

// standstill pauses and resumes partitions, as they stand at the end of a round.
func (s *session) standstill(parts []*partition) {
	for _, p := range parts {
		switch {
		case p.failed != nil && !errors.Is(p.paused, p.failed):
			s.pause(p, p.failed)
		case p.paused == nil && p.full(0):
			s.pause(p, ErrOutputsPending)
		case errors.Is(p.paused, ErrOutputsPending) && p.out.empty():
			s.resume(p)
		}
	}
	for _, of := range s.c.pauses.takeWanted() {
		s.mu.Lock()
		p := s.parts[of]
		s.mu.Unlock()
		switch {
		case p == nil || p.failed == nil:
		case p.tries.refused: // it goes on when its outputs are sent
			p.failed, p.tries = nil, tries{}
			s.pause(p, ErrOutputsPending)
		default:
			p.failed = nil
			s.resume(p)
		}
	}
}
