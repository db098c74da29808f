package kafkatest

import (
	"cmp"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes records in the order given, each to the partition that it
// names, and returns when all are acknowledged; it fills in their offsets. A
// zero Timestamp means now; time.UnixMilli(-1) is Kafka's missing time.
func (c *Cluster) Produce(t testing.TB, recs ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := c.client(t, []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())})
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(ctx, recs...).FirstErr())
}

// ReadAll reads a topic from its start to the end that it has now, as a
// read_committed reader, and returns the records of each partition in offset
// order. A partition without records is in the map with none. On a real Kafka it
// waits for the transactions that are under way, as Settled does.
func (c *Cluster) ReadAll(t testing.TB, topic string) map[int32][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	if c.Fake == nil {
		c.Settled(t, topic)
	}
	read := make(map[int32][]*kgo.Record)
	start, end := c.bounds(t, topic)
	next := make(map[int32]kgo.Offset)
	for p := range end {
		read[p] = nil
		if start[p] < end[p] {
			next[p] = kgo.NewOffset().At(start[p])
		}
	}
	if len(next) == 0 {
		return read
	}

	cl := c.client(t, []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: next}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last offset may be the end of a transaction
	})
	defer cl.Close()
	for len(next) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err(), "reading topic %q", topic)
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= end[r.Partition] {
				return
			}
			if !r.Attrs.IsControl() {
				read[r.Partition] = append(read[r.Partition], r)
			}
			if r.Offset == end[r.Partition]-1 {
				delete(next, r.Partition)
			}
		})
	}
	return read
}

// Settled returns when a read_committed reader may see all that was written to a topic
// before. Kafka says that a transaction has ended before its partitions know it.
func (c *Cluster) Settled(t testing.TB, topic string) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		end := listed(ctx, t, topic, adm.ListEndOffsets)
		await(ctx, t, "the end of transactions in "+topic, func() error {
			for p, stable := range listed(ctx, t, topic, adm.ListCommittedOffsets) {
				if stable < end[p] {
					return fmt.Errorf("%w: partition %d is open from %d on, and ends at %d", errNotYet, p, stable, end[p])
				}
			}
			return nil
		})
	})
}

// bounds returns the log start and the last stable offset of each partition.
func (c *Cluster) bounds(t testing.TB, topic string) (start, end map[int32]int64) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		start = listed(ctx, t, topic, adm.ListStartOffsets)
		end = listed(ctx, t, topic, adm.ListCommittedOffsets)
	})
	return start, end
}

// listed returns an offset of each partition.
func listed(
	ctx context.Context, t testing.TB, topic string,
	list func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error),
) map[int32]int64 {
	t.Helper()
	found := make(map[int32]int64)
	await(ctx, t, "the offsets of topic "+topic, func() error {
		offsets, err := list(ctx, topic)
		offsets.Each(func(o kadm.ListedOffset) { found[o.Partition] = o.Offset })
		return cmp.Or(err, offsets.Error())
	})
	return found
}
