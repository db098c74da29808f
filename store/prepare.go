package store

import (
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// prepared is what a batch knows of IDs before it decides them: where the
// segments, which do not change while a batch runs, have them. The owner looks
// the first IDs up; a goroutine goes ahead with the others while the owner
// decides and handles.
//
//	owner      |-- first --|- decide - decide - decide - decide - ...
//	goroutine  |-- piece --|-- piece --|-- piece --|
type prepared struct {
	found []found
	known int      // how many of them the owner may read
	more  chan int // brings how many are known by now; nil when nobody is ahead
	stop  atomic.Bool
	ahead prober
}

// found is the newest hit for one ID.
type found struct {
	marker
	seg uint64 // its segment's number + 1; 0: none
}

// prober is what one goroutine needs to look IDs up.
type prober struct {
	maybe []maybe
	warm  uint64           // keeps the loads that warm a table from being removed
	iter  *pebble.Iterator // over the tables of the namespace; nil until a page is read
}

// maybe is a filter's "perhaps": the page has to be read.
type maybe struct {
	at   int
	g    *segment
	page uint32
}

const (
	alone = 128 // IDs that are not worth a goroutine
	piece = 256 // IDs that it looks up before it tells
)

func (x *segments) prepare(ids []ident) {
	p := &x.batch.ready
	p.end()
	p.found = slices.Grow(p.found[:0], len(ids))[:len(ids)]
	clear(p.found)
	first := len(ids)
	if first > alone {
		first = min(first/3, piece)
		p.more = make(chan int, (len(ids)-first)/piece+1) // never waits for the owner
		go x.prepareFrom(first, ids)
	}
	if x.lookAll(&x.batch.near, ids[:first], p.found) != nil {
		p.end() // the look-up that needs it meets the error again
		return
	}
	p.known = first
}

// prepareFrom looks up what follows the first IDs, piece by piece. It ends early
// by an error, which the owner's own look-up meets again.
func (x *segments) prepareFrom(from int, ids []ident) {
	p := &x.batch.ready
	defer close(p.more)
	_ = guarded(func() error {
		for from < len(ids) && !p.stop.Load() {
			to := min(from+piece, len(ids))
			if err := x.lookAll(&p.ahead, ids[from:to], p.found[from:]); err != nil {
				return err
			}
			p.more <- to
			from = to
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
		known, ok := <-p.more
		if !ok {
			p.found = p.found[:p.known]
			return nil
		}
		p.known = known
	}
	return &p.found[i]
}

// end forgets everything, and waits until nobody is ahead.
func (p *prepared) end() {
	if p.more != nil {
		p.stop.Store(true)
		for range p.more { // until it is closed
		}
		p.stop.Store(false)
		p.more = nil
	}
	p.ahead.close()
	p.found, p.known = p.found[:0], 0
}

// close gives the iterator back.
func (q *prober) close() {
	if q.iter != nil {
		// What an iterator met was reported by the look-up that met it.
		_ = q.iter.Close()
		q.iter = nil
	}
}
