//go:build kafka

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

const (
	inputRecords    = 1_000_000 // by Kafka's own producer, of which
	inputKeys       = 900_000   // have a key that is new
	inputPartitions = 4
	inputCopies     = 10 // one of so many is copied by the injector
)

// input is a topic on a real Kafka with many duplicates: keys that come again
// in other records, and copies of records.
type input struct {
	*kafkatest.Broker
	topic   string
	records int64
	// first are the first copies of each key, by partition, in order.
	first map[int32][]*kgo.Record
}

var (
	inputOnce sync.Once
	inputMade *input
)

// realInput returns the input that the tests share.
func realInput(t *testing.T) *input {
	t.Helper()
	inputOnce.Do(func() {
		in := &input{Broker: kafkatest.NewReal(t), topic: "input-" + kafkatest.Name(t)}
		in.CreateTopic(t, in.topic, inputPartitions, map[string]string{"retention.ms": "-1"})
		begun := time.Now()
		in.produce(t)
		in.read(t)
		require.False(t, t.Failed())
		t.Logf("input: %d records with %d keys in %v",
			in.records, inputKeys, time.Since(begun).Round(time.Second))
		inputMade = in
	})
	require.NotNil(t, inputMade, "the input was not made")
	return inputMade
}

// produce has Kafka's own Java producer write the records, and copies some of
// them meanwhile.
func (in *input) produce(t *testing.T) {
	t.Helper()
	// What is under way fits the tool's heap, however slow the broker is.
	config := filepath.Join(t.TempDir(), "producer.properties")
	require.NoError(t, os.WriteFile(config, []byte("buffer.memory=1048576\n"+
		"max.block.ms=600000\ndelivery.timeout.ms=600000\n"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	injected := make(chan error, 1)
	go func() { injected <- in.inject(ctx) }()
	out := in.Tool(t, "org.apache.kafka.tools.VerifiableProducer",
		"--bootstrap-server", strings.Join(in.Brokers(), ","), "--topic", in.topic,
		"--max-messages", strconv.Itoa(inputRecords), "--throughput", "-1", "--command-config", config,
		"--repeating-keys", strconv.Itoa(inputKeys))
	require.Contains(t, out, `"acked":`+strconv.Itoa(inputRecords))
	require.NoError(t, <-injected)
	cancel()
}

// inject writes copies of records behind them until it has met every record
// that is no copy.
func (in *input) inject(ctx context.Context) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(in.Brokers()...), kgo.ConsumeTopics(in.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed kgo.FirstErrPromise
	for originals := 0; originals < inputRecords; {
		polled := client.PollFetches(ctx)
		if err := polled.Err(); err != nil {
			return err
		}
		polled.EachRecord(func(r *kgo.Record) {
			if len(r.Headers) > 0 {
				return // a copy
			}
			originals++
			if rand.IntN(inputCopies) == 0 {
				client.Produce(ctx, &kgo.Record{
					Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp,
					Key: r.Key, Value: r.Value, Headers: []kgo.RecordHeader{{Key: "copy"}},
				}, failed.Promise())
			}
		})
	}
	return failed.Err()
}

// read finds the first copies.
func (in *input) read(t *testing.T) {
	t.Helper()
	in.first = map[int32][]*kgo.Record{}
	met := make(map[string]bool, inputKeys)
	for p, recs := range in.ReadAll(t, in.topic) {
		for _, r := range recs {
			in.records++
			if key := string(r.Key); !met[key] {
				met[key] = true
				in.first[p] = append(in.first[p], r)
			}
		}
	}
	require.Len(t, met, inputKeys)
	require.Greater(t, in.records, int64(inputRecords+inputRecords/inputCopies/2))
}
