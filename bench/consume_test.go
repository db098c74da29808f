package bench

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// BenchmarkConsume is the whole way of a record, with a handler that does nothing,
// from a kfake broker in the same process: what each commit strategy costs, and
// what a batch handler saves. A tenth are duplicates.
func BenchmarkConsume(b *testing.B) {
	kafka := kafkatest.NewFake(b, kfake.SeedTopics(1, "in"))
	const most = 200_000
	loadTopic(b, kafka, "in", 1, most)
	nothing := func(context.Context, *adapter.Tx, *adapter.Record) error { return nil }
	for _, way := range []struct {
		name    string
		commit  adapter.CommitStrategy
		records int
		batch   bool
	}{
		{"commit=poll", adapter.CommitPerPoll(), most, false},
		{"commit=record", adapter.CommitPerRecord(), 5_000, false},
		{"commit=async", adapter.CommitAsync(), most, false},
		{"commit=every-10000", adapter.CommitEvery(10_000, 0), most, false},
		{"commit=every-1s", adapter.CommitEvery(0, time.Second), most, false},
		{"commit=poll/batch", adapter.CommitPerPoll(), most, true},
	} {
		b.Run(way.name, func(b *testing.B) {
			for n := 0; b.Loop(); n++ {
				st, err := store.Open(b.TempDir(), nil)
				require.NoError(b, err)
				opts := &adapter.Options{
					Brokers: kafka.Brokers(), Client: kafka.DialOptions(), Topics: []string{"in"}, ID: adapter.Key(),
					Group: fmt.Sprint(way.name, n, time.Now().UnixNano()), Commit: way.commit,
					UntilEnd: way.records == most, Logger: slog.New(slog.DiscardHandler),
				}
				ctx, stop := context.WithCancel(b.Context())
				handled := 0
				c, err := adapter.New(st, func(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error {
					if handled++; handled == way.records {
						stop()
					}
					return nothing(ctx, tx, rec)
				}, opts)
				if way.batch {
					c, err = adapter.NewBatch(st, func(context.Context, *adapter.BatchTx, []*adapter.Record) error {
						return nil
					}, opts)
				}
				require.NoError(b, err)
				begun, cpu := time.Now(), cpuTime(b)
				require.NoError(b, c.Run(ctx))
				took, spent := time.Since(begun), cpuTime(b)-cpu
				stop()
				records := float64(c.Stats().Records)
				b.ReportMetric(float64(took.Nanoseconds())/records, "ns/record")
				b.ReportMetric(float64(spent.Nanoseconds())/records, "cpu-ns/record")
				require.NoError(b, st.Close())
			}
		})
	}
}

// loadTopic writes records of 100 bytes, a tenth of them duplicates.
func loadTopic(b *testing.B, kafka *kafkatest.Cluster, topic string, partitions, n int) {
	b.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		id := i
		if i%10 == 9 {
			id = i - 5
		}
		recs[i] = &kgo.Record{Topic: topic, Partition: int32(id % partitions),
			Key: fmt.Appendf(nil, "payment-%08d", id), Value: make([]byte, 84)}
	}
	kafka.Produce(b, recs...)
}
