package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/firstseen/firstseen/store"
)

// A CommitStrategy says when Kafka hears of a position. What is durable in the
// store never waits for it: after a crash a partition starts at the store's
// position, whatever Kafka knows. Kafka's offset counts where another instance
// takes over without the store: it repeats what was not committed.
//
// Whatever the strategy, Kafka hears of a position when its batch is durable and
// its outputs are acknowledged; a commit that failed is made again by the next one;
// none is below an earlier one; and every position is committed, with a deadline of
// its own, when a partition is revoked and when Run ends. The zero value is
// CommitPerPoll.
type CommitStrategy struct {
	kind     commitKind
	records  int
	interval time.Duration
}

type commitKind uint8

const (
	commitPerPoll commitKind = iota
	commitPerRecord
	commitAsync
	commitEvery
)

// CommitPerPoll commits after every poll, and waits for Kafka's answer before the
// next one.
func CommitPerPoll() CommitStrategy { return CommitStrategy{} }

// CommitPerRecord commits after every record: polls bring one, whatever
// Options.MaxPollRecords says. Each record costs a sync of the disk and an answer
// of Kafka, and another instance that takes over repeats one record at most.
func CommitPerRecord() CommitStrategy { return CommitStrategy{kind: commitPerRecord} }

// CommitAsync commits after every poll without waiting for the answer. One commit
// is under way at a time: what moves meanwhile goes with the next poll's, and so
// does what failed. So no commit is overtaken by an older one. Under
// Options.Transactional, what does not go with a transaction is waited for.
func CommitAsync() CommitStrategy { return CommitStrategy{kind: commitAsync} }

// CommitEvery commits when positions have moved by so many offsets in all
// partitions together, or so long after the last commit, whichever is first. Zero
// leaves one of them out: by a number alone, what is below it waits for more
// records, or for the end.
func CommitEvery(records int, interval time.Duration) CommitStrategy {
	return CommitStrategy{commitEvery, records, interval}
}

// validate tells what is wrong with a strategy.
func (c CommitStrategy) validate() error {
	if c.kind == commitEvery && (c.records < 0 || c.interval < 0 || c.records == 0 && c.interval == 0) {
		return fmt.Errorf("adapter: Commit is CommitEvery(%d, %v); give a positive number, a positive duration, or both",
			c.records, c.interval)
	}
	return nil
}

// due tells whether Kafka is to hear of positions that have moved by so much since
// a commit so long ago.
func (c CommitStrategy) due(moved int64, since time.Duration) bool {
	if c.kind != commitEvery {
		return true
	}
	return c.records > 0 && moved >= int64(c.records) || c.interval > 0 && since >= c.interval
}

// commits are those of a session.
type commits struct {
	mu   sync.Mutex // guards what follows; held over no call
	last time.Time  // when the last one was made
	away *commitUnderway
	by   time.Time // when the final one has to be done; zero: no final one
}

// commitUnderway is a commit that is not waited for.
type commitUnderway struct {
	offered  *offered
	answers  map[topicPartition]error
	err      error
	answered chan struct{} // closed when the others are set
}

// report tells Kafka of positions, when the strategy says so: those of these
// partitions, and of all that Kafka has not heard of before.
func (s *session) report(parts []*partition) error {
	c, strategy := &s.commits, s.c.opts.Commit
	if err := s.land(false); err != nil || c.underway() {
		return err
	}
	parts = s.behind(parts)
	moved, due := int64(0), false
	for _, p := range parts {
		n := p.uncommitted()
		moved += n
		due = due || p.beyond(n)
	}
	c.mu.Lock()
	if c.last.IsZero() {
		c.last = time.Now()
	}
	since := time.Since(c.last)
	c.mu.Unlock()
	if len(parts) == 0 || !due && !strategy.due(moved, since) {
		return nil
	}
	c.mu.Lock()
	c.last = time.Now()
	c.mu.Unlock()
	if s.membership.joining.Load() {
		return nil // it would wait for the group
	}
	if strategy.kind == commitAsync && s.txn == nil { // it could overtake a transaction
		return s.launch(parts)
	}
	return s.commit(parts, false)
}

// behind returns these partitions and all others that Kafka has not heard of.
func (s *session) behind(parts []*partition) []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[*partition]bool, len(parts))
	for _, p := range parts {
		seen[p] = true
	}
	all := append([]*partition(nil), parts...)
	for _, p := range s.parts {
		if !seen[p] && p.moved() {
			all = append(all, p)
		}
	}
	return all
}

