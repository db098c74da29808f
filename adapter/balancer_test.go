package adapter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

var allBalancers = map[string]Balancer{
	"range": BalancerRange, "round-robin": BalancerRoundRobin, "sticky": BalancerSticky,
	"cooperative-sticky": BalancerCooperativeSticky,
	"server-range":       BalancerServerRange, "server-uniform": BalancerServerUniform,
}

// like returns the settings of a foreign member that goes with a balancer.
func like(b Balancer) []kgo.Opt {
	opts := []kgo.Opt{kgo.Balancers(balancers[b].make())}
	if balancers[b].server {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return opts
}

// E04: under every balancer, static or not, a partition that goes is committed and
// let go of, one that stays is kept, and what comes back goes on where it stood.
func TestFault_E04_EveryBalancer(t *testing.T) {
	for name, balancer := range allBalancers {
		for _, dynamic := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/dynamic=%v", name, dynamic), func(t *testing.T) {
				inWorldOf(t, 4, func(t *testing.T, w *world) {
					w.opts.Balancer, w.opts.Dynamic = balancer, dynamic
					for p := range int32(4) {
						w.produce(p, ids("a", 10)...)
					}
					c, stop := w.start(w.calls.handle)
					w.until(func() bool { return c.Stats().New == 40 })
					leave := w.foreign(like(balancer)...)
					w.until(func() bool { return c.Stats().Partitions == 2 })
					for p := range int32(4) {
						require.Equal(t, int64(10), w.committedAt(p))
						w.produce(p, "b", "a0")
					}
					w.until(func() bool { return c.Stats().New == 42 })
					leave()
					w.until(func() bool { return c.Stats().New == 44 && c.Stats().Duplicates == 4 })
					require.NoError(t, stop())
					require.Zero(t, c.Stats().Sessions, "a rebalance is no fault")
					require.Zero(t, c.Stats().Replays, "what was kept was not fetched again")
					for p := range int32(4) {
						require.Equal(t, int64(11), w.state(p, "n"))
						require.Equal(t, int64(12), w.committedAt(p))
					}
				})
			})
		}
	}
}

// E04: while a rebalance waits for a member that takes its time, the partitions
// that stay flow on; under an eager balancer all of them stand.
func TestFault_E04_KeptPartitionsFlowOn(t *testing.T) {
	const held = 20 * time.Second
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 6, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				c, stop := w.start(w.calls.handle)
				w.until(func() bool { return c.Stats().Partitions == 6 })
				slow := w.holding(held, like(balancer)...)
				defer slow.leave()
				w.until(func() bool { return c.Stats().Partitions == 3 })
				for p := range int32(6) { // the slow member gets some, and holds the next rebalance up
					w.produce(p, "a")
				}
				<-slow.holds
				w.until(func() bool { return c.Stats().Lag == 0 && c.Stats().New == 3 })
				before := c.Stats().New
				third := w.foreign(like(balancer)...)
				defer third()
				time.Sleep(5 * time.Second) // it has joined, and waits for the slow one
				kept := balancer >= BalancerCooperativeSticky
				for _, id := range []string{"b", "c", "d"} {
					for p := range int32(6) {
						w.produce(p, id)
					}
					time.Sleep(2 * time.Second)
					require.Equal(t, kept, c.Stats().New > before, "%s: %d more", id, c.Stats().New-before)
					before = c.Stats().New
				}
				w.until(func() bool { return c.Stats().Partitions == 2 && c.Stats().Lag == 0 })
				require.NoError(t, stop())
				require.Zero(t, c.Stats().Sessions)
			})
		})
	}
}

// holder is a foreign member that holds a rebalance up for a while.
type holder struct {
	holds chan struct{} // closed when it begins
	leave func()
}

// holding joins the group as a member that polls records once, and works on them
// for that long before it allows a rebalance.
func (w *world) holding(long time.Duration, opts ...kgo.Opt) holder {
	w.Helper()
	own := append(w.kafka.DialOptions(), kgo.SeedBrokers(w.kafka.Brokers()...),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit())
	cl, err := kgo.NewClient(append(own, opts...)...)
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(w.Context())
	h := holder{holds: make(chan struct{})}
	var polls sync.WaitGroup
	polls.Go(func() {
		held := false
		for ctx.Err() == nil {
			if recs := cl.PollFetches(ctx); recs.NumRecords() > 0 && !held {
				held = true
				close(h.holds)
				wait(ctx, long)
			}
			cl.AllowRebalance()
		}
	})
	h.leave = sync.OnceFunc(func() { cancel(); polls.Wait(); cl.CloseAllowingRebalance() })
	w.Cleanup(h.leave)
	return h
}

// A rebalance waits for the record in hand, not for the batch (E01).
func TestFault_E01_RebalanceCutsABatchShort(t *testing.T) {
	for _, balancer := range []Balancer{BalancerRange, BalancerCooperativeSticky, BalancerServerUniform} {
		t.Run(fmt.Sprint(balancer), func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				for p := range int32(2) {
					w.produce(p, ids("a", 100)...)
				}
				c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
					time.Sleep(time.Second)
					return w.calls.handle(ctx, tx, rec)
				})
				w.until(func() bool { return c.Stats().Partitions == 2 })
				time.Sleep(10 * time.Second)
				begun := time.Now()
				leave := w.foreign(like(balancer)...)
				w.until(func() bool { return c.Stats().Partitions == 1 })
				require.Less(t, time.Since(begun), 15*time.Second, "heartbeats, and a record; not a batch")
				leave()
				w.until(func() bool { return c.Stats().New == 200 })
				require.NoError(t, stop())
				require.Len(t, w.calls.order, 200, "nothing is handled again")
				require.Zero(t, c.Stats().Sessions)
			})
		})
	}
}
