package adapter

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// An output is one that is staged and durable.
type output struct {
	rec   *kgo.Record
	key   outputKey
	bytes int
	acked bool
	err   error // of the last burst
}

// outputKey names an output within its namespace.
type outputKey struct {
	batch  uint64 // that staged it
	offset int64  // of the record that it was made of
	index  int    // among the outputs of that record
}

func newOutput(rec *kgo.Record, key outputKey) *output {
	return &output{rec: rec, key: key, bytes: batchSize(rec)}
}

// maxPendingBytes bounds the outputs of a partition that wait for Kafka, beside
// Options.MaxPending: they are in memory.
const maxPendingBytes = 64 << 20

// An outbox holds the outputs of a partition from the first on that Kafka has
// not acknowledged: those behind it cannot be settled before it is.
//
// Outputs go out by topic, each topic in bursts: the next one when the one
// before it is answered whole. So no output overtakes another one of its topic,
// whatever fails; and a topic that is away holds up nothing but itself.
//
// It belongs to the session, not to the assignment: when a rebalance takes the
// partition and brings it back, what is on its way is not sent twice.
type outbox struct {
	log store.ID

	mu    sync.Mutex // guards all below; held over no call
	list  []*output
	bytes int
	lanes map[string]*lane
}

// A lane is the way of the outputs of one topic.
type lane struct {
	topic    string
	queue    []*output // not acknowledged, in order
	burst    []*output // what was handed to the client
	open     int       // those of them that it has not answered
	answered chan struct{}
	late     bool      // nobody waits for the burst any more
	alone    bool      // one at a time, after a refusal
	failures int       // in a row
	again    time.Time // not before
}

// add appends outputs of a durable batch.
func (o *outbox) add(outs []*output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, out := range outs {
		o.list = append(o.list, out)
		o.bytes += out.bytes
		if !out.acked {
			l := o.laneOf(out.rec.Topic)
			l.queue = append(l.queue, out)
		}
	}
}

func (o *outbox) laneOf(topic string) *lane {
	l := o.lanes[topic]
	if l == nil {
		l = &lane{topic: topic}
		if o.lanes == nil {
			o.lanes = make(map[string]*lane)
		}
		o.lanes[topic] = l
	}
	return l
}

// reset makes these the outputs, as the store has them. Those that are known
// already are kept as they are.
func (o *outbox) reset(stored []*output) {
	o.mu.Lock()
	known := make(map[outputKey]*output, len(o.list))
	for _, out := range o.list {
		known[out.key] = out
	}
	o.list, o.bytes = nil, 0
	for _, l := range o.lanes {
		l.queue = nil
	}
	o.mu.Unlock()
	for i, out := range stored {
		if was, ok := known[out.key]; ok {
			stored[i] = was
		}
	}
	o.add(stored)
}

func (o *outbox) empty() bool {
	n, _ := o.size()
	return n == 0
}

// size returns how many outputs there are and how large they are. It counts
// those that are acknowledged behind one that is not.
func (o *outbox) size() (n, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list), o.bytes
}

// start hands bursts to the client, and returns what to wait for.
func (o *outbox) start(s *session, ready func(topic string) error) (waits []<-chan struct{}) {
	o.mu.Lock()
	var begin []*lane
	for _, l := range o.lanes {
		if len(l.burst) == 0 && len(l.queue) > 0 && !time.Now().Before(l.again) {
			begin = append(begin, l)
			l.burst = slices.Clone(l.queue)
			if l.alone {
				l.burst = l.burst[:1]
			}
			l.open, l.answered = len(l.burst), make(chan struct{})
		}
		if len(l.burst) > 0 && !l.late {
			waits = append(waits, l.answered)
		}
	}
	o.mu.Unlock()
	for _, l := range begin {
		err := ready(l.topic)
		for _, out := range l.burst {
			if err != nil {
				o.answer(l, out, err)
				continue
			}
			s.cl.Produce(s.work, out.rec, func(_ *kgo.Record, err error) { o.answer(l, out, err) })
		}
	}
	return waits
}

// answer notes what became of an output. It is called by the client.
func (o *outbox) answer(l *lane, out *output, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	out.err, out.acked = err, err == nil
	if l.open--; l.open == 0 {
		close(l.answered)
	}
}

// collect takes over what was answered. It returns how many were acknowledged,
// and the outputs that Kafka refuses for good, each with its error: in a burst
// of many it is not known which, so they go out again one by one first.
func (o *outbox) collect(final func(*output) bool) (acked int, refused []*output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lanes {
		if len(l.burst) == 0 || l.open > 0 {
			continue
		}
		var failed *output
		for _, out := range l.burst {
			switch {
			case out.acked:
				acked++
			case failed == nil || final(out) && !final(failed):
				failed = out
			}
		}
		switch {
		case failed == nil:
			l.late, l.failures = false, 0
		case !final(failed):
			l.late = true
			l.again = time.Now().Add(backOff(l.failures))
			l.failures++
		case len(l.burst) == 1:
			refused = append(refused, failed)
		default:
			l.alone = true
		}
		l.burst = nil
		l.queue = slices.DeleteFunc(l.queue, func(out *output) bool { return out.acked })
		l.alone = l.alone && len(l.queue) > 0
	}
	n := 0
	for n < len(o.list) && o.list[n].acked {
		o.bytes -= o.list[n].bytes
		n++
	}
	clear(o.list[:n])
	o.list = o.list[n:]
	return acked, refused
}

// all returns the outputs, in order.
func (o *outbox) all() []*output {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.list)
}

// replace puts an output in the place of one that is refused, in the order of its
// own topic.
func (o *outbox) replace(out, by *output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old, its := o.laneOf(out.rec.Topic), o.laneOf(by.rec.Topic)
	old.queue = slices.DeleteFunc(old.queue, func(other *output) bool { return other == out })
	its.queue = nil
	for i, other := range o.list {
		if other == out {
			o.list[i], other = by, by
			o.bytes += by.bytes - out.bytes
		}
		if other.rec.Topic == by.rec.Topic && !other.acked {
			its.queue = append(its.queue, other)
		}
	}
}

// clear takes all outputs out: Kafka has them.
func (o *outbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list, o.bytes, o.lanes = nil, 0, nil
}

// settled returns the newest batch of which, and of all before it, the outputs
// are acknowledged; newest when all are.
func (o *outbox) settled(newest uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.list) == 0 {
		return newest
	}
	return o.list[0].key.batch - 1
}

// giveUpWaiting has nobody wait for what is on its way now.
func (o *outbox) giveUpWaiting() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.lanes {
		l.late = l.late || l.open > 0
	}
}

// await waits until all of these are answered. It returns false when ctx ends
// first.
func await(ctx context.Context, all []<-chan struct{}) bool {
	for _, answered := range all {
		select {
		case <-answered:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
