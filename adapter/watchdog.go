package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// hangPatience is how long a handler may take to return when its context has
// ended.
const hangPatience = 5 * time.Second

// What is to become of the batch that is being made.
const (
	batchOpen    = iota // the handlers run
	batchWritten        // it becomes durable, whatever comes
	batchGivenUp        // it never does: its handler did not return in time
)

// A hang is a handler that has not returned though its context had ended. Nothing
// can stop it; its partition stands until it returns, its batch never becomes
// durable, and everything else goes on.
type hang struct{ returned chan struct{} }

func (h *hang) over() bool {
	select {
	case <-h.returned:
		return true
	default:
		return false
	}
}

// hangs are those of a consumer: they outlive the sessions.
type hangs struct {
	mu  sync.Mutex // held over nothing else
	now map[topicPartition]*hang
}

func (h *hangs) add(of topicPartition, one *hang) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		h.now = make(map[topicPartition]*hang)
	}
	h.now[of] = one
}

// standing returns those that have not returned.
func (h *hangs) standing() map[topicPartition]*hang {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make(map[topicPartition]*hang)
	for of, one := range h.now {
		if one.over() {
			delete(h.now, of)
		} else {
			all[of] = one
		}
	}
	return all
}

// err is what Run returns of handlers that it leaves behind.
func (h *hangs) err() error {
	var errs []error
	for of := range h.standing() {
		errs = append(errs, fmt.Errorf("%w: of %s/%d; nothing of its batch is kept; "+
			"have it return when its context ends", ErrHandlerHangs, of.topic, of.number))
	}
	return errors.Join(errs...)
}

// guarded calls fn, in which handlers of the partition run with this context. When
// fn does not return in time after the end of that, the partition is given up:
// guarded returns, the batch never becomes durable, and the session ends when the
// other partitions are through.
func (p *partition) guarded(ctx context.Context, fn func() error) error {
	var err error
	h := &hang{returned: make(chan struct{})}
	go func() {
		defer close(h.returned)
		err = fn()
	}()
	select {
	case <-h.returned:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(hangPatience)
	defer timer.Stop()
	select {
	case <-h.returned:
		return err
	case <-timer.C:
	}
	if !p.batchState.CompareAndSwap(batchOpen, batchGivenUp) { // it has returned just now
		<-h.returned
		return err
	}
	return p.s.giveUp(p, h)
}

// giveUp has nobody touch the partition any more.
func (s *session) giveUp(p *partition, h *hang) error {
	of := topicPartition{p.topic, p.number}
	s.c.hangs.add(of, h)
	s.c.opts.Logger.Error("a handler does not return, though its context has ended; its partition stands",
		"topic", p.topic, "partition", p.number, "offset", p.next.Offset)
	s.c.pauses.set(of, Pause{Topic: p.topic, Partition: p.number, Offset: p.next.Offset, Err: ErrHandlerHangs})
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.parts, of)
	delete(s.owing, p)
	s.standing[of] = true
	s.hung = &again{fmt.Errorf("%s/%d: %w", p.topic, p.number, ErrHandlerHangs)}
	return nil
}

// givenUp tells whether a handler of the partition hangs in this session.
func (p *partition) givenUp() bool { return p.batchState.Load() == batchGivenUp }

// beginBatch begins another batch, unless the partition was given up.
func (p *partition) beginBatch() { p.batchState.CompareAndSwap(batchWritten, batchOpen) }

// mayCommit asks, at the end of a batch, whether it may become durable: its handler
// was in time, and the partition is still the member's.
func (p *partition) mayCommit() error {
	if !p.batchState.CompareAndSwap(batchOpen, batchWritten) {
		return &again{fmt.Errorf("%s/%d: %w", p.topic, p.number, ErrHandlerHangs)}
	}
	return p.s.vouched(p)
}

// hanging returns why another session follows, when a handler hangs in this one.
func (s *session) hanging() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hung
}

// watchHangs ends the session when a handler has returned whose partition stands
// in it: the next one begins with the partition.
func (s *session) watchHangs() {
	var watch sync.WaitGroup
	for of, h := range s.c.hangs.standing() {
		watch.Go(func() {
			select {
			case <-h.returned:
				s.c.pauses.end(of)
				if s.stands(of) {
					s.end(&again{fmt.Errorf("%s/%d: the handler has returned", of.topic, of.number)})
				}
			case <-s.poll.Done():
			}
		})
	}
	watch.Wait()
}

func (s *session) stands(of topicPartition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing[of]
}
