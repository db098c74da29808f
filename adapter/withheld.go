package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Damage that the client never tells of. A broker that stumbles over a batch itself
// answers CORRUPT_MESSAGE, which kgo takes for one that passes. A batch whose length
// is wrong ends what kgo reads of an answer, or has the broker send nothing at all.
// All of that is asked for again without an end; so somebody looks from beside.

var (
	errCutBatch = errors.New("none of what Kafka sends there can be read: a batch has a wrong length, or not " +
		"all of its records")
	errWithheld = errors.New("kafka sends nothing there, and no error")
)

const (
	// withheldCheck is how often a session looks at partitions that stand still.
	withheldCheck = 15 * time.Second
	// withheldTries and withheldPause are how often one answer is believed.
	withheldTries = 3
	withheldPause = time.Second
	// nothingPatience is how long Kafka may send nothing of records that it has: they
	// may have to come from a remote storage that is away.
	nothingPatience = 2 * time.Minute
)

// isWithheld tells whether an error is damage of which only an answer tells.
func isWithheld(err error) bool {
	return isDamage(err) && (errors.Is(err, kerr.CorruptMessage) || errors.Is(err, errCutBatch))
}

// withheldOf returns why an answer brings nothing of a batch, nil when it does. Kafka
// sends the first batch whole, however large it is.
func withheldOf(raw *kmsg.FetchResponseTopicPartition, fetched *kgo.FetchPartition, moved bool) error {
	switch {
	case errors.Is(fetched.Err, kerr.CorruptMessage):
		return fmt.Errorf("the broker finds the log damaged: %w", fetched.Err)
	case fetched.Err == nil && len(raw.RecordBatches) > 0 && len(fetched.Records) == 0 && !moved:
		return errCutBatch
	}
	return nil
}

// nothing is the damage of which Kafka says nothing.
func (r *reader) nothing(from int64) error {
	return &damage{fmt.Errorf("%s/%d from offset %d on: %w, though the log goes on to offset %d: a batch has a wrong "+
		"length, or remote storage is away", r.topic, r.number, from, errWithheld, r.stable)}
}

// A standing partition is one whose position has not moved.
type standing struct {
	p     *partition
	at    int64     // where it stands
	read  int64     // what lies below is no record
	empty time.Time // since when Kafka sends nothing; zero: it does
}

// watchWithheld ends the session for a partition that stands still because what comes
// next in its log never comes. What lies before is handled.
func (s *session) watchWithheld() {
	stands := make(map[topicPartition]*standing)
	for wait(s.poll, withheldCheck) {
		var still []*standing
		now := make(map[topicPartition]*standing)
		for _, p := range s.assigned() {
			of := topicPartition{p.topic, p.number}
			at := p.at.Load()
			one := stands[of]
			if one != nil && one.p == p && one.at == at {
				still = append(still, one)
			} else {
				one = &standing{p: p, at: at, read: at}
			}
			now[of] = one
		}
		stands = now
		if len(still) > 0 {
			s.take(s.lookAt(s.poll, still))
		}
	}
}

// lookAt reads on, of partitions of which the log goes on, up to their next record.
func (s *session) lookAt(ctx context.Context, still []*standing) error {
	ends, err := s.admin.stableEnds(ctx, s.c.opts.Topics)
	if err != nil || s.openSource() != nil {
		return nil // asked again
	}
	var errs []error
	for _, one := range still {
		end := ends[one.p.topic][one.p.number]
		if one.read >= end {
			continue
		}
		if err := s.lookUp(ctx, one, end); err != nil && s.has(one.p) && one.p.at.Load() == one.at {
			errs = append(errs, unanswered("records", err))
		}
	}
	return errors.Join(errs...)
}

// lookUp returns the damage behind which the next record is, if any. It may take
// several looks: what was read without one is not read again.
func (s *session) lookUp(ctx context.Context, one *standing, end int64) error {
	log := s.reader(one.p)
	for one.read < end {
		recs, next, _, err := log.ask(ctx, one.read)
		switch {
		case isDamage(err):
			return err
		case err != nil, len(recs) > 0: // it is asked again, or comes by itself
			one.empty = time.Time{}
			return nil
		case next > one.read:
			one.read, one.empty = next, time.Time{}
			continue
		case log.stable <= one.read:
			return nil
		case one.empty.IsZero():
			one.empty = time.Now()
			return nil
		case time.Since(one.empty) < nothingPatience:
			return nil
		}
		if compacted, err := s.admin.compacted(ctx, one.p.topic); err != nil || compacted {
			return nil // there may be nothing
		}
		return log.nothing(one.read)
	}
	return nil
}

// has tells whether a partition is the session's.
func (s *session) has(p *partition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts[topicPartition{p.topic, p.number}] == p
}
