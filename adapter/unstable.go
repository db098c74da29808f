package adapter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// unstableCheck is how often a session that waits for the group's offsets looks why.
// Most transactions are much shorter, and one whose producer died ends with its
// transaction.timeout, 60 s by default.
const unstableCheck = 15 * time.Second

// awaited are the partitions whose offsets were asked for, and since when.
type awaited struct {
	mu    sync.Mutex
	of    map[string][]int32 // nil: none
	since time.Time
	some  bool // there were some, by now
}

func (a *awaited) set(of map[string][]int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of, a.since, a.some = of, time.Now(), a.some || len(of) > 0
}

// ever tells whether the session was ever given partitions.
func (a *awaited) ever() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.some
}

func (a *awaited) get() (of map[string][]int32, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of, a.since
}

// onGiven runs when the group has given the member partitions: their offsets are
// asked for next, and told to onAssigned.
func (s *session) onGiven(_ context.Context, _ *kgo.Client, of map[string][]int32) { s.awaited.set(of) }

// watchUnstable says so when partitions cannot begin because a transaction that
// commits the group's offsets stays open: Kafka hides them until it ends (KIP-447),
// and they are asked for without a limit. Such a transaction ends by itself unless it
// hangs, and then only an operator can end it.
func (s *session) watchUnstable() {
	for wait(s.poll, unstableCheck) {
		of, since := s.awaited.get()
		if len(of) == 0 || time.Since(since) < unstableCheck || !s.unstable(of) {
			continue
		}
		s.c.opts.Logger.Warn("partitions cannot begin: a transaction that commits the group's offsets is open; "+
			"it ends within the transaction.timeout of its producer, or else it hangs: "+
			"kafka-transactions.sh find-hanging finds it, and abort ends it",
			"group", s.c.opts.Group, "for", time.Since(since).Round(time.Second))
	}
}

func (s *session) unstable(of map[string][]int32) bool {
	metadata, err := s.admin.Metadata(s.poll, s.c.opts.Topics...)
	if err != nil {
		return false // asked again
	}
	ids := make(map[string]store.ID)
	for topic := range of {
		ids[topic] = store.ID(metadata.Topics[topic].ID)
	}
	_, err = s.askOffsets(s.poll, of, ids)
	return errors.Is(err, kerr.UnstableOffsetCommit)
}
