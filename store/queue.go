package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// queue does what no batch should wait for: writing tables and removing them.
// One goroutine, in order: a table is never removed before it was ingested.
type queue struct {
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	jobs    []func() error
	busy    bool
	wake    chan struct{} // closed when a job comes
	changed chan struct{} // closed when a job has ended
	failing error         // of the job that is tried again, nil when none
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 30 * time.Second
)

func newQueue() *queue {
	return &queue{
		stop: make(chan struct{}), done: make(chan struct{}),
		wake: make(chan struct{}), changed: make(chan struct{}),
	}
}

func (q *queue) add(job func() error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, job)
	q.signal(&q.wake)
}

// signal wakes everyone who waits on *c. The caller holds mu.
func (q *queue) signal(c *chan struct{}) {
	close(*c)
	*c = make(chan struct{})
}

// state returns a channel that closes when the next job ends, and the error of
// a job that fails again and again.
func (q *queue) state() (changed <-chan struct{}, failing error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed, q.failing
}

// run works until stop closes. A job that fails is tried again, with back-off,
// before any other: order is what makes the queue right.
func (q *queue) run() {
	defer close(q.done)
	delay := retryFirst
	for {
		q.mu.Lock()
		var job func() error
		if len(q.jobs) > 0 {
			job, q.busy = q.jobs[0], true
		}
		wake := q.wake
		q.mu.Unlock()
		if job == nil {
			select {
			case <-wake:
				continue
			case <-q.stop:
				return
			}
		}
		err := job()
		q.mu.Lock()
		q.failing, q.busy = err, false
		if err == nil {
			q.jobs[0] = nil
			q.jobs = q.jobs[1:]
		}
		q.signal(&q.changed)
		q.mu.Unlock()
		if err == nil {
			delay = retryFirst
			select {
			case <-q.stop:
				return
			default:
				continue
			}
		}
		if errors.Is(err, ErrPoisoned) || errors.Is(err, ErrCorrupt) {
			return // the store has stopped
		}
		timer := time.NewTimer(delay)
		delay = min(2*delay, retryMost)
		select {
		case <-timer.C:
		case <-q.stop:
			timer.Stop()
			return
		}
	}
}

// drain waits until nothing is left to do, or the queue fails.
func (q *queue) drain() error {
	for {
		q.mu.Lock()
		left, changed, failing := len(q.jobs), q.changed, q.failing
		q.mu.Unlock()
		if left == 0 || failing != nil {
			return failing
		}
		select {
		case <-changed:
		case <-q.done:
			return ErrClosed
		}
	}
}

// spillJob writes the table of a frozen segment and ingests it, unless the
// segment has died meanwhile. A file that could not be synced is never synced
// again: every try writes a new one.
func (s *Store) spillJob(ns uint32, g *segment) func() error {
	try := 0
	return func() error {
		if g.dead.Load() {
			return nil
		}
		try++
		path := s.fs.PathJoin(s.spillDir(), spillName(ns, g.num, try))
		t, err := g.spill(s.fs, path, ns, s.secret, s.tables)
		if err != nil {
			if errors.Is(err, ErrCorrupt) {
				s.fault.set(err)
			}
			return fmt.Errorf("write the table of segment %d of namespace %d: %w", g.num, ns, err)
		}
		if g.dead.Load() {
			return s.fs.Remove(path)
		}
		err = s.fault.write("ingest a table", s.opts.CommitTimeout, func() error {
			return s.db.Ingest(context.Background(), []string{path})
		})
		if err != nil {
			return errors.Join(err, s.fs.Remove(path))
		}
		g.spilled.Store(t)
		s.settle(ns)
		return nil
	}
}

// exciseJob removes the table of a dropped segment. Its dead record goes with
// the next batch of the namespace.
func (s *Store) exciseJob(ns uint32, num uint64) func() error {
	return func() error {
		from := segKey(kindPage, ns, num)
		err := s.fault.write("remove a dropped table", s.opts.CommitTimeout, func() error {
			return s.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: after(from)})
		})
		if err != nil {
			return err
		}
		s.excised(ns, num)
		return nil
	}
}
