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

// damaged returns why the session ends of which a poll brought damage. With the damage
// come records before it, and not always all of them: then the client has the others,
// and the next poll brings them, and the damage once more.
func (s *session) damaged(polled kgo.Fetches) error {
	var errs []error
	polled.EachPartition(func(fp kgo.FetchTopicPartition) {
		err := damageOf(fp.Err)
		if err == nil {
			return
		}
		what := fmt.Sprintf("%s/%d", fp.Topic, fp.Partition)
		s.mu.Lock()
		p := s.parts[topicPartition{fp.Topic, fp.Partition}]
		s.mu.Unlock()
		switch {
		case p == nil:
		case len(fp.Records) > 0 && s.openSource() == nil && s.reader(p).brings(s.work, p.next.Offset):
			return
		default:
			what = fmt.Sprintf("%s from offset %d on", what, p.next.Offset)
		}
		errs = append(errs, fmt.Errorf("%w: %s: %w; %s", ErrConsumeRefused, what, err, wayOut(err)))
	})
	return errors.Join(errs...)
}

// brings tells whether a record stands at an offset or behind it, before any damage.
func (r *reader) brings(ctx context.Context, from int64) bool {
	ctx, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	for {
		recs, next, _, err := r.ask(ctx, from)
		if err != nil || len(recs) > 0 || next <= from {
			return err == nil && len(recs) > 0
		}
		from = next
	}
}
