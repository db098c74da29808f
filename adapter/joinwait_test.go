package adapter

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// saysNoPartitions counts the lines that say that there are none.
func (a *alarms) saysNoPartitions() int { return strings.Count(a.text(), "no partitions yet") }

// takesAll has another member take all partitions.
func (w *world) takesAll(opts ...kgo.Opt) (leave func()) {
	w.Helper()
	var has atomic.Bool
	leave = w.foreign(append(opts, kgo.OnPartitionsAssigned(
		func(_ context.Context, _ *kgo.Client, of map[string][]int32) {
			has.Store(has.Load() || len(of) > 0)
		}))...)
	w.until(has.Load)
	return leave
}

// A member that died without leaving holds the group up, or keeps its partitions,
// until its session times out. Who waits for that says so, once, and not at once.
func TestConsumer_WaitsForADeadMember(t *testing.T) {
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				w.produce(0, "a")
				dial := w.kafka.Client(w).OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
				its := &cable{dial: dial}
				w.takesAll(append(like(balancer), kgo.Dialer(its.connect))...)
				its.set(true) // never heard of again
				said := new(alarms)
				w.opts.Logger = said.logger()
				c, stop := w.start(w.calls.handle)
				time.Sleep(joinPatience - time.Second)
				require.Zero(t, said.saysNoPartitions(), "most rebalances are shorter")
				time.Sleep(2 * time.Second)
				require.Equal(t, 1, said.saysNoPartitions(), said.text())
				require.Contains(t, said.text(), "level=INFO")
				require.Contains(t, said.text(), "one that died without leaving")
				letIn := balancers[balancer].server
				require.Equal(t, letIn, strings.Contains(said.text(), "has given this member none"))
				require.Equal(t, !letIn, strings.Contains(said.text(), "has not let this member in"))
				require.Zero(t, c.Stats().Partitions)
				w.until(func() bool { return w.committedAt(0) == 1 })
				time.Sleep(time.Minute)
				require.Equal(t, 1, said.saysNoPartitions(), "it is over")
				require.Zero(t, c.Stats().Sessions)
				require.NoError(t, stop())
			})
		})
	}
}

// A member for which there are no partitions says so once, however long; one that
// gets some at once says nothing.
func TestConsumer_NoPartitionsForIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		said := new(alarms)
		w.opts.Logger = said.logger()
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return c.Stats().Partitions == 1 })
		time.Sleep(2 * joinPatience)
		require.Zero(t, said.saysNoPartitions(), said.text())
		require.NoError(t, stop())
		require.NoError(t, c.Leave(t.Context()))

		defer w.takesAll(kgo.InstanceID("-"))() // comes before every store in the order of the range
		c, stop = w.start(w.calls.handle)
		time.Sleep(10 * time.Minute)
		require.Empty(t, c.Partitions())
		require.Equal(t, 1, said.saysNoPartitions(), said.text())
		require.Contains(t, said.text(), "its other members have them all")
		require.NoError(t, stop())
	})
}
