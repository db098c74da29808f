package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A static member that ends is waited for; one that has left is not.
func TestConsumer_Leave(t *testing.T) {
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				gone := func(leave bool) time.Duration {
					c, stop := w.start(w.calls.handle)
					w.until(func() bool { return c.Stats().Partitions == 2 })
					require.ErrorIs(t, c.Leave(t.Context()), ErrInUse)
					other := &world{T: t, kafka: w.kafka, opts: w.opts, calls: new(calls)}
					other.openAt(t.TempDir())
					defer func() { require.NoError(t, other.st.Close()) }()
					o, end := other.start(other.calls.handle)
					w.until(func() bool { return c.Stats().Partitions == 1 && o.Stats().Partitions == 1 })
					require.NoError(t, stop())
					begun := time.Now()
					if leave {
						require.NoError(t, c.Leave(t.Context()))
						require.NoError(t, c.Leave(t.Context()), "once is enough")
					}
					w.until(func() bool { return o.Stats().Partitions == 2 })
					took := time.Since(begun)
					require.NoError(t, end())
					require.NoError(t, o.Leave(t.Context()))
					return took
				}
				require.Less(t, gone(true), 10*time.Second)
				if !balancers[balancer].server { // kfake waits for a static member of KIP-848 for ever
					require.Greater(t, gone(false), 30*time.Second, "as long as the session time-out")
				}
			})
		})
	}
}

// A dynamic member is gone when Run ends.
func TestOptions_Dynamic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Dynamic = true
		w.produce(0, "a")
		require.NoError(t, w.run())
		w.kafka.SetGroupOffset(t, group, topic, 0, 1) // refused while there are members
		require.NoError(t, w.consumer(shout).Leave(t.Context()), "there is nothing to leave")
	})
}

func TestLeave_Refused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		err := Leave(t.Context(), []string{"nowhere:1"}, group, "x", append(w.kafka.DialOptions(), kgo.RequestRetries(0))...)
		require.ErrorIs(t, err, ErrBrokersAway)
		require.NoError(t, Leave(t.Context(), w.kafka.Brokers(), "never heard of", "x", w.kafka.DialOptions()...))
	})
}
