package adapter

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A course is the way of a record that is decided before it is handled: because
// it is handled together with others, or beside them. What is to be staged for
// it is kept here until the batch takes the record in.
type course struct {
	it   *item
	seen *store.Tx // what Do will decide, see store.Batch.Foresee
	end  ending
	outs []*kgo.Record
	halt func() error // of endHalt: says why, to the partition

	begun bool      // it was handed to the handler
	waits int       // for so many others of the batch to end
	then  []*course // that wait for it
	place int       // in the batch
}

// ending is how the handling of a record ended.
type ending uint8

const (
	endOpen      ending = iota // not yet
	endKept                    // as it was decided: handled, or not to be
	endDiscarded               // handled; what it produced is dropped
	endDead                    // it goes to the dead letters, and leaves no marker
	endHalt                    // the partition stops before it
)

// errForeseen says that a decision was not what was foreseen. It ends Run.
var errForeseen = errors.New("adapter: a record was decided otherwise than foreseen; report it")

// foresee decides records that are not handled yet, taking those that are to be
// handled as accepted, unless their end is known.
func (w *work) foresee(courses []*course) error {
	recs := make([]store.Record, len(courses))
	for i, c := range courses {
		recs[i] = w.p.recordOf(c.it)
	}
	seen, err := w.b.Foresee(recs, func(i int) bool { return courses[i].end != endDead })
	if err != nil {
		return fmt.Errorf("adapter: %s/%d: %w", w.p.topic, w.p.number, err)
	}
	for i, c := range courses {
		if !c.begun { // what is handled has its own, and is decided alike
			c.seen = seen[i]
		}
	}
	return nil
}

// coursesOf begins the courses of records, and foresees their decisions.
func (w *work) coursesOf(items []item) ([]*course, error) {
	courses := make([]*course, len(items))
	for i := range items {
		courses[i] = &course{it: &items[i], place: i}
		if done := w.p.ahead[items[i].rec.Offset]; done != nil {
			courses[i].end, courses[i].outs = done.end, done.outs
		}
	}
	if err := w.foresee(courses); err != nil {
		return nil, err
	}
	for _, c := range courses {
		if c.end != endOpen {
			if c.begun = w.handles(c); !c.begun { // a wall clock that went on decides otherwise
				c.end, c.outs = endOpen, nil
			}
		}
	}
	return courses, nil
}

// handles tells whether a record is to be handled.
func (w *work) handles(c *course) bool {
	_, unfit := w.p.unfit(c.it)
	return !unfit && w.p.s.c.opts.handles(c.seen.Decision())
}

// apartTx is what a handler gets for a record before the batch takes it in.
func (p *partition) apartTx(c *course) *Tx {
	tx := p.tx(c.seen, c.it)
	tx.apart = true
	return tx
}

// aside ends the course of a record that is not to be handled. It returns false
// when what is to be kept of it cannot be staged now: such a record waits until
// it comes first.
func (w *work) aside(c *course) bool {
	p, tx := w.p, w.p.apartTx(c)
	end := endKept
	failure := caught(func() error {
		gone, unfit := p.unfit(c.it)
		switch {
		case !unfit:
			return p.call(w.ctx, tx, nil)
		case p.fateOf(&gone) != fateDeadLetter:
			return gone.err
		}
		end = endDead
		return tx.deadLetter(gone)
	})
	if failure == nil {
		c.end, c.outs = end, tx.staged
	}
	return failure == nil
}

// take brings records into the batch whose courses have ended, up to the first
// that has not.
func (w *work) take(courses []*course) error {
	for _, c := range courses {
		switch c.end {
		case endOpen:
			return nil
		case endHalt:
			return c.halt()
		}
		if err := w.settle(c); err != nil {
			return err
		}
	}
	return nil
}

// settle brings one record into the batch.
func (w *work) settle(c *course) error {
	p := w.p
	stage := func(tx *Tx) error {
		for _, out := range c.outs {
			if err := tx.keep(out); err != nil {
				return err
			}
		}
		return nil
	}
	switch c.end {
	case endDiscarded:
		if err := p.discard(w.b, c.it, &w.count); err != nil {
			return err
		}
	case endDead:
		err := w.b.Pass(p.recordOf(c.it), func(stx *store.Tx) error { return stage(p.tx(stx, c.it)) })
		if err != nil {
			return p.storeError(c.it, err)
		}
		w.count.deadLetters++
	default:
		_, failure, err := p.attempt(w.b, c.it, &w.count, func(tx *Tx) error {
			if tx.rec.Decision != c.seen.Decision() {
				return errForeseen
			}
			return stage(tx)
		})
		if err := errors.Join(failure, err); err != nil {
			return p.storeError(c.it, err)
		}
	}
	w.pass(c.it.rec, c.outs)
	return nil
}
