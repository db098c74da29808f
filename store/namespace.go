package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firstseen/firstseen/window"
)

// Namespace is a space in which an ID is unique and time has one order: for
// Kafka, one partition of one topic as one group reads it. Its methods may be
// called from any goroutine; batches of one namespace follow each other.
type Namespace struct {
	s    *Store
	name string
	num  uint32

	owner  chan struct{}          // holds a token while a goroutine owns the fields below
	flight atomic.Pointer[flight] // of the newest batch, until the owner has landed it; nil: none

	rules   rules
	opts    NamespaceOptions // those in force
	loaded  bool
	index   index
	head    head
	row     row
	failed  Position // of the record whose function failed; zero: none
	ages    Ages
	pending []unsettled
	total   counts

	idScratch // lent by the store while a batch runs

	status  atomic.Pointer[Status]
	used    atomic.Int64 // Store.uses of its newest batch, or of when it was read
	deleted atomic.Bool  // from just before it is

	picture atomic.Pointer[picture]

	mu      sync.Mutex
	leaving map[uint64]bool // dead segments whose tables are being removed; true: are gone
	reading chan struct{}   // closed when the markers were read; nil: nobody waits
}

// Name returns the namespace's name.
func (n *Namespace) Name() string { return n.name }

// Window returns how long a marker counts.
func (n *Namespace) Window() window.Window { return n.status.Load().Settings.Window }

// Do decides one record in a batch of its own: see Batch.Do. It is the simplest
// way to use a store, and the slowest: one sync a record.
func (n *Namespace) Do(r Record, fn func(*Tx) error) (Decision, error) {
	var d Decision
	var refused error // by Batch.Do, or by fn
	err := n.Update(func(b *Batch) error {
		if d, refused = b.Do(r, fn); errors.Is(refused, ErrReplay) {
			return nil // counted
		}
		return refused
	})
	switch {
	case refused != nil:
		return d, refused
	case err != nil:
		return Decision{}, err // decided, but not durable
	}
	return d, nil
}

// Update calls fn with a batch and makes what it did durable in one synced
// step. When fn returns an error, or panics, nothing of the batch remains, and
// the error is returned, or the panic goes on.
//
// An error of Update itself means that nothing was accepted; but for
// ErrPoisoned, where only a new Open tells. After ErrDiskFull and ErrBacklog it
// may be called again, and after ErrBatchTooLarge with less. fn runs once, on the caller's
// goroutine, and must not call Update, Do or Close: they would wait for it.
//
// Calls of one namespace follow each other. When several goroutines call, fn of the
// next one runs while the batch before it is being synced, and finds what that has
// left; each call returns when its own batch, and those before it, are durable. What
// fn learns is provisional until then.
func (n *Namespace) Update(fn func(*Batch) error) error {
	err := n.update(fn, true)
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	// What has expired goes all the same: it is what makes room.
	if dropped := n.update((*Batch).drop, false); dropped != nil && !errors.Is(dropped, ErrDiskFull) {
		err = errors.Join(err, dropped)
	}
	return err
}

// update is Update. A batch that brings nothing, but advances the clock or drops
// what has expired, is also taken by a full disk: it would never be rid of
// anything otherwise.
func (n *Namespace) update(fn func(*Batch) error, brings bool) error {
	if err := n.s.writable("namespace %q takes no batch", n.name); err != nil {
		return err
	}
	if err := n.s.enter(); err != nil {
		return err
	}
	defer n.s.leave()
	if err := n.take(); err != nil {
		return err
	}
	f, err := n.batch(fn, brings)
	if f == nil {
		return err
	}
	return f.arrive()
}

