package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// HeaderRefused holds, in the dead letter of an output that Kafka refused for good
// after it was staged, the name of the topic that it was to go to. Such a dead letter
// is the output, not the record that it was made of: that is handled, and HeaderTopic
// and HeaderOrigin say where it stands.
const HeaderRefused = "firstseen-refused"

// refused does with an output that Kafka refuses for good what Options.OnFailure
// says (R12). Its batch has been durable for long, so there is nothing to undo: Run
// ends or the partition pauses, with the output pending and the others behind it, or
// a dead letter takes its place. What that topic refuses ends Run.
func (p *partition) refused(out *output) error {
	why := p.refusal(out)
	o := &p.s.c.opts
	switch {
	case o.OnFailure == FailureDeadLetter && !o.isAside(out.rec.Topic):
		return p.replace(out, why)
	case o.OnFailure == FailurePause:
		p.tries.refused, p.failed = true, why
		return nil
	default:
		p.tries.refused = true
		return why
	}
}

// replace stages a dead letter in the place of a refused output.
func (p *partition) replace(out *output, why error) error {
	limit, err := p.s.limitOf(p.s.c.opts.DeadLetterTopic)
	if err != nil {
		return errors.Join(why, err)
	}
	dead := p.refusedLetter(out, limit.partitions)
	if size := batchSize(dead); size > int(limit.bytes) {
		p.tries.refused = true
		return errors.Join(why, fmt.Errorf("%w: its dead letter has %d bytes, topic %q allows %d",
			ErrOutputTooLarge, size, dead.Topic, limit.bytes))
	}
	at, err := p.staging(out.key)
	if err == nil {
		err = p.ns.Update(func(b *store.Batch) error {
			p.tell(b)
			return b.Replace(at, encodeOutput(dead))
		})
	}
	if err != nil {
		return later(fmt.Errorf("adapter: outputs of %s/%d: %w", p.topic, p.number, err))
	}
	p.durable(p.next, nil)
	p.out.replace(out, newOutput(dead, out.key))
	p.tries = tries{}
	p.s.c.opts.Logger.Warn("an output is refused and goes to the dead-letter topic", "topic", p.topic,
		"partition", p.number, "reason", why)
	return nil
}

// staging returns an output as the store has it.
func (p *partition) staging(key outputKey) (found store.Output, err error) {
	err = p.ns.Pending(func(o store.Output) error {
		if key == (outputKey{o.Sequence, o.Origin.Offset, o.Index}) {
			found = o
		}
		return nil
	})
	return found, err
}

// refusedLetter returns the dead letter of an output: as it is, under its output ID.
func (p *partition) refusedLetter(out *output, partitions int32) *kgo.Record {
	rec := *out.rec
	dead := &kgo.Record{
		Topic: p.s.c.opts.DeadLetterTopic, Partition: p.number % partitions,
		Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp, Headers: slices.Clone(rec.Headers),
	}
	if now := time.Now(); dead.Timestamp.After(now.Add(maxAhead)) {
		original := strconv.AppendInt(nil, dead.Timestamp.UnixMilli(), 10)
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: HeaderTime, Value: original})
		dead.Timestamp = now.Truncate(time.Millisecond)
	}
	dead.Headers = append(dead.Headers,
		kgo.RecordHeader{Key: HeaderTopic, Value: []byte(p.topic)},
		kgo.RecordHeader{Key: HeaderError, Value: []byte(errorText(out.err))},
		kgo.RecordHeader{Key: HeaderAttempts, Value: []byte("0")},
		kgo.RecordHeader{Key: HeaderRefused, Value: []byte(rec.Topic)})
	return dead
}
