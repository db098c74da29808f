//go:build kafka

package bench

import (
	"fmt"
	"testing"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// BenchmarkRestoreOnKafka is BenchmarkRestore from a real broker, in a process of its
// own, and from the input topic, whose pages are in the system's cache.
func BenchmarkRestoreOnKafka(b *testing.B) {
	k := kafkatest.NewReal(b)
	for _, partitions := range []int32{1, 12} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			topic := kafkatest.Name(b)
			k.CreateTopic(b, topic, partitions, map[string]string{"retention.ms": "-1"})
			benchRestore(b, k.Cluster, topic, partitions)
		})
	}
}
