package adapter

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// dispatch handles records of a batch at the same time, for slow calls to other
// systems. What is to be handled is foreseen before, in offset order; the batch
// takes the records in, in offset order, when all that were begun have ended. A
// record waits for the one before it of its key, and of its ID.
//
//	owner       foresee   begin .. begin ..     ended .. ended   take in, in order
//	goroutines            |-- handler --|  |-- handler --|
//
// If a record leaves no marker, what follows is foreseen anew: only copies of it
// can differ, and they wait for it.
//
// It belongs to the owner of the batch; the goroutines have their course only.
type dispatch struct {
	w       *work
	courses []*course
	ready   []*course // that wait for no other, and were not looked at
	running int
	ended   chan settled
	outs    int // how many outputs wait for the batch

	begun int  // the place above the highest record that was begun
	bound int  // the place of the first record that cannot be taken in now
	over  bool // no other record is to be begun
	errs  []error
}

// settled says how the handling of a record ended.
type settled struct {
	c    *course
	end  ending
	outs []*kgo.Record
	halt func() error
	err  error // the store is broken
}

// sideBySide handles records at the same time. What is handled above a record
// that is not stays with the partition, and is not handled again when it comes
// back.
func (w *work) sideBySide(items []item) error {
	if len(items) == 0 {
		return nil
	}
	courses, err := w.coursesOf(items)
	if err != nil {
		return err
	}
	d := &dispatch{w: w, courses: courses, ended: make(chan settled), bound: len(courses)}
	d.order()
	if err := d.run(); err != nil {
		return err
	}
	if d.bound == 0 && courses[0].end == endOpen {
		_, err = w.alone(courses[0].it)
	} else {
		err = w.take(courses)
	}
	w.p.remember(w.b.Position().Offset, courses)
	return err
}

// order lets every record wait for the one before it of its key, and of its ID.
func (d *dispatch) order() {
	keys, ids := make(map[string]*course), make(map[string]*course)
	for _, c := range d.courses {
		if key := c.it.rec.Key; key != nil {
			c.follow(keys[string(key)])
			keys[string(key)] = c
		}
		if id := c.it.id; len(id) > 0 {
			c.follow(ids[string(id)])
			ids[string(id)] = c
		}
		if c.waits == 0 {
			d.ready = append(d.ready, c)
		}
	}
}

func (c *course) follow(before *course) {
	if before != nil {
		c.waits++
		before.then = append(before.then, c)
	}
}

// run begins what is ready, and returns when nothing runs any more.
func (d *dispatch) run() error {
	for {
		for len(d.ready) > 0 && d.running < d.w.p.s.c.opts.Concurrency {
			c := d.ready[0]
			d.ready = d.ready[1:]
			d.begin(c)
		}
		if d.running == 0 {
			return errors.Join(d.errs...)
		}
		s := <-d.ended
		d.running--
		s.c.end, s.c.outs, s.c.halt = s.end, s.outs, s.halt
		d.errs = append(d.errs, s.err)
		d.close(s.c)
	}
}

// begin begins a record, unless it is not to be handled, or not now.
func (d *dispatch) begin(c *course) {
	switch w := d.w; {
	case c.end != endOpen: // from an earlier batch
		d.close(c)
	case c.place >= d.bound:
	case !w.handles(c):
		if !w.aside(c) {
			d.bound = c.place
			return
		}
		d.close(c)
	case !d.mayBegin(c):
	default:
		d.running++
		d.begun = max(d.begun, c.place+1)
		c.begun = true
		go func() { d.ended <- w.carry(c) }()
	}
}

// mayBegin tells whether a record may be begun. Once Run is to end, those below
// one that was begun still are: what is handled above them would be lost.
func (d *dispatch) mayBegin(c *course) bool {
	d.over = d.over || d.w.over(d.outs)
	return !d.over || d.w.run.Err() != nil && d.w.ctx.Err() == nil && c.place < d.begun
}

// close takes over how a record ended, and releases those that wait for it.
func (d *dispatch) close(c *course) {
	d.outs += len(c.outs)
	switch {
	case c.end == endOpen: // Run is to end, and nothing of it remains
		return
	case c.end == endHalt:
		d.bound = min(d.bound, c.place)
		return
	case c.end == endDead && c.hasCopies():
		if err := d.w.foresee(d.courses); err != nil {
			d.errs, d.bound = append(d.errs, err), 0
			return
		}
	}
	for _, next := range c.then {
		if next.waits--; next.waits == 0 {
			d.ready = append(d.ready, next)
		}
	}
}

func (c *course) hasCopies() bool {
	for _, next := range c.then {
		if string(next.it.id) == string(c.it.id) {
			return true
		}
	}
	return false
}

// carry handles one record until it is clear what becomes of it (R7). It runs
// beside others.
func (w *work) carry(c *course) settled {
	p := w.p
	for attempts := 1; ; attempts++ {
		tx := p.apartTx(c)
		failure := caught(func() error { return p.call(w.ctx, tx, p.s.c.handler) })
		tx.ended.Store(true)
		if failure == nil {
			return settled{c: c, end: endKept, outs: tx.staged}
		}
		if broken := p.s.c.st.Err(); broken != nil {
			return settled{c: c, err: broken}
		}
		p.s.c.stats.failures.Add(1)
		if again, ended := w.again(failure, attempts, 0); ended {
			return settled{c: c}
		} else if !again {
			return p.concludeApart(c, failed{it: c.it, err: failure, attempts: attempts})
		}
	}
}

// concludeApart says what becomes of a record that failed, before the batch
// takes it in.
func (p *partition) concludeApart(c *course, gone failed) settled {
	halt := func(fn func() error) settled { return settled{c: c, end: endHalt, halt: fn} }
	switch p.fateOf(&gone) {
	case fateDiscard:
		return settled{c: c, end: endDiscarded}
	case fateDeadLetter:
		tx, refused := p.apartTx(c), ErrNoDeadLetterTopic
		if p.s.c.opts.DeadLetterTopic != "" {
			refused = tx.deadLetter(gone)
		}
		if refused != nil {
			return halt(func() error { return p.notStaged(gone, refused) })
		}
		return settled{c: c, end: endDead, outs: tx.staged}
	case fatePause:
		return halt(func() error { p.failed = p.recordError(gone.it.rec, gone.err); return nil })
	default:
		return halt(func() error { p.stop(gone.it.rec, gone.err); return nil })
	}
}

// remember keeps what is handled above the position.
func (p *partition) remember(position int64, courses []*course) {
	for offset := range p.ahead {
		if offset < position {
			delete(p.ahead, offset)
		}
	}
	for _, c := range courses {
		if c.begun && c.end != endOpen && c.end != endHalt && c.it.rec.Offset >= position {
			if p.ahead == nil {
				p.ahead = make(map[int64]*course)
			}
			p.ahead[c.it.rec.Offset] = &course{end: c.end, outs: c.outs}
		}
	}
}
