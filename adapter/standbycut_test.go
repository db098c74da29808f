package adapter

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// E06: an instance stands by, and is in the middle of reading when the partition
// becomes its own. What it has read is not read again: the takeover goes on from
// there. It answers right for both parts, with markers and with state, and nothing is
// handled twice, and no output sent twice.
func TestFault_E06_StandbyIsCutShort(t *testing.T) {
	for name, pure := range map[string]bool{"markers": false, "state": true} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 2, nil)
				h, step := w.calls.seen, "restored"
				if pure {
					h, step, w.opts.Pure = shout, "durable", true
				}
				w.opts.MaxPollRecords, w.opts.Dynamic = 5, true
				w.opts.Standby = map[string][]int32{topic: {0, 1}}
				s := newStandbyCut(w, h, step)
				other := s.other()

				s.armed.Store(true)
				for _, id := range ids("a", 50) {
					w.produce(other, id)
				}
				w.until(func() bool { return s.held.Load() && w.committedAt(other) == 50 })
				mid := s.status(other).Position.Offset
				require.True(t, 0 < mid && mid < 50, "%d is not the middle", mid)
				require.NoError(t, s.stopOne())
				w.until(func() bool { return s.two.Stats().Partitions == 2 })

				require.True(t, mid <= s.from.Load() && s.from.Load() < 50,
					"the takeover begins at %d, the standby had come to %d", s.from.Load(), mid)
				require.Equal(t, store.Coverage{}, s.status(other).Coverage)
				if !pure {
					require.Equal(t, uint64(50), s.two.Stats().Restored, "each record once")
				}
				w.produce(other, append(ids("a", 50), "new")...)
				w.until(func() bool { return w.committedAt(other) == 101 })
				require.NoError(t, s.stopTwo())
				require.Zero(t, s.two.Stats().Unknown)
				if !pure {
					require.Equal(t, append(ids("a", 50), "new"), w.calls.take())
					return
				}
				require.Equal(t, int64(51), s.sum(other))
				require.Len(t, w.outputs(outTopic), 51)
				for value, n := range w.outputs(outTopic) {
					require.Equal(t, 1, n, value)
				}
			})
		})
	}
}

// standbyCut is two instances of a group, the second of which is held in the middle
// of a standby until the partition is assigned to it.
type standbyCut struct {
	*world
	two              *Consumer
	second           *store.Store
	stopOne, stopTwo func() error

	armed, held atomic.Bool
	from        atomic.Int64 // where the takeover begins to read
}

// newStandbyCut runs the two, each with one partition of an empty topic.
func newStandbyCut(w *world, h Handler, step string) *standbyCut {
	w.Helper()
	s := &standbyCut{world: w}
	var err error
	s.second, err = store.Open(filepath.Join(w.dir, "two"), nil)
	require.NoError(w, err)
	w.Cleanup(func() { _ = s.second.Close() })
	one, stopOne := w.start(h)
	s.stopOne = stopOne
	w.until(func() bool { return one.Stats().Partitions == 2 })

	first := w.st
	w.st = s.second
	s.from.Store(-1)
	s.two, s.stopTwo = w.startWith(h, func(c *Consumer) {
		readsSmall(c)
		left := 3
		c.step = func(done string) error { // the standby alone has something to do
			if done != step || !s.armed.Load() || s.held.Load() {
				return nil
			}
			if left--; left > 0 {
				return nil
			}
			s.held.Store(true)
			for of := (topicPartition{topic, s.other()}); !c.standbys.has(of); {
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		}
		c.opts.OnRestore = func(p RestoreProgress) {
			begins := p.Records == 0
			if begins && s.held.Load() && c.standbys.has(topicPartition{p.Topic, p.Partition}) {
				s.from.CompareAndSwap(-1, p.From)
			}
		}
	})
	w.st = first
	w.until(func() bool { return one.Stats().Partitions == 1 && s.two.Stats().Partitions == 1 })
	return s
}

// other is the partition of which two is not the owner.
func (s *standbyCut) other() int32 {
	for p := range int32(2) {
		if !s.two.standbys.has(topicPartition{topic, p}) {
			return p
		}
	}
	return -1
}

// status is what the second store knows of a partition.
func (s *standbyCut) status(partition int32) store.Status {
	s.Helper()
	ns, err := s.second.Namespace(namespaceName(group, topic, partition), nil)
	require.NoError(s, err)
	status, err := ns.Status()
	require.NoError(s, err)
	return status
}

// sum is the handler's state in the second store.
func (s *standbyCut) sum(partition int32) (n int64) {
	s.Helper()
	ns, err := s.second.Namespace(namespaceName(group, topic, partition), nil)
	require.NoError(s, err)
	require.NoError(s, ns.View(func(v *store.View) (err error) {
		n, err = v.Int([]byte("n"))
		return err
	}))
	return n
}

// has tells whether the session has a partition, so that nobody stands by for it.
func (s *standbys) has(of topicPartition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[of]
}
