package store

import (
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// prepared is what a batch knows of IDs before it decides them: where the
// segments, which do not change while a batch runs, have them. The owner looks
// the first IDs up; two scouts go ahead with the others, a piece each in turn,
// while the owner decides and handles.
//
//	owner  |-- first --|- decide - decide - decide - decide - ...
//	scout  |-- piece --|-- piece --|
//	scout  |-- piece --|-- piece --|
type prepared struct {
	found  []found
	known  int // how many of them the owner may read
	turn   int // the scout that brings the next ones
	stop   atomic.Bool
	scouts [2]scout
}

// scout is what a goroutine ahead of the owner needs.
type scout struct {
	prober
	more chan int // brings how many are known with its piece; nil when it does not run
}

// found is the newest hit for one ID.
type found struct {
	marker
	seg uint64 // its segment's number + 1; 0: none
}

// prober is what one goroutine needs to look IDs up.
type prober struct {
	maybe []maybe
	warm  uint64 // keeps the loads that warm a table from being removed
	// Over the namespace's tables, and over those that are shared; nil until a
	// page is read.
	iter, shared *pebble.Iterator
}

// maybe is a filter's "perhaps": the page has to be read.
type maybe struct {
	at   int
	g    *segment
	page uint32
}

const (
	alone = 128 // IDs that are not worth a goroutine
	piece = 256 // IDs that a scout looks up before it tells
)

func (x *segments) prepare(ids []ident) {
	p := &x.batch.ready
	p.end()
	p.found = slices.Grow(p.found[:0], len(ids))[:len(ids)]
	clear(p.found)
	first := len(ids)
	if first > alone {
		first = min(len(ids)/3+1, piece)
		for i := range p.scouts {
			if from := first * (i + 1); from < len(ids) {
				q := &p.scouts[i]
				q.more = make(chan int, len(ids)/first) // never waits for the owner
				go x.scout(q, ids, p.found, from, first)
			}
		}
	}
	if x.lookAll(&x.batch.near, ids[:first], p.found) != nil {
		p.end() // the look-up that needs it meets the error again
		return
	}
	p.known = first
}

// scout looks every second piece up, from a place on. It ends early by an error,
// which the owner's own look-up meets again.
func (x *segments) scout(q *scout, ids []ident, hits []found, from, size int) {
	p := &x.batch.ready
	defer close(q.more)
	_ = guarded(func() error {
		for ; from < len(ids) && !p.stop.Load(); from += size * len(p.scouts) {
			to := min(from+size, len(ids))
			if err := x.lookAll(&q.prober, ids[from:to], hits[from:to]); err != nil {
				return err
			}
			q.more <- to
		}
		return nil
	})
}

// at returns what is known of the ID at a place, nil when nothing is.
func (p *prepared) at(i int) *found {
	if i < 0 || i >= len(p.found) {
		return nil
	}
	for i >= p.known {
		known, ok := <-p.scouts[p.turn].more
		if !ok {
			p.found = p.found[:p.known]
			return nil
		}
		p.known, p.turn = known, (p.turn+1)%len(p.scouts)
	}
	return &p.found[i]
}

// end forgets everything, and waits until nobody is ahead.
func (p *prepared) end() {
	p.stop.Store(true)
	for i := range p.scouts {
		q := &p.scouts[i]
		if q.more != nil {
			for range q.more { // until it is closed
			}
			q.more = nil
		}
		q.close()
	}
	p.stop.Store(false)
	p.found, p.known, p.turn = p.found[:0], 0, 0
}

// close gives the iterator back.
func (q *prober) close() {
	for _, it := range []**pebble.Iterator{&q.iter, &q.shared} {
		if *it != nil {
			// What an iterator met was reported by the look-up that met it.
			_ = (*it).Close()
			*it = nil
		}
	}
}
