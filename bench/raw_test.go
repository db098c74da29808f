package bench

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// rawRecords are 100 bytes each, in four partitions; a tenth are duplicates.
const rawRecords, rawPartitions = 1_000_000, 4

// BenchmarkConsumeAgainstRaw has a plain client, which polls, counts and commits, and
// the consume job with a handler that does nothing read the same topic in turn, from
// a kfake broker in this process: its work is in the numbers of both.
func BenchmarkConsumeAgainstRaw(b *testing.B) {
	kafka := kafkatest.NewFake(b, kfake.SeedTopics(rawPartitions, "in"))
	againstRaw(b, kafka, "in")
}

func againstRaw(b *testing.B, kafka *kafkatest.Cluster, topic string) {
	loadTopic(b, kafka, topic, rawPartitions, rawRecords)
	for _, poll := range []int{500, 5_000} {
		b.Run(fmt.Sprintf("poll=%d", poll), func(b *testing.B) {
			var raw, job cost
			for n := 0; b.Loop(); n++ {
				group := kafkatest.Name(b)
				rawly := func() { raw.of(b, func() { consumeRaw(b, kafka, topic, group+"-raw", poll) }) }
				if n%2 == 0 {
					rawly()
				}
				st, err := store.Open(b.TempDir(), nil)
				require.NoError(b, err)
				c, err := adapter.New(st, func(context.Context, *adapter.Tx, *adapter.Record) error { return nil },
					&adapter.Options{
						Brokers: kafka.Brokers(), Client: kafka.DialOptions(), Group: group, Topics: []string{topic},
						ID: adapter.Key(), MaxPollRecords: poll, Dynamic: true, UntilEnd: true,
						Logger: slog.New(slog.DiscardHandler),
					})
				require.NoError(b, err)
				job.of(b, func() { require.NoError(b, c.Run(b.Context())) })
				require.Equal(b, uint64(rawRecords), c.Stats().Records)
				require.NoError(b, st.Close())
				if n%2 == 1 {
					rawly()
				}
			}
			raw.report(b, "raw")
			job.report(b, "job")
			b.ReportMetric(job.cpuMicros()-raw.cpuMicros(), "more-cpu-us/record")
		})
	}
}

// consumeRaw reads the topic as a program without firstseen does.
func consumeRaw(b *testing.B, kafka *kafkatest.Cluster, topic, group string, poll int) {
	cl, err := kgo.NewClient(append(kafka.DialOptions(), kgo.SeedBrokers(kafka.Brokers()...),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(kgo.RangeBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())...)
	require.NoError(b, err)
	defer cl.CloseAllowingRebalance()
	count, bytes := 0, 0
	for count < rawRecords {
		polled := cl.PollRecords(b.Context(), poll)
		require.NoError(b, polled.Err())
		polled.EachRecord(func(r *kgo.Record) {
			count++
			bytes += len(r.Key) + len(r.Value)
		})
		require.NoError(b, cl.CommitUncommittedOffsets(b.Context()))
		cl.AllowRebalance()
	}
	require.Equal(b, 100*rawRecords, bytes)
}

// cost is what the readings of one side took, of all processors of this process.
type cost struct {
	records int
	wall    time.Duration
	cpu     time.Duration
}

func (c *cost) of(b *testing.B, read func()) {
	runtime.GC() // what the other side left is not this one's
	begun, cpu := time.Now(), cpuTime(b)
	read()
	c.wall, c.cpu, c.records = c.wall+time.Since(begun), c.cpu+cpuTime(b)-cpu, c.records+rawRecords
}

func (c *cost) cpuMicros() float64 { return c.cpu.Seconds() * 1e6 / float64(c.records) }

func (c *cost) report(b *testing.B, side string) {
	b.ReportMetric(float64(c.records)/c.wall.Seconds(), side+"-records/s")
	b.ReportMetric(c.cpuMicros(), side+"-cpu-us/record")
}
