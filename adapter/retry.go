package adapter

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// backOff returns how long to pause after so many failures in a row (the first
// is 0): twice as long each time, up to 10 s, of which a random half is taken.
func backOff(failures int) time.Duration {
	pause := lastPause
	if failures < 7 {
		pause = min(lastPause, firstPause<<failures)
	}
	return pause/2 + rand.N(pause/2)
}

// wait waits. It returns false at once when ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// later makes of an error of the store one that a new session follows on, when
// the store only accepts nothing for now: its disk is full, or too slow. The
// session ends, so that its partitions can go to another member meanwhile.
func later(err error) error {
	if errors.Is(err, store.ErrDiskFull) || errors.Is(err, store.ErrBacklog) {
		return &again{err}
	}
	return err
}

// passes tells whether an error from Kafka may end by itself: the network, a
// broker that is away, a request that timed out, a state that Kafka says to
// try again in. What Kafka answers for good, such as a missing permission,
// does not, nor does a damaged batch.
func passes(err error) bool {
	var answer *kerr.Error
	switch {
	case isDamage(err): // though Kafka calls it retriable
		return false
	case errors.As(err, &answer):
		return answer.Retriable
	}
	return true
}

// fenced are the answers after which a member's session is over.
var fenced = []error{
	kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID,
	kerr.StaleMemberEpoch, kerr.FencedMemberEpoch, kerr.UnknownTopicID,
	kerr.UnknownTopicOrPartition, kerr.OffsetOutOfRange, kerr.FencedLeaderEpoch,
	kerr.UnreleasedInstanceID,
}

// endsSession tells whether an error ends the session, but not Run: a new
// session plans anew.
func endsSession(err error) bool {
	for _, f := range fenced {
		if errors.Is(err, f) {
			return true
		}
	}
	var loss *kgo.ErrDataLoss
	return errors.As(err, &loss)
}

// pauseAfter returns how long to pause before a record is handled again that
// failed so many times in a row. A cluster that has to be mended first, such as
// one with too few replicas, is given ten times as long at the beginning.
func pauseAfter(err error, attempts int) time.Duration {
	if ClassOf(err) == ClassConditional {
		return max(backOff(attempts-1), backOff(3))
	}
	return backOff(attempts - 1)
}

// lasting tells whether a failure of a record is a pure function of the record
// and the settings, so that another attempt would fail the same way.
func lasting(err error) bool { return ClassOf(err) == ClassPermanent }
