package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// BenchmarkRestore measures how fast markers are read back from the log: a store that
// is empty takes partitions over that another store had read to the end. The broker
// is in this process and in memory, so its work is in the number, too. Records have
// a 16-byte ID in a header and a value of 100 bytes, in batches of a thousand.
func BenchmarkRestore(b *testing.B) {
	for _, partitions := range []int32{1, 12} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			kafka := kafkatest.NewFake(b, kfake.SeedTopics(partitions, "in"))
			benchRestore(b, kafka, "in", partitions)
		})
	}
}

// restoreRecords is a multiple of the numbers of partitions.
const restoreRecords = 2_400_000

func benchRestore(b *testing.B, kafka *kafkatest.Cluster, topic string, partitions int32) {
	each := restoreRecords / int(partitions)
	fillTopic(b, kafka, topic, partitions, each)
	nothing := func(context.Context, *adapter.Tx, *adapter.Record) error { return nil }
	run := func(st *store.Store, opts adapter.Options) adapter.Stats {
		opts.Brokers, opts.Topics, opts.ID = kafka.Brokers(), []string{topic}, adapter.Header("id")
		opts.Group, opts.Dynamic, opts.UntilEnd, opts.MaxPollRecords = topic, true, true, 50_000
		opts.Logger = slog.New(slog.DiscardHandler)
		c, err := adapter.New(st, nothing, &opts)
		require.NoError(b, err)
		require.NoError(b, c.Run(b.Context()))
		return c.Stats()
	}
	st, err := store.Open(b.TempDir(), nil)
	require.NoError(b, err)
	run(st, adapter.Options{})
	require.NoError(b, st.Close())
	var took time.Duration
	records := uint64(0)
	for b.Loop() {
		st, err := store.Open(b.TempDir(), nil)
		require.NoError(b, err)
		var begun, ended time.Time
		var mu sync.Mutex // partitions tell side by side
		s := run(st, adapter.Options{
			OnRestore: func(p adapter.RestoreProgress) {
				mu.Lock()
				defer mu.Unlock()
				if begun.IsZero() {
					begun = time.Now()
				}
				if p.Done {
					ended = time.Now()
				}
			},
		})
		require.Equal(b, uint64(each)*uint64(partitions), s.Restored)
		records, took = records+s.Restored, took+ended.Sub(begun)
		require.NoError(b, st.Close())
	}
	b.ReportMetric(float64(records)/took.Seconds(), "IDs/s")
}

func fillTopic(b *testing.B, kafka *kafkatest.Cluster, topic string, partitions int32, each int) {
	cl := kafka.Client(b, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200_000),
		kgo.ProducerLinger(20*time.Millisecond))
	value := make([]byte, 100)
	at := time.Now().Add(-time.Hour)
	for i := range each {
		for p := range partitions {
			cl.Produce(b.Context(), &kgo.Record{Topic: topic, Partition: p, Value: value,
				Timestamp: at.Add(time.Duration(i) * time.Millisecond),
				Headers:   []kgo.RecordHeader{{Key: "id", Value: fmt.Appendf(nil, "id-%013d", i)}}},
				func(_ *kgo.Record, err error) { require.NoError(b, err) })
		}
	}
	require.NoError(b, cl.Flush(b.Context()))
}
