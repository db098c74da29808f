package adapter

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Headers of every output. Those that a record had under the prefix are left
// out when it becomes an output.
const (
	// HeaderPrefix begins the names of all of them.
	HeaderPrefix = "firstseen-"
	// HeaderOutputID holds the output's ID, a UUID: the same each time the
	// output is sent, so that the next firstseen makes it exactly once.
	HeaderOutputID = "firstseen-output-id"
	// HeaderOrigin holds where the record stands that it was made of: topic ID
	// in hexadecimal, "/", partition, "@", offset.
	HeaderOrigin = "firstseen-origin"
	// HeaderClock holds when that record was first seen, by the clock of its
	// namespace, in Unix milliseconds; 0 before the first time.
	HeaderClock = "firstseen-clock"
	// HeaderTimeline holds what the clock told beside that, as text, if it is anything: see
	// store.Timeline.
	HeaderTimeline = "firstseen-timeline"
	// HeaderTime holds, in Unix milliseconds, the time that a forwarded record
	// had, if Kafka would refuse it.
	HeaderTime = "firstseen-time"
)

// maxAhead is how far beyond the wall clock the time of an output may lie:
// what Kafka allows by default, and how far the clock of a namespace believes
// a record (R1).
const maxAhead = time.Hour

// Tx is what a Handler changes, all of it in the batch of its record: the state
// of the namespace, through the store's Tx, and outputs.
type Tx struct {
	*store.Tx
	p      *partition
	rec    *Record
	staged []*kgo.Record
	apart  bool        // what it produces is staged later, see course
	ended  atomic.Bool // of one that is apart: its handler has returned
}

// Produce stages an output. It is sent when the batch is durable, and again
// after a crash, as it was staged, at least once; the offset of the handled
// record is committed when Kafka has acknowledged it (R10, R12).
//
// Topic, Key, Value, Headers and Timestamp of out count. Its partition is chosen
// now: by the hash of the key as Kafka's own clients do it, and without a key
// as the handled record's. A zero Timestamp means the handled record's time, or
// now when that is missing or too far ahead. Headers that begin with
// "firstseen-" are replaced by its own. out may be used again afterwards.
//
// What Kafka would refuse for good is an error now: ErrOutputTooLarge,
// ErrOutputAhead, ErrUnknownTopic, ErrLoop.
func (t *Tx) Produce(out *kgo.Record) error {
	stamped := *out
	if stamped.Timestamp.IsZero() {
		stamped.Timestamp = t.rec.Timestamp
		now := time.Now()
		if stamped.Timestamp.UnixMilli() <= 0 || stamped.Timestamp.After(now.Add(maxAhead)) {
			stamped.Timestamp = now
		}
	}
	return t.produce(&stamped, func(partitions int32) int32 {
		if out.Key == nil {
			return t.rec.Partition % partitions
		}
		hash := kgo.StickyKeyPartitioner(nil).ForTopic(out.Topic)
		return int32(hash.Partition(out, int(partitions)))
	})
}

// Stage returns ErrStage. Outputs of a handler are Kafka records: see Produce.
func (t *Tx) Stage([]byte) error { return ErrStage }

func (t *Tx) produce(
	out *kgo.Record, choose func(partitions int32) int32, own ...kgo.RecordHeader,
) error {
	s := t.p.s
	if err := s.c.opts.checkLoop(out.Topic); err != nil {
		return err
	}
	if t.p.repeating {
		return nil // Kafka has it
	}
	limit, err := s.limitOf(out.Topic)
	if err != nil {
		return err
	}
	staged := &kgo.Record{
		Topic:     out.Topic,
		Partition: choose(limit.partitions),
		Key:       bytes.Clone(out.Key),
		Value:     bytes.Clone(out.Value),
		Headers:   append(t.headers(out.Headers), own...),
		Timestamp: out.Timestamp.Truncate(time.Millisecond),
	}
	if staged.Partition >= limit.partitions {
		return fmt.Errorf("%w: %q has no partition %d; add partitions to it",
			ErrUnknownTopic, out.Topic, staged.Partition)
	}
	if ahead := time.Until(staged.Timestamp); ahead > maxAhead {
		return fmt.Errorf("%w: %v, for topic %q; give a time of at most %v from now",
			ErrOutputAhead, ahead.Truncate(time.Second), out.Topic, maxAhead)
	}
	if size := batchSize(staged); size > int(limit.bytes) {
		return fmt.Errorf("%w: %d bytes, topic %q allows %d; raise its max.message.bytes, "+
			"or make the output smaller", ErrOutputTooLarge, size, out.Topic, limit.bytes)
	}
	return t.keep(staged)
}

// keep stages an output that is ready.
func (t *Tx) keep(staged *kgo.Record) error {
	switch {
	case t.ended.Load():
		return store.ErrTxDone
	case !t.apart:
		if err := t.Tx.Stage(encodeOutput(staged)); err != nil {
			return err
		}
	}
	t.staged = append(t.staged, staged)
	return nil
}

// headers returns those of an output, with the adapter's own.
func (t *Tx) headers(given []kgo.RecordHeader) []kgo.RecordHeader {
	headers := make([]kgo.RecordHeader, 0, len(given)+5)
	for _, h := range given {
		if !strings.HasPrefix(h.Key, HeaderPrefix) {
			headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
	}
	o := t.rec.origin
	id := outputID(t.p.s.c.opts.Group, o.TopicID, o.Partition, o.Offset, len(t.staged))
	headers = append(headers,
		kgo.RecordHeader{Key: HeaderOutputID, Value: []byte(id)},
		kgo.RecordHeader{Key: HeaderOrigin, Value: []byte(o.String())},
		kgo.RecordHeader{Key: HeaderClock, Value: strconv.AppendInt(nil, millis(t.Clock()), 10)})
	if told := t.Timeline().String(); told != "" {
		headers = append(headers, kgo.RecordHeader{Key: HeaderTimeline, Value: []byte(told)})
	}
	return headers
}

// millis returns a time of the store in Unix milliseconds, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// checkLoop refuses an output to a topic that is consumed (F14).
func (o *Options) checkLoop(topic string) error {
	if slices.Contains(o.Topics, topic) || slices.Contains(o.sources, topic) {
		return fmt.Errorf("%w: %q; give the outputs a topic of their own", ErrLoop, topic)
	}
	return nil
}

// batchSize returns how many bytes a record takes in a batch of its own, not
// compressed: what a topic's max.message.bytes is compared with, and a few more.
func batchSize(r *kgo.Record) int {
	const overhead = 61 + 5 // the batch's header; its length in a request
	size := 1 + 1 + 1       // attributes, and the deltas of time and offset
	field := func(length int) { size += kbin.VarintLen(int32(length)) + length }
	field(len(r.Key))
	field(len(r.Value))
	size += kbin.VarintLen(int32(len(r.Headers)))
	for _, h := range r.Headers {
		field(len(h.Key))
		field(len(h.Value))
	}
	return overhead + kbin.VarintLen(int32(size)) + size
}
