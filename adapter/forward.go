package adapter

import (
	"context"
	"reflect"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Forward returns a Handler that relays every record to a topic as it is: key,
// value, headers, time and partition. A time so far ahead that Kafka would
// refuse it becomes the time now, and the original goes into the header
// HeaderTime. The topic needs at least as many partitions as the ones that are
// consumed, and is none of them.
//
//go:noinline
func Forward(topic string) Handler {
	return func(ctx context.Context, tx *Tx, rec *Record) error {
		if ask, ok := ctx.(*forwardTo); ok {
			ask.topic = topic
			return nil
		}
		return tx.forward(topic)
	}
}

func (t *Tx) forward(topic string) error {
	out, own := t.asItIs(topic)
	return t.produce(out, func(int32) int32 { return t.rec.Partition }, own...)
}

// asItIs returns the handled record as an output to a topic, and the header that
// holds its time when Kafka would refuse it.
func (t *Tx) asItIs(topic string) (out *kgo.Record, own []kgo.RecordHeader) {
	rec := t.rec
	out = &kgo.Record{
		Topic: topic, Key: rec.Key, Value: rec.Value, Headers: rec.Headers, Timestamp: rec.Timestamp,
	}
	if now := time.Now(); out.Timestamp.After(now.Add(maxAhead)) {
		original := strconv.AppendInt(nil, out.Timestamp.UnixMilli(), 10)
		own = append(own, kgo.RecordHeader{Key: HeaderTime, Value: original})
		out.Timestamp = now
	}
	return out, own
}

// forwardTo is the context by which New asks a Handler that Forward returned
// for its topic.
type forwardTo struct {
	context.Context
	topic string
}

// forwardTopic returns the topic of a Handler that Forward returned, and
// whether it is one. Handlers of Forward share their code and no other handler
// has it: Forward is never inlined.
func forwardTopic(h Handler) (topic string, ok bool) {
	if reflect.ValueOf(h).Pointer() != reflect.ValueOf(Forward("")).Pointer() {
		return "", false
	}
	ask := &forwardTo{Context: context.Background()}
	_ = h(ask, nil, nil)
	return ask.topic, true
}
