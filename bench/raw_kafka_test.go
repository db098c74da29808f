//go:build kafka

package bench

import (
	"testing"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// BenchmarkConsumeAgainstRawOnKafka is BenchmarkConsumeAgainstRaw with a real broker,
// in a process of its own: its work is in neither number.
func BenchmarkConsumeAgainstRawOnKafka(b *testing.B) {
	k := kafkatest.NewReal(b)
	topic := kafkatest.Name(b)
	k.CreateTopic(b, topic, rawPartitions, map[string]string{"retention.ms": "-1"})
	againstRaw(b, k.Cluster, topic)
}
