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
// One goroutine: a table is never removed while it is being ingested, and not
// ingested once its segment is dead.
type queue struct {
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	jobs    []job
	later   []func() error // removing what is dead
	busy    bool
	wake    chan struct{} // closed when a job comes
	changed chan struct{} // closed when a job has ended
	failing error         // of the job that is tried again, nil when none
}

const (
	retryFirst = 100 * time.Millisecond
	retryMost  = 30 * time.Second
	// jobsPass is how many jobs at most pass what gives space back. A table that
	// is waited for should not wait for many of those; but where the queue is
	// never idle, space has to come back as well.
	jobsPass = 2
)

func newQueue() *queue {
	return &queue{
		stop: make(chan struct{}), done: make(chan struct{}),
		wake: make(chan struct{}), changed: make(chan struct{}),
	}
}

// job is work for the queue.
type job struct {
	do     func() error
	failed bool // and is tried again
	later  bool
}

// errMore is returned by a job that has done a part of its work.
var errMore = errors.New("store: the job goes on")

func (q *queue) add(do func() error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, job{do: do})
	q.signal(&q.wake)
}

// signal wakes everyone who waits on *c. The caller holds mu.
func (q *queue) signal(c *chan struct{}) {
	close(*c)
	*c = make(chan struct{})
}

// addLater adds a job that others pass: removing what is dead.
func (q *queue) addLater(do func() error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.later = append(q.later, do)
	q.signal(&q.wake)
}

// state returns a channel that closes when the next job ends, and the error of
// a job that fails again and again.
func (q *queue) state() (changed <-chan struct{}, failing error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed, q.failing
}

// run works until stop closes. A job that is not done goes behind the others,
// and so does one that failed; when all that are left have failed, it waits. What
// would give space back is done when no job can be, and from time to time.
func (q *queue) run() {
	defer close(q.done)
	delay, failures, laterFailed, passed := retryFirst, 0, false, 0
	for {
		q.mu.Lock()
		failing := failures > 0 && failures >= len(q.jobs)
		able := len(q.jobs) > 0 && !failing
		var j job
		switch {
		case len(q.later) > 0 && !laterFailed && (!able || passed == jobsPass):
			j, q.later, passed = job{do: q.later[0], later: true}, q.later[1:], 0
		case able:
			j, q.jobs, passed = q.jobs[0], q.jobs[1:], min(passed+1, jobsPass)
		}
		q.busy = j.do != nil
		wake := q.wake
		q.mu.Unlock()
		if j.do == nil {
			var retry <-chan time.Time
			if failing || laterFailed {
				retry = time.After(delay)
				delay, failures, laterFailed = min(2*delay, retryMost), 0, false
			}
			select {
			case <-wake:
			case <-retry:
			case <-q.stop:
				return
			}
			continue
		}
		err := j.do()
		q.mu.Lock()
		q.busy = false
		more := errors.Is(err, errMore)
		if more {
			q.jobs = append(q.jobs, job{do: j.do})
		}
		switch {
		case err != nil && !more:
			q.failing = err
			if j.later {
				q.later, laterFailed = append(q.later, j.do), true
			} else {
				q.jobs = append(q.jobs, job{do: j.do, failed: true})
				failures++
			}
		case j.failed || len(q.jobs) == 0:
			q.failing, delay, failures = nil, retryFirst, 0
		}
		q.signal(&q.changed)
		q.mu.Unlock()
		if errors.Is(err, ErrPoisoned) || errors.Is(err, ErrCorrupt) {
			return // the store has stopped
		}
		select {
		case <-q.stop:
			return
		default:
		}
	}
}

// drain waits until nothing is left to do, or the queue fails.
func (q *queue) drain() error {
	for {
		q.mu.Lock()
		idle := len(q.jobs)+len(q.later) == 0 && !q.busy
		changed, failing := q.changed, q.failing
		q.mu.Unlock()
		if idle || failing != nil {
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
// segment has died meanwhile.
func (s *Store) spillJob(ns uint32, g *segment) func() error {
	return func() error {
		if g.dead.Load() {
			return nil
		}
		k, counted := s.keep(g)
		defer counted() // by the namespace, or nobody needs it
		w, err := s.spill(ns, g, k.add)
		if err != nil {
			return fmt.Errorf("write the table of segment %d of namespace %d: %w", g.num, ns, s.fault.found(err))
		}
		if g.dead.Load() {
			return w.remove()
		}
		if err := s.ingest(w); err != nil {
			return err
		}
		t := w.sealed()
		if len(k.slabs) > 0 {
			t.kept = k
		}
		g.spilled.Store(t)
		s.settle(ns)
		return nil
	}
}

// ingest makes a table part of the database, or removes its file.
func (s *Store) ingest(w *tableWriter) error {
	err := s.editTables("ingest a table", func() error {
		return s.db.Ingest(context.Background(), []string{w.path})
	})
	if err != nil {
		return w.failed(err)
	}
	return nil
}

// exciseJob removes the table of a dropped segment. Its dead record goes with
// the next batch of the namespace. An excise holds up commits for a sync of the
// manifest, so that many of them take a fifth of the time and no more.
func (s *Store) exciseJob(ns uint32, num uint64) func() error {
	return func() error {
		start := time.Now()
		from := segKey(kindPage, ns, num)
		err := s.editTables("remove a dropped table", func() error {
			return s.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: after(from)})
		})
		if err != nil {
			return err
		}
		s.excised(ns, num)
		pause := time.NewTimer(min(4*time.Since(start), 20*time.Millisecond))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-s.closing:
		}
		return nil
	}
}
