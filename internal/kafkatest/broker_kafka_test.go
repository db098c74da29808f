//go:build kafka

package kafkatest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestReal(t *testing.T) {
	everyHelper(t, NewReal(t).Cluster)
}

// Kafka's own Java producer writes, franz-go reads.
func TestReal_Tool(t *testing.T) {
	b := NewReal(t)
	topic := Name(t)
	b.CreateTopic(t, topic, 2, nil)

	out := b.Tool(t, "org.apache.kafka.tools.VerifiableProducer",
		"--bootstrap-server", strings.Join(b.Brokers(), ","), "--topic", topic,
		"--max-messages", "1000", "--throughput", "-1")

	require.Contains(t, out, `"acked":1000`)
	values := make(map[string]int)
	for _, recs := range b.ReadAll(t, topic) {
		for _, r := range recs {
			values[string(r.Value)]++
		}
	}
	require.Len(t, values, 1000)
	require.Equal(t, 1, values["0"])
	require.Equal(t, 1, values["999"])
}

// What was acknowledged is there after a SIGKILL, on the same address.
func TestReal_Crash(t *testing.T) {
	b := StartReal(t, 1)
	topic := Name(t)
	b.CreateTopic(t, topic, 1, nil)
	b.Produce(t, &kgo.Record{Topic: topic, Value: []byte("before")})

	b.Crash(t, 1)
	require.Error(t, b.Client(t).Ping(t.Context()))
	b.Restart(t, 1)

	b.Produce(t, &kgo.Record{Topic: topic, Value: []byte("after")})
	recs := b.ReadAll(t, topic)[0]
	require.Len(t, recs, 2)
	require.Equal(t, "before", string(recs[0].Value))
	require.Equal(t, "after", string(recs[1].Value))
}