// launch commits without waiting.
func (s *session) launch(parts []*partition) error {
	o, err := s.offer(parts, false)
	if err != nil || o == nil {
		return err
	}
	away := &commitUnderway{offered: o, answered: make(chan struct{})}
	s.commits.mu.Lock()
	s.commits.away = away
	s.commits.mu.Unlock()
	go func() {
		defer close(away.answered)
		away.answers, away.err = s.commitSync(o.at, o.sent)
	}()
	return nil
}

// land takes over the answer to a commit that was not waited for, as soon as it is
// there; or waits until it is, which takes a commit's time at most.
func (s *session) land(waits bool) error {
	s.commits.mu.Lock()
	away := s.commits.away
	s.commits.mu.Unlock()
	if away == nil {
		return nil
	}
	if !waits {
		select {
		case <-away.answered:
		default:
			return nil
		}
	}
	<-away.answered
	s.commits.mu.Lock()
	s.commits.away = nil
	s.commits.mu.Unlock()
	if away.err != nil {
		return away.err
	}
	return s.accepted(away.offered, away.answers)
}

func (c *commits) underway() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away != nil
}

// commitFinally commits every position, moved or not, and tries again what Kafka
// does not take, until it has all or a deadline of its own is over.
func (s *session) commitFinally(parts []*partition) error {
	c := &s.commits
	c.mu.Lock()
	c.by = time.Now().Add(commitTimeout)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.by = time.Time{}
		c.mu.Unlock()
	}()
	err := s.commit(parts, true)
	for failures := 0; err == nil && s.owesOffset(parts); failures++ {
		pause := backOff(failures)
		if s.commitTime() <= pause {
			s.c.opts.Logger.Warn("offsets were not committed; another instance would repeat what lies above them",
				"group", s.c.opts.Group)
			return nil
		}
		wait(context.WithoutCancel(s.work), pause)
		err = s.commit(parts, false)
	}
	return err
}

// owesOffset tells whether Kafka has not taken a position that it could.
func (s *session) owesOffset(parts []*partition) bool {
	for _, p := range parts {
		if p.out.empty() && p.moved() {
			return true
		}
	}
	return false
}

// commitTime returns how long a commit may take now.
func (s *session) commitTime() time.Duration {
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	if s.commits.by.IsZero() {
		return commitTimeout
	}
	return time.Until(s.commits.by)
}

// patience returns how long a poll may wait for records when there is something
// to be committed meanwhile; 0: as long as it likes.
func (s *session) patience() time.Duration {
	strategy, moved, open := s.c.opts.Commit, int64(0), false
	for _, p := range s.assigned() {
		if !p.moved() {
			continue
		}
		open = true
		moved += p.uncommitted()
		if strategy.kind != commitEvery || p.paused != nil || !p.out.empty() {
			return idle
		}
	}
	s.commits.mu.Lock()
	since := time.Since(s.commits.last)
	s.commits.mu.Unlock()
	switch {
	case !open:
		return 0
	case strategy.due(moved, since): // and was not taken
		return idle
	case strategy.interval > 0:
		return strategy.interval - since
	default:
		return 0
	}
}

// uncommitted returns how many offsets lie between what Kafka knows and the
// position.
func (p *partition) uncommitted() int64 {
	known := p.known
	if p.committed.Tag != "" {
		known = p.committed.Offset
	}
	return max(0, p.next.Offset-known)
}

// beyond tells whether so many offsets are more than may be uncommitted.
func (p *partition) beyond(n int64) bool {
	most := p.s.c.opts.MaxUncommitted
	return most > 0 && n >= int64(most)
}

// holdBack pauses partitions whose offsets Kafka does not take, and resumes them
// when it has (E20).
func (s *session) holdBack(parts []*partition) {
	for _, p := range parts {
		switch beyond := p.beyond(p.uncommitted()); {
		case beyond && p.paused == nil:
			s.pause(p, ErrUncommitted)
		case !beyond && errors.Is(p.paused, ErrUncommitted):
			s.resume(p)
		}
	}
}

// knownOffset returns what Kafka knows of a partition when it starts at a position.
func (p *partition) knownOffset(position store.Position) int64 {
	if p.in.Committed.Present {
		return p.in.Committed.Offset
	}
	return position.Offset
}
