package adapter

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// work is one local batch of a partition that is being made.
type work struct {
	p   *partition
	ctx context.Context // of handlers: it ends with the batch's time, and with the shutdown's
	run context.Context // of Run
	b   *store.Batch

	count  tally
	staged []*output
	last   *kgo.Record // the newest record that the batch passes
	cut    bool        // the rest is left to a later fetch
}

// do takes records into the batch, in offset order, as far as they come.
func (w *work) do(items []item) error {
	c := w.p.s.c
	switch {
	case c.batch != nil && len(items) > 1:
		return w.together(items)
	case c.opts.Concurrency > 1:
		return w.sideBySide(items)
	default:
		return w.oneByOne(items)
	}
}

func (w *work) oneByOne(items []item) error {
	for i := range items {
		if w.over(len(w.staged)) {
			return nil
		}
		if done, err := w.alone(&items[i]); !done {
			return err
		}
	}
	return nil
}

// alone handles one record by itself.
func (w *work) alone(it *item) (done bool, err error) {
	h := w.p.s.c.handler
	if w.p.s.c.batch != nil {
		h = w.p.ofOne
	}
	outs, done, err := w.handle(it, func(tx *Tx) error { return w.p.call(w.ctx, tx, h) })
	if done {
		w.pass(it.rec, outs)
	}
	return done, err
}

// pass notes that a record is in the batch, with what is staged for it.
func (w *work) pass(rec *kgo.Record, outs []*kgo.Record) {
	w.last = rec
	for i, out := range outs {
		w.staged = append(w.staged, newOutput(out, outputKey{w.b.Sequence(), rec.Offset, i}))
	}
}

// over tells whether no other record is to be begun: Run is to end, half of the
// batch's time is gone, or too many outputs wait, with so many of the batch.
func (w *work) over(outs int) bool {
	w.cut = w.run.Err() != nil || w.left() < w.p.s.c.opts.BatchTimeout/2 || w.p.full(outs)
	return w.cut
}

// left returns how much of the batch's time is left.
func (w *work) left() time.Duration {
	deadline, _ := w.ctx.Deadline()
	return time.Until(deadline)
}
