//go:build kafka

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

const rebalancePartitions = 12

// BenchmarkRebalance has a third member join two and leave again, on a real broker,
// while every partition gets a record each 5 ms: how long a partition has none
// handled, when it stays with its member and when it moves. The members are plain
// clients that poll, count and commit, in one group, and consume jobs with a handler
// that does nothing, in another; their rebalances take turns. The stores are warm: each
// has had the partitions that it gets, so that it restores what came since. Of each
// rebalance the slowest partition counts; the figures are the middle one of all
// rebalances, and the slowest.
func BenchmarkRebalance(b *testing.B) {
	k := kafkatest.NewReal(b)
	for _, way := range []struct {
		name     string
		balancer adapter.Balancer
		raw      []kgo.Opt
	}{
		{"cooperative-sticky", adapter.BalancerCooperativeSticky, []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}},
		{"KIP-848", adapter.BalancerServerUniform, []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}},
	} {
		b.Run("protocol="+way.name, func(b *testing.B) { benchRebalance(b, k, way.balancer, way.raw) })
	}
}

func benchRebalance(b *testing.B, k *kafkatest.Broker, balancer adapter.Balancer, raw []kgo.Opt) {
	topic := kafkatest.Name(b)
	k.CreateTopic(b, topic, rebalancePartitions, nil)
	heartbeat := kgo.HeartbeatInterval(500 * time.Millisecond) // as the broker has it for KIP-848
	crews := []*rebalanced{
		newRebalanced(b, "raw", func(int) func(context.Context, func(int32)) error {
			return func(ctx context.Context, handled func(int32)) error {
				return pollRaw(ctx, handled, append(slices.Clone(raw), kgo.SeedBrokers(k.Brokers()...), heartbeat,
					kgo.ConsumerGroup(topic+"-raw"), kgo.ConsumeTopics(topic)))
			}
		}),
		newRebalanced(b, "job", func(int) func(context.Context, func(int32)) error {
			st, err := store.Open(b.TempDir(), nil)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, st.Close()) })
			return func(ctx context.Context, handled func(int32)) error {
				c, err := adapter.New(st, func(_ context.Context, _ *adapter.Tx, rec *adapter.Record) error {
					handled(rec.Partition)
					return nil
				}, &adapter.Options{
					Brokers: k.Brokers(), Group: topic + "-job", Topics: []string{topic}, ID: adapter.Key(),
					Balancer: balancer, Dynamic: true, Client: []kgo.Opt{heartbeat}, Logger: slog.New(slog.DiscardHandler),
				})
				if err != nil {
					return err
				}
				return c.Run(ctx)
			}
		}),
	}
	trickle(b, k, topic)
	for _, r := range crews {
		r.begin(b, 0)
		r.begin(b, 1)
		r.await(b, 2)
		r.begin(b, 2) // not measured: now every store is warm
		r.await(b, 3)
		r.leave(b, 2)
		r.await(b, 2)
	}
	for b.Loop() {
		for _, r := range crews {
			r.measure(b, "join", 3, func() { r.begin(b, 2) })
			r.measure(b, "leave", 2, func() { r.leave(b, 2) })
		}
	}
	for _, r := range crews {
		r.report(b)
		r.leave(b, 0)
		r.leave(b, 1)
	}
}

// trickle produces until the benchmark ends.
func trickle(b *testing.B, k *kafkatest.Broker, topic string) {
	cl := k.Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			<-tick.C
			for p := range int32(rebalancePartitions) {
				cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: p, Key: fmt.Appendf(nil, "%d-%d", p, n)}, nil)
			}
		}
	})
	b.Cleanup(func() { cancel(); work.Wait() })
}

