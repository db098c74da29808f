package adapter

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Partitions whose markers or state are read before they flow. Each is assigned,
// paused, and not among those of the loop until that is done; meanwhile the
// others flow, and nothing is committed for it (R10).

// restoresMost is how many partitions of a consumer are restored side by side.
const restoresMost = 12

// A restoration is the work of one partition.
type restoration struct {
	p      *partition
	cancel context.CancelFunc
	ended  chan struct{}
}

// beginRestores begins the plans that read before their partition flows.
func (s *session) beginRestores(ctx context.Context, parts []*partition, plans []resumePlan) error {
	for i, p := range parts {
		if !plans[i].reads() {
			continue
		}
		if err := s.openSource(); err != nil {
			return err
		}
		p.source = s.reader(p)
		p.source.held = func(why error) { s.holdsRestore(p, plans[i], why) }
		p.progress = s.c.newProgress(p, plans[i])
		p.paused = ErrRestoring
		of := topicPartition{p.topic, p.number}
		s.cl.PauseFetchPartitions(map[string][]int32{p.topic: {p.number}})
		s.holdsRestore(p, plans[i], nil)
		work, cancel := context.WithCancel(s.poll)
		r := &restoration{p: p, cancel: cancel, ended: make(chan struct{})}
		s.mu.Lock()
		s.restoring[of] = r
		s.mu.Unlock()
		go s.restore(work, r, plans[i])
	}
	return ctx.Err()
}

// holdsRestore says that a partition is being restored, and what that waits for. The
// others flow meanwhile.
func (s *session) holdsRestore(p *partition, plan resumePlan, why error) {
	at := Pause{Topic: p.topic, Partition: p.number, Offset: plan.Offset, Err: ErrRestoring}
	if why != nil {
		at.Err = fmt.Errorf("%w, and waits: %w", ErrRestoring, why)
		s.c.opts.Logger.Warn("restore waits", "topic", p.topic, "partition", p.number, "reason", why)
	}
	s.c.pauses.set(topicPartition{p.topic, p.number}, at)
}

// restore carries out a plan beside the loop, and hands the partition over.
func (s *session) restore(ctx context.Context, r *restoration, plan resumePlan) {
	defer close(r.ended)
	defer r.cancel()
	select {
	case s.c.restores <- struct{}{}:
		defer func() { <-s.c.restores }()
	case <-ctx.Done():
		return
	}
	r.p.progress.begin()
	err := r.p.begin(ctx, plan)
	r.p.progress.end(err == nil)
	switch {
	case err == nil:
		r.p.source, r.p.outputs, r.p.progress = nil, nil, nil
		s.mu.Lock()
		defer s.mu.Unlock()
		s.restored = append(s.restored, r.p)
		if s.nudge != nil {
			s.nudge()
		}
	case ctx.Err() == nil:
		s.end(err)
	}
}

// arrive lets partitions flow that are restored: what is pending is sent first.
func (s *session) arrive() {
	s.mu.Lock()
	parts := s.restored
	s.restored = nil
	for _, p := range parts {
		of := topicPartition{p.topic, p.number}
		delete(s.restoring, of)
		s.parts[of] = p
	}
	s.mu.Unlock()
	if len(parts) == 0 || !s.take(s.sendStored(parts)) {
		return
	}
	for _, p := range parts {
		if p.out.empty() {
			s.resume(p)
		} else {
			s.pause(p, ErrOutputsPending)
		}
	}
	s.measure()
}

// restores tells whether partitions are being restored.
func (s *session) restores() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.restoring) > 0
}

// cutRestores cuts the restores of partitions short that a rebalance takes.
func (s *session) cutRestores(revoked map[string][]int32) {
	of := make(map[string]map[int32]kgo.Offset)
	for topic, numbers := range revoked {
		of[topic] = make(map[int32]kgo.Offset)
		for _, number := range numbers {
			of[topic][number] = kgo.Offset{}
			s.c.standbys.giveBack(topicPartition{topic, number})
		}
	}
	s.endRestores(of)
}

// endRestores cuts the restores of these partitions short, nil: of all. What they
// have read is durable.
func (s *session) endRestores(of map[string]map[int32]kgo.Offset) {
	s.mu.Lock()
	var ends []*restoration
	for at, r := range s.restoring {
		if _, ok := of[at.topic][at.number]; ok || of == nil {
			ends = append(ends, r)
			delete(s.restoring, at)
		}
	}
	s.mu.Unlock()
	for _, r := range ends {
		r.cancel()
	}
	for _, r := range ends {
		<-r.ended
		s.unpause(r.p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.restored[:0]
	for _, p := range s.restored {
		if _, ok := s.restoring[topicPartition{p.topic, p.number}]; ok {
			kept = append(kept, p)
		}
	}
	s.restored = kept
}

// openSource makes the client that reads logs beside the group.
func (s *session) openSource() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source == nil {
		s.source, err = s.c.sourceClient()
	}
	return err
}

// reader reads the log of a partition by that client.
func (s *session) reader(p *partition) *reader {
	return &reader{cl: s.source, topic: p.topic, number: p.number, log: p.log, leader: -1, most: s.c.firstRead}
}

// sourceClient makes a client outside the group.
func (c *Consumer) sourceClient() (*kgo.Client, error) {
	opts := append([]kgo.Opt{kgo.MaxDecompressBatchBytes(mostDecompressed)}, c.opts.Client...)
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.opts.Brokers...))...)
	if err != nil {
		return nil, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	return cl, nil
}

func (s *session) closeSource() {
	if s.source != nil {
		s.source.Close()
	}
}
