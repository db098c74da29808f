//go:build kafka

package bench

import (
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// BenchmarkRelay copies a topic of four partitions on a real broker, 200,000 records
// of 100 bytes, without duplicates: in transactions of so many records at most, and
// plainly with as many in a poll.
func BenchmarkRelay(b *testing.B) {
	const records, partitions = 200_000, 4
	k := kafkatest.NewReal(b)
	in := "relay-in-" + kafkatest.Name(b)
	keep := map[string]string{"retention.ms": "-1"}
	k.CreateTopic(b, in, partitions, keep)
	recs := make([]*kgo.Record, records)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: in, Partition: int32(i % partitions),
			Key: []byte(strconv.Itoa(i)), Value: make([]byte, 100)}
	}
	k.Produce(b, recs...)
	for _, mode := range []string{"transactional", "plain"} {
		for _, size := range []int{500, 5_000, 50_000} {
			b.Run(fmt.Sprintf("mode=%s/records=%d", mode, size), func(b *testing.B) {
				spent := time.Duration(0)
				for b.Loop() {
					b.StopTimer()
					out := "relay-out-" + kafkatest.Name(b)
					k.CreateTopic(b, out, partitions, keep)
					st, err := store.Open(b.TempDir(), nil)
					require.NoError(b, err)
					c, err := adapter.New(st, adapter.Forward(out), &adapter.Options{
						Brokers: k.Brokers(), Group: out, Topics: []string{in}, ID: adapter.Key(), UntilEnd: true,
						Transactional: mode == "transactional", MaxPollRecords: size, MaxPending: 2 * size / partitions,
						Logger: slog.New(slog.DiscardHandler),
					})
					require.NoError(b, err)
					cpu := cpuTime(b)
					b.StartTimer()
					require.NoError(b, c.Run(b.Context()))
					b.StopTimer()
					spent += cpuTime(b) - cpu
					require.Equal(b, uint64(records), c.Stats().Outputs)
					if n := c.Stats().Transactions; n > 0 {
						b.ReportMetric(records/float64(n), "records/transaction")
					}
					require.NoError(b, st.Close())
					b.StartTimer()
				}
				b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(spent.Seconds()*1e6/records/float64(b.N), "cpu-us/record")
			})
		}
	}
}
