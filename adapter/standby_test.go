package adapter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// pair runs two consumers of one group, each with half of the partitions and
// standing by for all.
func (w *world) pair(h Handler) (one, two *Consumer, stopOne, stopTwo func() error) {
	w.Helper()
	first := w.st
	second, err := store.Open(filepath.Join(w.dir, "two"), nil)
	require.NoError(w, err)
	w.Cleanup(func() { _ = second.Close() })
	one, stopOne = w.start(h)
	w.until(func() bool { return one.Stats().Partitions == 2 })
	w.st = second
	two, stopTwo = w.start(h)
	w.st = first
	w.until(func() bool { return one.Stats().Partitions == 1 && two.Stats().Partitions == 1 })
	return one, two, stopOne, stopTwo
}

// warmed tells whether a consumer's standby has come up to an offset.
func warmed(c *Consumer, at int64) func() bool {
	return func() bool {
		all := c.Standbys()
		return len(all) == 1 && all[0].Err == nil && all[0].Offset == at && all[0].Group == at
	}
}

// E06, E07: an instance that stands by has the markers of the other's partition when
// it takes it over: nothing is left to restore, also where the log is gone. Nothing
// is committed for it before, and the handler is not called.
func TestFault_E06_StandbyTakesOver(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.Standby = map[string][]int32{topic: {0, 1}}
		_, two, stopOne, stopTwo := w.pair(w.calls.seen)
		for p := range int32(2) {
			w.produce(p, ids(string('a'+p), 50)...)
		}
		w.until(warmed(two, 50))
		other := two.Standbys()[0].Partition
		require.Equal(t, 1, two.Stats().Partitions)
		require.Len(t, w.calls.count(), 100)
		w.produce(other, ids("x", 10)...)
		w.until(warmed(two, 60))
		w.kafka.DeleteRecords(t, topic, other, 60)
		before := two.Stats().Restored

		require.NoError(t, stopOne())
		w.until(func() bool { return two.Stats().Partitions == 2 })
		require.Empty(t, two.Standbys())
		w.produce(other, append(append(ids(string('a'+other), 50), ids("x", 10)...), "new")...)
		w.until(func() bool { return w.committedAt(other) == 121 })
		require.NoError(t, stopTwo())
		require.Equal(t, before, two.Stats().Restored)
		require.Zero(t, two.Stats().Unknown)
		for id, n := range w.calls.count() {
			require.Equal(t, 1, n, id)
		}
		require.Len(t, w.calls.count(), 111)
	})
}

// With a pure handler the state is warm, too, and no output is doubled.
func TestFault_E06_StandbyWithState(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 2, nil)
		w.opts.Standby, w.opts.Pure = map[string][]int32{topic: {0, 1}}, true
		_, two, stopOne, stopTwo := w.pair(shout)
		for p := range int32(2) {
			w.produce(p, ids(string('a'+p), 50)...)
		}
		w.until(warmed(two, 50))
		other := two.Standbys()[0].Partition
		ns, err := two.st.Namespace(namespaceName(group, topic, other), nil)
		require.NoError(t, err)
		sum := func() (n int64) {
			require.NoError(t, ns.View(func(v *store.View) (err error) {
				n, err = v.Int([]byte("n"))
				return err
			}))
			return n
		}
		require.Equal(t, int64(50), sum())
		require.NoError(t, stopOne())
		w.until(func() bool { return two.Stats().Partitions == 2 })
		w.produce(other, "new", string('a'+other)+"3")
		w.until(func() bool { return w.committedAt(other) == 52 })
		require.Equal(t, int64(51), sum())
		require.NoError(t, stopTwo())
		for value, n := range w.outputs(outTopic) {
			require.Equal(t, 1, n, value)
		}
	})
}

// What a takeover would stop with is told while the instance stands by, once for
// each offset, and nothing is changed.
func TestStandby_SaysWhatIsWrong(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		logged := new(alarms)
		w.opts.Standby, w.opts.Logger = map[string][]int32{topic: {0, 1}}, logged.logger()
		_, two, stopOne, stopTwo := w.pair(w.calls.handle) // state, and not pure
		for p := range int32(2) {
			w.produce(p, ids(string('a'+p), 5)...)
		}
		w.until(func() bool { all := two.Standbys(); return len(all) == 1 && all[0].Err != nil && all[0].Group == 5 })
		require.ErrorIs(t, two.Standbys()[0].Err, ErrStateElsewhere)
		time.Sleep(time.Minute)
		require.Contains(t, logged.text(), "standby does not follow")
		require.NoError(t, stopTwo())
		require.NoError(t, stopOne())
	})
}

func TestOptions_Standby(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Standby = map[string][]int32{"elsewhere": {0}, topic: {-1}}
		_, err := New(w.st, w.calls.seen, &w.opts)
		require.ErrorContains(t, err, `Standby names topic "elsewhere"`)
		require.ErrorContains(t, err, "below 0")
	})
}