// batch runs a batch. The caller has taken the namespace, which is given back. What
// it returns is under way to the disk, or nil when there is nothing to wait for.
func (n *Namespace) batch(fn func(*Batch) error, brings bool) (_ *flight, err error) {
	defer n.giveBack()
	follows := brings && n.follows()
	if !follows {
		if err := n.land(); err != nil {
			return nil, err
		}
	}
	if err := n.load(true); err != nil {
		return nil, err
	}
	if brings {
		if err := n.s.disk.admit(); err != nil {
			return nil, fmt.Errorf("namespace %q: %w", n.name, err)
		}
	}
	if follows {
		n.index.follow()
	} else if err := n.index.begin(n.head.clock, brings); err != nil {
		return nil, fmt.Errorf("namespace %q: %w", n.name, err)
	}
	b := &Batch{
		n: n, head: n.head, row: n.row.clone(), ages: n.ages, failed: n.failed,
		wall: n.s.opts.Now().UnixMilli(),
	}
	done := false
	n.idScratch = borrow[idScratch](&n.s.scratch.ids)
	defer func() {
		b.ended.Store(true)
		if !done {
			n.index.rollback()
			// What fn was told is durable as well, or the caller knows.
			if lost := n.land(); lost != nil {
				err = errors.Join(err, lost)
			}
		}
		clear(n.raw[:cap(n.raw)])               // the caller's memory must not hang on
		giveBack(&n.s.scratch.ids, n.idScratch) // nobody looks up any more
		n.idScratch = idScratch{}
	}()
	if err := fn(b); err != nil {
		return nil, err
	}
	if b.dirty {
		if err := b.fits(brings); err != nil {
			return nil, err
		}
		done = true
		return b.commit(brings)
	}
	done = true
	n.index.rollback()
	if err := n.land(); err != nil { // what it was told is durable when it returns
		return nil, err
	}
	n.total.addAll(b.counts)
	n.publish()
	return nil, nil
}

// keep makes a batch what the owner goes by.
func (n *Namespace) keep(b *Batch) {
	n.head, n.row, n.ages, n.failed = b.head, b.row, b.ages, b.failed
	for len(n.pending) > 0 && n.pending[0].seq <= b.settled {
		n.pending = n.pending[1:]
	}
	if len(b.outs) > 0 {
		n.stagedIn(n.head.sequence, len(b.outs))
	}
	n.total.addAll(b.counts)
	n.used.Store(n.s.uses.Add(1))
}

// own waits until the namespace is the caller's, and everything of it durable.
func (n *Namespace) own() error {
	if err := n.s.enter(); err != nil {
		return err
	}
	err := n.take()
	if err == nil {
		if err = n.land(); err == nil {
			return nil
		}
		n.giveBack()
	}
	n.s.leave()
	return err
}

func (n *Namespace) disown() {
	n.giveBack()
	n.s.leave()
}

// take waits until nobody else owns the namespace. A batch of it may still be on its
// way to the disk.
func (n *Namespace) take() error {
	select {
	case n.owner <- struct{}{}:
		if err := n.there(); err != nil {
			n.giveBack()
			return err
		}
		return nil
	case <-n.s.closing:
		return ErrClosed
	case <-n.s.fault.done:
		return n.s.fault.get()
	}
}

// giveBack lets the next one own the namespace. A batch that arrived meanwhile
// found it taken, and is landed.
func (n *Namespace) giveBack() {
	for {
		<-n.owner
		if f := n.flight.Load(); f == nil || !f.over() || !n.tryTake() {
			return
		}
		_ = n.land() // whoever waits for it is told
	}
}

func (n *Namespace) tryTake() bool {
	select {
	case n.owner <- struct{}{}:
		return true
	default:
		return false
	}
}

// tryOwn makes the namespace the caller's if nobody owns it, and everything of it
// is durable.
func (n *Namespace) tryOwn() bool {
	if !n.tryTake() {
		return false
	}
	if n.flight.Load() != nil {
		n.giveBack()
		return false
	}
	return true
}

// there returns ErrDeleted once the namespace is deleted. Who reads beside its
// owner asks when it has its picture of the database.
func (n *Namespace) there() error {
	if n.deleted.Load() {
		return fmt.Errorf("%w: %q; Store.Namespace makes a new one", ErrDeleted, n.name)
	}
	return nil
}

// expel has the table of a dead segment removed. Dead records are read again with
// the markers, which may be often where the budget is short: it is removed once.
func (n *Namespace) expel(seg uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.leaving[seg]; !known {
		n.leaving[seg] = false
		n.s.queue.addLater(n.s.exciseJob(n.num, seg))
	}
}

// takeGone returns the dead segments whose tables are gone, in order. The batch
// that asks takes their dead records away.
func (n *Namespace) takeGone() []uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []uint64
	for seg, gone := range n.leaving {
		if gone {
			all = append(all, seg)
			delete(n.leaving, seg)
		}
	}
	slices.Sort(all)
	return all
}
