package adapter

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// allTopics are those that must exist when Run begins.
func (o *Options) allTopics() []string {
	return append(slices.Clone(o.Topics), o.asideTopics()...)
}

// asideTopics are those of records that are kept aside.
func (o *Options) asideTopics() []string {
	return slices.DeleteFunc([]string{o.DeadLetterTopic, o.DuplicatesTopic},
		func(topic string) bool { return topic == "" })
}

// isAside tells whether a topic is one of them. One that does not exist any more
// is taken to come back as it was: what it is to hold can wait.
func (o *Options) isAside(topic string) bool { return slices.Contains(o.asideTopics(), topic) }

// aside stages the handled record for a topic where it is kept, in the partition
// of its own number as far as there are as many.
func (t *Tx) aside(out *kgo.Record, own []kgo.RecordHeader) error {
	own = append(own, t.originals()...)
	return t.produce(out, func(partitions int32) int32 { return t.rec.Partition % partitions }, own...)
}

// originals returns the headers of the handled record that an output would lose,
// each under a name that it keeps.
func (t *Tx) originals() (kept []kgo.RecordHeader) {
	for _, h := range t.rec.Headers {
		if rest, ours := strings.CutPrefix(h.Key, HeaderPrefix); ours {
			kept = append(kept, kgo.RecordHeader{Key: HeaderOriginal + rest, Value: bytes.Clone(h.Value)})
		}
	}
	return kept
}

// limitOf returns what a topic of outputs accepts.
func (s *session) limitOf(topic string) (limit, error) {
	l, err := s.topics.of(s.work, topic)
	if s.c.opts.isAside(topic) && errors.Is(err, ErrUnknownTopic) {
		if last, ok := s.topics.last(topic); ok {
			return last, nil
		}
	}
	return l, err
}
