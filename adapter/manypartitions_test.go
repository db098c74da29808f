package adapter

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// E22: one instance has 10,000 partitions: one store, no goroutine for each, and a
// poll that brings one record costs no more for the idle ones than looking.
func TestFault_E22_ManyPartitions(t *testing.T) {
	const partitions = 10_000 / matrixShare
	kafka := kafkatest.NewFake(t, kfake.SeedTopics(partitions, topic))
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	recs := make([]*kgo.Record, partitions)
	for p := range recs {
		recs[p] = record(int32(p), "a")
	}
	cl := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
	var handled atomic.Int64
	o := &Options{
		Brokers: kafka.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"), Logger: quietLogger,
		Balancer: BalancerCooperativeSticky,
	}
	for _, run := range []string{"cold", "warm"} {
		c, err := New(st, func(context.Context, *Tx, *Record) error { handled.Add(1); return nil }, o)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		begun := time.Now()
		go func() { ended <- c.Run(ctx) }()
		require.Eventually(t, func() bool {
			return c.Stats().Partitions == partitions && handled.Load() >= partitions && c.Stats().Lag == 0
		}, 2*time.Minute, 10*time.Millisecond)
		t.Logf("%s: all %d partitions flow after %v", run, partitions, time.Since(begun).Round(10*time.Millisecond))

		before := handled.Load()
		begun = time.Now()
		const one = 100
		for i := range one {
			rec := record(int32(i%partitions), run+string(rune('0'+i)))
			require.NoError(t, cl.ProduceSync(t.Context(), rec).FirstErr())
			require.Eventually(t, func() bool { return handled.Load() == before+int64(i)+1 },
				time.Minute, 100*time.Microsecond)
		}
		t.Logf("%s: %d records one by one in %v", run, one, time.Since(begun).Round(time.Millisecond))
		require.Less(t, runtime.NumGoroutine(), 300, "none for each partition")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%s: %d goroutines, %d MB of heap", run, runtime.NumGoroutine(), m.HeapAlloc>>20)
		cancel()
		require.NoError(t, <-ended)
		require.Zero(t, c.Stats().Sessions)
	}
}
