package adapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firstseen/firstseen/store"
)

// sendPatience is how long a round waits for its outputs. What Kafka has not
// acknowledged by then stays on its way while the partition goes on.
const sendPatience = 5 * time.Second

// send sends what is pending of these partitions, by topic in the order in which
// it was staged, and waits for Kafka as long as that helps. What Kafka refuses
// for good is treated as OnFailure says; what fails otherwise is sent again after a
// pause.
func (s *session) send(parts []*partition) error {
	if s.txn != nil {
		return s.transact(parts)
	}
	ctx, cancel := context.WithTimeout(s.work, sendPatience)
	defer cancel()
	ready := func(topic string) error { return s.topics.ready(ctx, topic) }
	var errs []error
	for more := true; more && len(errs) == 0; {
		var waits []<-chan struct{}
		for _, p := range parts {
			if !p.tries.refused {
				waits = append(waits, p.out.start(s, ready)...)
			}
		}
		more = len(waits) > 0 && await(ctx, waits)
		for _, p := range parts {
			errs = append(errs, p.collect()...)
			if !more {
				p.out.giveUpWaiting()
			}
		}
	}
	s.owe(parts)
	return errors.Join(errs...)
}

// sendStored sends what is pending when partitions are assigned. Transactions are
// the loop's: there the partitions wait for the next one.
func (s *session) sendStored(parts []*partition) error {
	if s.txn == nil {
		return s.send(parts)
	}
	for _, p := range parts {
		p.sent = max(p.sent, p.out.settled(p.batch))
	}
	return nil
}

// collect takes over what Kafka has answered. The errors are those of outputs
// that it refuses for good, where Run is to end for them.
func (p *partition) collect() (errs []error) {
	acked, refused := p.out.collect(func(out *output) bool { return p.final(out) })
	p.s.c.stats.outputs.Add(uint64(acked))
	p.sent = max(p.sent, p.out.settled(p.batch))
	for _, out := range refused {
		if err := p.refused(out); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// final tells whether an output failed for good. A topic of records that are
// kept aside may come back, as brokers do.
func (p *partition) final(out *output) bool {
	if errors.Is(out.err, ErrUnknownTopic) || errors.Is(out.err, kerr.UnknownTopicOrPartition) {
		return !p.s.c.opts.isAside(out.rec.Topic)
	}
	var answer *kerr.Error
	return errors.As(out.err, &answer) && !answer.Retriable && !errors.Is(out.err, kerr.UnknownTopicID)
}

// refusal is the error of an output that Kafka refuses for good.
func (p *partition) refusal(out *output) error {
	origin := ""
	for _, h := range out.rec.Headers {
		if h.Key == HeaderOrigin {
			origin = string(h.Value)
		}
	}
	return fmt.Errorf("%w: to %s/%d, of the record at %s/%d (origin %s): %w; "+
		"mend the topic and run again, it is sent first",
		ErrOutputRefused, out.rec.Topic, out.rec.Partition, p.topic, p.number, origin, out.err)
}

// owe notes which of these partitions have outputs that are not acknowledged.
func (s *session) owe(parts []*partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		if n, _ := p.out.size(); n > 0 {
			s.owing[p] = true
		} else {
			delete(s.owing, p)
		}
	}
}

// withOwing returns these partitions and those that have outputs pending. With
// transactions it returns all: one holds what several polls have left.
func (s *session) withOwing(parts []*partition) []*partition {
	if s.txn != nil {
		return s.assigned()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.owing) == 0 {
		return parts
	}
	all := make(map[*partition]bool, len(s.owing)+len(parts))
	for p := range s.owing {
		if s.parts[topicPartition{p.topic, p.number}] == p { // or it is about to be assigned
			all[p] = true
		}
	}
	for _, p := range parts {
		all[p] = true
	}
	return slices.Collect(maps.Keys(all))
}

// box returns the outbox of a partition in this session.
func (s *session) box(of topicPartition, log store.ID) *outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.boxes[of]; b != nil && b.log == log {
		return b
	}
	b := &outbox{log: log}
	s.boxes[of] = b
	return b
}
