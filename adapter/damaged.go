package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// mostDecompressed is what one batch may be decompressed to, unless Options.Client
// says otherwise: a few kilobytes that a producer wrote could fill the memory.
const mostDecompressed = 256 << 20

// damage is why a batch of the log cannot be read: its checksum is of other bytes,
// they are none of a batch, or it is too large once it is decompressed. Reading it
// again gives the same.
type damage struct{ err error }

func (d *damage) Error() string { return d.err.Error() }

func (d *damage) Unwrap() error { return d.err }

func isDamage(err error) bool {
	var d *damage
	return errors.As(err, &d)
}

// damageOf returns an error of a fetched partition as damage, when it is one: it is
// no answer of Kafka, and none of the client about itself.
func damageOf(err error) error {
	var answer *kerr.Error
	var session *kgo.ErrGroupSession
	var loss *kgo.ErrDataLoss
	switch {
	case err == nil, errors.As(err, &answer), errors.As(err, &session), errors.As(err, &loss),
		errors.Is(err, kgo.ErrClientClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	return &damage{err}
}

// damaged returns why the session ends of which a poll brought damage. The records
// before it came with it: they are done by now, and nothing behind it was read.
func (s *session) damaged(polled kgo.Fetches) error {
	var errs []error
	polled.EachError(func(topic string, number int32, err error) {
		if err = damageOf(err); err == nil {
			return
		}
		what := fmt.Sprintf("%s/%d", topic, number)
		s.mu.Lock()
		if p := s.parts[topicPartition{topic, number}]; p != nil {
			what = fmt.Sprintf("%s from offset %d on", what, p.next.Offset)
		}
		s.mu.Unlock()
		errs = append(errs, fmt.Errorf("%w: %s: %w; %s", ErrConsumeRefused, what, err, wayOut(err)))
	})
	return errors.Join(errs...)
}
