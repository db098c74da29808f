package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// errUnanswered is why an output is given up in a transaction: Kafka did not answer
// for it, and for no other either, in sendPatience.
var errUnanswered = errors.New("kafka does not acknowledge it")

// tries are what came of the transactions with the outputs of a partition.
type tries struct {
	failures int       // in a row
	again    time.Time // not before
	suspects []*output // in order; one of them is refused for good
	refused  bool      // it was found, and stands in the way of the others
}

// produceAll sends the outputs of these partitions, in order, and returns those that
// Kafka did not take, each with its error.
//
// Kafka refuses a whole batch of records for one of them, and the client gives up
// what it has behind it, too. So where outputs are suspect, they go in two halves,
// each alone: the half that fails is suspect the next time, until it is one output.
func (s *session) produceAll(ctx context.Context, due []*partition) (failed []*output) {
	var steps [][]*output
	for _, p := range due {
		for i, outs := range p.tries.split(p.out.all()) {
			if i == len(steps) {
				steps = append(steps, nil)
			}
			steps[i] = append(steps[i], outs...)
		}
	}
	for _, outs := range steps {
		if failed = s.notReady(ctx, outs); len(failed) == 0 {
			failed = s.txn.produce(ctx, outs)
		}
		if len(failed) > 0 {
			return failed
		}
	}
	return nil
}

// split returns the outputs in steps, in order.
func (t *tries) split(outs []*output) [][]*output {
	if len(t.suspects) == 0 {
		return [][]*output{outs}
	}
	from := slices.Index(outs, t.suspects[0])
	to := slices.Index(outs, t.suspects[len(t.suspects)-1]) + 1
	half := from + (to-from)/2
	return [][]*output{outs[:from], outs[from:half], outs[half:to], outs[to:]}
}

// notReady returns the outputs whose topic cannot be sent to.
func (s *session) notReady(ctx context.Context, outs []*output) (failed []*output) {
	ctx, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	known := make(map[string]error)
	for _, out := range outs {
		err, asked := known[out.rec.Topic]
		if !asked {
			err = s.topics.ready(ctx, out.rec.Topic)
			known[out.rec.Topic] = err
		}
		if out.err = err; err != nil {
			failed = append(failed, out)
		}
	}
	return failed
}

// produce sends outputs in the transaction that is open, and returns those that
// Kafka did not take. It waits as long as Kafka goes on acknowledging.
func (t *transactions) produce(ctx context.Context, outs []*output) (failed []*output) {
	a := &acks{errs: make([]error, len(outs)), open: len(outs), done: make(chan struct{})}
	if len(outs) == 0 {
		return nil
	}
	for i, out := range outs {
		a.errs[i] = errUnanswered
		t.cl.Produce(ctx, out.rec, func(_ *kgo.Record, err error) { a.answer(i, err) })
	}
	a.wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, out := range outs {
		if out.err = a.errs[i]; out.err != nil {
			failed = append(failed, out)
		}
	}
	return failed
}

// knows waits until the client has the partitions of these outputs, which Kafka has
// acknowledged, among those that it looks at when a transaction ends. It keeps a new
// topic's aside while it hands over the records that waited for them, and a
// transaction that is committed before it goes on has none that it knows of: kgo
// 1.22.2 then aborts it and reports no error (EndTransaction). False is that it did
// not come to that in time: the transaction must not be committed.
func (t *transactions) knows(ctx context.Context, outs []*output) bool {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for _, out := range outs {
		for {
			if leader, _, _ := t.cl.PartitionLeader(out.rec.Topic, out.rec.Partition); leader >= 0 {
				break
			}
			if !wait(ctx, time.Millisecond) {
				return false
			}
		}
	}
	return true
}

// acks are what Kafka says of outputs.
type acks struct {
	mu   sync.Mutex // guards errs and open; held over no call
	errs []error
	open int
	done chan struct{} // closed when all are answered
}

func (a *acks) answer(i int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs[i] = err
	if a.open--; a.open == 0 {
		close(a.done)
	}
}

// wait returns when all are answered, or none was in sendPatience.
func (a *acks) wait() {
	tick := time.NewTicker(sendPatience)
	defer tick.Stop()
	for open := -1; ; {
		select {
		case <-a.done:
			return
		case <-tick.C:
		}
		a.mu.Lock()
		before := open
		open = a.open
		a.mu.Unlock()
		if open == before {
			return
		}
	}
}

// putOff decides what follows for the partitions whose outputs failed: they are
// tried again after a pause, or at once when one of several is refused for good.
// The errors are those of outputs that are found, where Run is to end for them, or of
// a session that has to end.
func putOff(due []*partition, failed []*output) error {
	in := make(map[*output]bool, len(failed))
	for _, out := range failed {
		if endsTransactions(out.err) {
			return &again{fmt.Errorf("a transaction was broken off: %w", out.err)}
		}
		in[out] = true
	}
	var errs []error
	for _, p := range due {
		var final []*output
		some := false
		for _, out := range p.out.all() {
			some = some || in[out]
			if in[out] && p.final(out) {
				final = append(final, out)
			}
		}
		switch {
		case !some:
		case len(final) == 1: // it was alone in its batch
			errs = append(errs, p.refused(final[0]))
		case len(final) == 0 || !p.tries.narrow(final):
			p.tries.putOff()
		}
	}
	return errors.Join(errs...)
}

// narrow makes those of the outputs suspect that were so before, or all of them. It
// reports whether they have become fewer.
func (t *tries) narrow(final []*output) bool {
	before := t.suspects
	t.suspects = slices.DeleteFunc(slices.Clone(final), func(out *output) bool {
		return before != nil && !slices.Contains(before, out)
	})
	if len(t.suspects) == 0 {
		t.suspects = final
	}
	return before == nil || len(t.suspects) < len(before)
}

// putOff has the outputs wait for a while.
func (t *tries) putOff() {
	t.again = time.Now().Add(backOff(t.failures))
	t.failures++
}

func putOffAll(due []*partition) {
	for _, p := range due {
		p.tries.putOff()
	}
}
