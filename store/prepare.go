package store

import (
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// prepared is what a batch knows of IDs before it decides them: where the
// segments, which do not change while a batch runs, have them. They are looked up
// piece by piece. A scout goes ahead while the owner decides and handles; the
// owner looks a piece up itself before it waits for one that the scout is at.
//
//	owner  |- 0 -|- decide 0 -|- 2 -|- decide 1, 2 -|- ...
//	scout  |--- 1 ---|--- 3 ---|--- 4 ---|
type prepared struct {
	ids   []ident
	found []found
	known int          // how many of them the owner may read
	size  int          // IDs in a piece
	own   []bool       // the pieces that the owner has looked up
	next  atomic.Int64 // the first piece that nobody has begun
	stop  atomic.Bool
	scout prober
	ahead chan struct{} // brings the scout's pieces, in order; nil when it does not run
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
	alone    = 128 // IDs that are not worth a goroutine
	minPiece = 64
	maxPiece = 256
)

func (x *segments) prepare(ids []ident) {
	p := &x.batch.ready
	p.end()
	p.ids, p.size = ids, len(ids)
	p.found = slices.Grow(p.found[:0], len(ids))[:len(ids)]
	clear(p.found)
	if len(ids) > alone {
		p.size = min(max(len(ids)/8, minPiece), maxPiece)
		p.own = slices.Grow(p.own[:0], p.pieces())[:p.pieces()]
		clear(p.own)
		p.next.Store(1)
		p.ahead = make(chan struct{}, p.pieces()) // never waits for the owner
		go x.scout(p)
	}
	if len(ids) > 0 && x.lookPiece(&x.batch.near, p, 0) != nil {
		p.end() // the look-up that needs it meets the error again
		return
	}
	p.known = p.size
}

func (p *prepared) pieces() int { return (len(p.ids) + p.size - 1) / p.size }

// begin returns the next piece that nobody has begun, false when there is none.
func (p *prepared) begin() (int, bool) {
	i := int(p.next.Add(1) - 1)
	return i, i < p.pieces()
}

// lookPiece looks a piece up.
func (x *segments) lookPiece(q *prober, p *prepared, i int) error {
	from, to := i*p.size, min((i+1)*p.size, len(p.ids))
	return x.lookAll(q, p.ids[from:to], p.found[from:to])
}

// scout looks pieces up until none is left. It ends early by an error, which the
// owner's own look-up meets again.
func (x *segments) scout(p *prepared) {
	defer close(p.ahead)
	_ = guarded(func() error {
		for !p.stop.Load() {
			i, ok := p.begin()
			if !ok {
				break
			}
			if err := x.lookPiece(&p.scout, p, i); err != nil {
				return err
			}
			p.ahead <- struct{}{}
		}
		return nil
	})
}

// at returns what is known of the ID at a place, nil when nothing is.
func (x *segments) at(i int) *found {
	p := &x.batch.ready
	if i < 0 || i >= len(p.found) {
		return nil
	}
	for i >= p.known {
		if !x.learn(p) {
			p.end()
			return nil
		}
	}
	return &p.found[i]
}

// learn takes the piece that follows, or looks one up, or waits for the scout. It
// reports false when that met an error.
func (x *segments) learn(p *prepared) bool {
	ok := p.own[p.known/p.size]
	if !ok {
		select {
		case _, ok = <-p.ahead:
		default:
			if i, begun := p.begin(); begun {
				p.own[i] = x.lookPiece(&x.batch.near, p, i) == nil
				return p.own[i]
			}
			_, ok = <-p.ahead
		}
	}
	p.known += p.size
	return ok
}

// end forgets everything, and waits until nobody is ahead.
func (p *prepared) end() {
	if p.ahead != nil {
		p.stop.Store(true)
		for range p.ahead { // until it is closed
		}
		p.ahead = nil
		p.stop.Store(false)
	}
	p.scout.close()
	p.ids, p.found, p.known = nil, p.found[:0], 0
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