// pollRaw is a member without firstseen.
func pollRaw(ctx context.Context, handled func(int32), opts []kgo.Opt) error {
	cl, err := kgo.NewClient(append(opts, kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())...)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	for ctx.Err() == nil {
		polled := cl.PollRecords(ctx, 500)
		polled.EachRecord(func(r *kgo.Record) { handled(r.Partition) })
		if err := cl.CommitUncommittedOffsets(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		cl.AllowRebalance()
	}
	return nil
}

// rebalanced are the members of one group, and the pauses of its partitions.
type rebalanced struct {
	name   string
	run    []func(context.Context, func(int32)) error
	stop   [3]context.CancelFunc
	ended  [3]chan error
	pauses map[string][]time.Duration // by event and kind: of the slowest partition

	mu    sync.Mutex
	last  [rebalancePartitions]seen
	stays [rebalancePartitions]time.Duration // the longest pause since an event began
	moves [rebalancePartitions]time.Duration
}

// seen is the last record that was handled of a partition.
type seen struct {
	member int
	at     time.Time
}

func newRebalanced(
	b *testing.B, name string, member func(int) func(context.Context, func(int32)) error,
) *rebalanced {
	b.Helper()
	r := &rebalanced{name: name, pauses: make(map[string][]time.Duration)}
	for i := range r.stop {
		r.run = append(r.run, member(i))
	}
	return r
}

func (r *rebalanced) begin(b *testing.B, member int) {
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	r.stop[member], r.ended[member] = stop, ended
	go func() { ended <- r.run[member](ctx, func(p int32) { r.handled(member, p) }) }()
}

func (r *rebalanced) leave(b *testing.B, member int) {
	r.stop[member]()
	require.NoError(b, <-r.ended[member])
}

func (r *rebalanced) handled(member int, partition int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, last := time.Now(), r.last[partition]
	r.last[partition] = seen{member, now}
	switch pause := now.Sub(last.at); {
	case last.at.IsZero():
	case last.member == member:
		r.stays[partition] = max(r.stays[partition], pause)
	default:
		r.moves[partition] = max(r.moves[partition], pause)
	}
}

// await returns when so many members share all partitions evenly, and each has flowed
// for a while.
func (r *rebalanced) await(b *testing.B, members int) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var even time.Time
	for begun := time.Now(); ; <-tick.C {
		require.Less(b, time.Since(begun), time.Minute, "%s: %d members do not share the partitions", r.name, members)
		switch {
		case !r.shared(members):
			even = time.Time{}
		case even.IsZero():
			even = time.Now()
		case time.Since(even) > time.Second:
			return
		}
	}
}

func (r *rebalanced) shared(members int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var has [3]int
	for _, s := range r.last {
		if time.Since(s.at) > 500*time.Millisecond {
			return false
		}
		has[s.member]++
	}
	for _, n := range has[:members] {
		if n != rebalancePartitions/members {
			return false
		}
	}
	return true
}

// measure notes the pauses from an event on until its members share the partitions.
func (r *rebalanced) measure(b *testing.B, event string, members int, begin func()) {
	r.mu.Lock()
	r.stays, r.moves = [rebalancePartitions]time.Duration{}, [rebalancePartitions]time.Duration{}
	r.mu.Unlock()
	begin()
	r.await(b, members)
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind, all := range map[string]*[rebalancePartitions]time.Duration{"stays": &r.stays, "moves": &r.moves} {
		longest := time.Duration(0)
		for p, pause := range all {
			if kind == "stays" && r.moves[p] > 0 {
				continue
			}
			longest = max(longest, pause)
		}
		r.pauses[event+"-"+kind] = append(r.pauses[event+"-"+kind], longest)
	}
}

func (r *rebalanced) report(b *testing.B) {
	for what, pauses := range r.pauses {
		slices.Sort(pauses)
		b.ReportMetric(float64(pauses[len(pauses)/2].Milliseconds()), what+"-"+r.name+"-ms")
		b.ReportMetric(float64(pauses[len(pauses)-1].Milliseconds()), what+"-"+r.name+"-most-ms")
	}
}
