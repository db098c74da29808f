package adapter

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// D11, as it is documented: an ID that is used again, for another message, is a
// duplicate, whoever sent it, and whatever it carries. Deduplication trusts the
// producers of a topic. Where it must not, the source belongs into the ID, or each
// source gets a partition of its own.
func TestFault_D11_IDOfAnotherMessage(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		of := func(source string, partition int32, value string) *kgo.Record {
			r := record(partition, "order-1")
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "source", Value: []byte(source)})
			r.Value = []byte(value)
			return r
		}
		w.kafka.Produce(t, of("mallory", 0, "pre-empted"), of("alice", 0, "pay 100"), of("bob", 1, "pay 7"))
		handled := func(id Extractor, inGroup string) (values []string, duplicates uint64) {
			w.opts.ID, w.opts.Group = id, inGroup
			c := w.consumer(func(_ context.Context, _ *Tx, rec *Record) error {
				w.calls.mu.Lock()
				defer w.calls.mu.Unlock()
				values = append(values, string(rec.Value))
				return nil
			})
			require.NoError(t, c.Run(t.Context()))
			return values, c.Stats().Duplicates
		}
		values, duplicates := handled(Header("id"), group)
		require.ElementsMatch(t, []string{"pre-empted", "pay 7"}, values)
		require.EqualValues(t, 1, duplicates, "it is counted: nothing is dropped silently")

		values, duplicates = handled(Composite(Header("source"), Header("id")), "careful")
		require.ElementsMatch(t, []string{"pre-empted", "pay 100", "pay 7"}, values)
		require.Zero(t, duplicates)
	})
}
