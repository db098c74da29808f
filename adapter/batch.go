package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A BatchHandler handles the records of a partition that one poll brought and
// that are New, or Unknown and accepted; under Options.Observe every record. They
// come in offset order, and are accepted together or not at all: when it returns
// nil, what it did to tx is kept with their markers and the position. It is for
// sinks that take many rows at once. A copy behind its first is not among them.
//
// An error or a panic leaves nothing of the records, and it is called again with
// the same ones (R7). After the last attempt they are halved, and each half is
// tried once, until a record stands alone: that one is tried as often as a Handler
// would be, and meets what the error says, or Options.OnFailure. So are
// DeadLetter(err), Discard(err), and what no attempt can mend, without another
// attempt; Stop(err) stops before the first record of the call. Attempts
// (HeaderAttempts) are those of a record that stood alone.
//
// The first call of a partition brings one record, and each one up to twice as
// many as the one before, see the package page. Of records that are left to the
// next poll nothing is begun.
//
// The context ends as a Handler's does. tx, recs and what they point to are valid
// until the handler returns.
type BatchHandler func(ctx context.Context, tx *BatchTx, recs []*Record) error

// NewBatch returns a Consumer as New does, with a handler of whole batches.
// Options.Concurrency is not for it: its records are handled together.
func NewBatch(st *store.Store, h BatchHandler, opts *Options) (*Consumer, error) {
	o := opts.withDefaults()
	c, err := newConsumer(st, o, h.check(&o))
	if err == nil {
		c.batch = h
	}
	return c, err
}

// check returns everything that is wrong with a batch handler and its options.
func (h BatchHandler) check(o *Options) error {
	var wrong []error
	if h == nil {
		wrong = append(wrong, errors.New("adapter: the handler is nil; give one"))
	}
	if o.Concurrency > 1 {
		wrong = append(wrong, fmt.Errorf("adapter: Concurrency is %d; leave it out: "+
			"a batch is handled in one call", o.Concurrency))
	}
	return errors.Join(wrong...)
}

// BatchTx is what a BatchHandler changes, all of it in the batch of its records:
// the state of the namespace, and outputs. It belongs to the goroutine of the
// handler, and ends with it.
type BatchTx struct {
	p     *partition
	state *store.Tx
}

// Produce stages an output of one of the records of the call, see Tx.Produce.
func (t *BatchTx) Produce(of *Record, out *kgo.Record) error {
	if of == nil || of.tx == nil || of.batch != t {
		return fmt.Errorf("%w: to %q; give one of the records of the call", ErrNotOfBatch, out.Topic)
	}
	return of.tx.Produce(out)
}

// Get returns a copy of a value of the state, as store.Tx does.
func (t *BatchTx) Get(key []byte) ([]byte, error) { return t.state.Get(key) }

// Scan calls fn for keys of the state, as store.Tx does.
func (t *BatchTx) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return t.state.Scan(prefix, fn)
}

// Set gives a key of the state a value, as store.Tx does.
func (t *BatchTx) Set(key, value []byte) error {
	if err := t.p.mayWrite(); err != nil {
		return err
	}
	return t.state.Set(key, value)
}

// Delete removes a key of the state, as store.Tx does.
func (t *BatchTx) Delete(key []byte) error {
	if err := t.p.mayWrite(); err != nil {
		return err
	}
	return t.state.Delete(key)
}

// Add adds to a number of the state, as store.Tx does.
func (t *BatchTx) Add(key []byte, delta int64) (int64, error) {
	if err := t.p.mayWrite(); err != nil {
		return 0, err
	}
	return t.state.Add(key, delta)
}

// lend calls the handler with records, each with what it may produce by.
func (t *BatchTx) lend(ctx context.Context, txs []*Tx) error {
	recs := make([]*Record, len(txs))
	for i, tx := range txs {
		tx.rec.tx, tx.rec.batch = tx, t
		recs[i] = tx.rec
	}
	defer func() {
		for _, rec := range recs {
			rec.tx = nil
		}
	}()
	return t.p.s.c.batch(ctx, t, recs)
}

func nothing(context.Context, *Tx, *Record) error { return nil }

// ofOne handles one record by a batch handler.
func (p *partition) ofOne(ctx context.Context, tx *Tx, _ *Record) error {
	return (&BatchTx{p, tx.Tx}).lend(ctx, []*Tx{tx})
}

// together handles records in one call. Those from the first on that cannot be
// kept with the others are left to the next batch, which begins with it.
func (w *work) together(items []item) error {
	if w.over(0) {
		return nil
	}
	courses, err := w.coursesOf(items)
	if err != nil {
		return err
	}
	var handled []*course
	for i, c := range courses {
		if w.handles(c) {
			handled = append(handled, c)
			continue
		}
		if w.aside(c) {
			continue
		}
		if i == 0 {
			_, err := w.alone(c.it)
			return err
		}
		courses = courses[:i]
		break
	}
	if len(handled) > 0 {
		if done, err := w.handleAll(handled, courses[len(courses)-1].it.rec.Offset+1); !done {
			return err
		}
	}
	return w.take(courses)
}

// handleAll handles records in one call, again and again until it succeeds. When
// it is not done, the records below end are halved, or the partition stops, or
// Run is to end. The error is one that undoes the batch.
func (w *work) handleAll(courses []*course, end int64) (done bool, err error) {
	p := w.p
	for attempts := 1; ; attempts++ {
		failure, err := w.callAll(courses)
		if failure == nil || err != nil {
			return err == nil, err
		}
		p.s.c.stats.failures.Add(1)
		if kindOf(failure) == outcomeStop {
			p.stop(courses[0].it.rec, failure)
			return false, nil
		}
		if p.doubt <= courses[0].it.rec.Offset { // otherwise it is one of the halves
			again, ended := w.again(failure, attempts, p.s.c.opts.BatchTimeout/2)
			if again {
				continue
			}
			if ended {
				w.cut = true
				return false, nil
			}
		}
		p.doubt = end
		return false, nil
	}
}

// callAll calls the handler once. failure is what it returned; err is what the
// store did.
func (w *work) callAll(courses []*course) (failure, err error) {
	p := w.p
	txs := make([]*Tx, len(courses))
	for i, c := range courses {
		txs[i] = p.apartTx(c)
	}
	err = w.b.Alter(func(stx *store.Tx) error {
		failure = caught(func() error {
			for _, tx := range txs { // a duplicate that is observed is kept aside, too
				if err := p.call(w.ctx, tx, nothing); err != nil {
					return err
				}
			}
			return (&BatchTx{p, stx}).lend(w.ctx, txs)
		})
		return failure
	})
	for _, tx := range txs {
		tx.ended.Store(true)
	}
	if broken := p.s.c.st.Err(); failure != nil && broken != nil {
		return nil, broken
	}
	if failure != nil {
		return failure, nil
	}
	for i, c := range courses {
		c.end, c.outs = endKept, txs[i].staged
	}
	return nil, err
}
