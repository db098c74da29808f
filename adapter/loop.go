package adapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// loop polls until the session is to end, and then commits once more.
func (s *session) loop(ctx context.Context) {
	for {
		polled := s.pollRecords()
		if len(polled) == 0 {
			continue // a rebalance took it back; no rebalance waits for us
		}
		if s.survives(ctx, polled) {
			quiet := polled.NumRecords() == 0
			s.arrive()
			if quiet {
				s.quiet()
			} else {
				s.round(ctx, polled)
			}
			s.take(s.damaged(polled))
			s.checkEnd(quiet)
		}
		if s.over() != nil {
			s.finish()
			return
		}
		s.allowRebalance()
	}
}

// idle is how long a poll waits for records when there is something else to do:
// the end to be looked for, or offsets to be committed that Kafka has not
// acknowledged, since the partition was taken over or a commit failed.
const idle = 500 * time.Millisecond

func (s *session) pollRecords() kgo.Fetches {
	ctx, cancel := context.WithCancel(s.poll)
	defer cancel()
	s.mu.Lock()
	s.nudge = cancel
	if len(s.restored) > 0 {
		cancel()
	}
	s.mu.Unlock()
	s.c.pauses.awake(cancel)
	wait := s.patience()
	switch {
	case s.growing():
		wait = growWait
	case (s.c.opts.UntilEnd || s.isFenced()) && (wait == 0 || wait > idle):
		wait = idle
	}
	if wait > 0 {
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return s.cl.PollRecords(ctx, s.c.opts.MaxPollRecords)
}

// round takes what was polled through the order of R10: handler, local batch,
// outputs, offset. Each step begins when the one before it is acknowledged.
func (s *session) round(ctx context.Context, polled kgo.Fetches) {
	batches := s.batches(polled)
	if len(batches) == 0 || !s.take(s.reached("polled")) {
		return
	}
	within, cancel := context.WithTimeout(s.work, s.c.opts.BatchTimeout)
	defer cancel()
	parts := make([]*partition, len(batches))
	for i := range batches {
		parts[i] = batches[i].p
	}
	run, cancel := s.giveWay(ctx)
	defer cancel()
	decided := each(batches, func(b fetched) error {
		return b.p.guarded(within, func() error { return b.p.decide(within, run, b.recs) })
	})
	if !s.take(decided) {
		return
	}
	parts = slices.DeleteFunc(parts, (*partition).givenUp)
	s.progressed = true
	if !s.grows(parts) {
		s.deliver(parts, s.reached)
	}
	for _, p := range parts {
		s.take(p.stopped)
	}
	s.take(s.hanging())
	s.measure()
}

// quiet is a round without records.
func (s *session) quiet() {
	s.deliver(s.assigned(), func(string) error { return nil })
}

// deliver sends what is pending, and commits the offsets of partitions of which
// all is acknowledged.
func (s *session) deliver(parts []*partition, reached func(step string) error) {
	parts = s.withOwing(parts)
	sent := s.send(parts)
	if isAgain(sent) || isCrash(sent) || !s.take(reached("sent")) {
		s.take(sent)
		return
	}
	s.standstill(parts)
	reported := s.take(s.report(parts))
	s.holdBack(s.assigned())
	if reported && s.take(reached("committed")) {
		for _, p := range parts {
			if p.owesK() {
				s.take(p.flush())
			}
		}
	}
	s.take(sent)
}

var errRecreated = errors.New("the topic was deleted and created anew")

// fetched are the records of one partition in one poll.
type fetched struct {
	p    *partition
	recs []*kgo.Record
}

// batches sorts what was polled by partition. Records of a partition that the
// session does not have, or of another topic ID than its position's, end it.
func (s *session) batches(polled kgo.Fetches) []fetched {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPartition := make(map[topicPartition]int)
	var batches []fetched
	polled.EachTopic(func(t kgo.FetchTopic) {
		for _, fp := range t.Partitions {
			if len(fp.Records) == 0 {
				continue
			}
			key := topicPartition{t.Topic, fp.Partition}
			p := s.parts[key]
			switch {
			case t.TopicID == [16]byte{}:
				s.endLocked(fmt.Errorf("%w in what is fetched: %q; use brokers of Kafka 3.1 or later",
					ErrNoTopicID, t.Topic))
				continue
			case p == nil || t.TopicID != p.log:
				s.endLocked(&again{fmt.Errorf("%s/%d: %w", t.Topic, fp.Partition, errRecreated)})
				continue
			}
			p.end = fp.LastStableOffset
			i, ok := byPartition[key]
			if !ok {
				i = len(batches)
				byPartition[key] = i
				batches = append(batches, fetched{p: p})
			}
			batches[i].recs = append(batches[i].recs, fp.Records...)
		}
	})
	if s.reason != nil {
		return nil
	}
	return batches
}

// each calls fn for every element, as many side by side as there are
// processors, and joins their errors.
func each[T any](of []T, fn func(T) error) error {
	if len(of) == 1 {
		return fn(of[0])
	}
	errs := make([]error, len(of))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(len(of), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				errs[i] = fn(of[i])
			}
		})
	}
	for i := range of {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// assigned returns the partitions that the session has.
func (s *session) assigned() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.parts))
}

// survives looks for errors among what was polled. It returns false when one of
// them ends the session; what was polled with it is read again.
func (s *session) survives(ctx context.Context, polled kgo.Fetches) bool {
	if ctx.Err() != nil {
		s.end(errDone)
	}
	polled.EachError(func(topic string, number int32, err error) {
		what := fmt.Sprintf("%s/%d", topic, number)
		var session *kgo.ErrGroupSession
		if errors.As(err, &session) {
			what = fmt.Sprintf("group %q", s.c.opts.Group)
		}
		switch {
		case session == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)),
			damageOf(err) != nil: // once the records before it are done
		case endsSession(err), errors.Is(err, kgo.ErrClientClosed), session != nil && passes(err):
			s.end(&again{fmt.Errorf("%s: %w", what, err)})
		default:
			s.end(fmt.Errorf("%w: %s: %w; %s", ErrConsumeRefused, what, err, wayOut(err)))
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced && s.reason == nil {
		if s.lost {
			s.endLocked(&again{errors.New("the group lost this member")})
		}
		s.lost = true // the next poll may tell why
		return false
	}
	return s.reason == nil
}

// reached is called when a step of the loop is done.
func (s *session) reached(step string) error {
	if s.c.step == nil {
		return nil
	}
	if err := s.c.step(step); err != nil {
		return &crash{err}
	}
	return nil
}

// crash ends a session as the death of the process does: nothing follows.
type crash struct{ err error }

func (c *crash) Error() string { return c.err.Error() }
func (c *crash) Unwrap() error { return c.err }

func isCrash(err error) bool {
	var c *crash
	return errors.As(err, &c)
}

// checkEnd ends the session when all partitions have reached the end. A poll was
// quiet when it brought no records.
func (s *session) checkEnd(quiet bool) {
	if !s.c.opts.UntilEnd || s.over() != nil || s.restores() {
		return
	}
	var failed []error
	for _, p := range s.assigned() {
		switch {
		case p.failed != nil: // it goes nowhere by itself
			failed = append(failed, p.failed)
		case !p.out.empty() || !p.atEnd(quiet):
			return
		}
	}
	if len(failed) > 0 {
		s.end(errors.Join(failed...))
		return
	}
	s.mu.Lock()
	had := s.had && len(s.standing) == 0
	s.mu.Unlock()
	if had {
		s.end(errDone)
	}
}
