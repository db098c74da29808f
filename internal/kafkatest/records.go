package kafkatest

import (
	"cmp"
	"context"
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
// order. A partition without records is in the map with none.
func (c *Cluster) ReadAll(t testing.TB, topic string) map[int32][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

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

// bounds returns the log start and the last stable offset of each partition.
func (c *Cluster) bounds(t testing.TB, topic string) (start, end map[int32]int64) {
	t.Helper()
	start, end = make(map[int32]int64), make(map[int32]int64)
	type list func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		ask := func(list list, into map[int32]int64) {
			await(ctx, t, "the offsets of topic "+topic, func() error {
				listed, err := list(ctx, topic)
				listed.Each(func(o kadm.ListedOffset) { into[o.Partition] = o.Offset })
				return cmp.Or(err, listed.Error())
			})
		}
		ask(adm.ListStartOffsets, start)
		ask(adm.ListCommittedOffsets, end)
	})
	return start, end
}
