package kafkatest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestFake(t *testing.T) {
	everyHelper(t, NewFake(t))
}

func TestVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		everyHelper(t, NewVirtual(t))
	})
}

// A client that waits an hour for records costs no time in a bubble, and the
// bubble's clock is the one that stamps the records.
func TestVirtual_TimeIsTheBubbles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewVirtual(t, kfake.Ports(1, 2, 3), kfake.SeedTopics(1, "slow"))
		require.Len(t, c.Brokers(), 3)
		begin := time.Now()
		cl := c.Client(t, kgo.ConsumeTopics("slow"))
		polled := make(chan kgo.Fetches, 1)
		go func() { polled <- cl.PollFetches(t.Context()) }()

		time.Sleep(time.Hour)
		c.Produce(t, &kgo.Record{Topic: "slow", Value: []byte("late")})

		fetches := <-polled
		require.NoError(t, fetches.Err())
		require.Equal(t, 1, fetches.NumRecords())
		require.Equal(t, begin.Add(time.Hour), fetches.Records()[0].Timestamp)
	})
}

// everyHelper proves each helper on one cluster, by what the others see.
func everyHelper(t *testing.T, c *Cluster) {
	topic, group := Name(t), Name(t)
	id := c.CreateTopic(t, topic, 2, map[string]string{
		"max.message.bytes": "5000", "retention.ms": "-1",
	})
	require.NotEqual(t, kadm.TopicID{}, id)

	// What is produced is read back, whole, in order, in its partition.
	early := time.UnixMilli(1_000)
	missing := time.UnixMilli(-1)
	recs := []*kgo.Record{
		{Topic: topic, Partition: 1, Key: []byte("k"), Value: []byte("a"), Timestamp: early,
			Headers: []kgo.RecordHeader{{Key: "id", Value: []byte("1")}}},
		{Topic: topic, Partition: 1, Value: []byte("b"), Timestamp: missing},
		{Topic: topic, Partition: 1, Value: nil, Timestamp: early},
	}
	c.Produce(t, recs...)
	require.EqualValues(t, 2, recs[2].Offset)
	read := c.ReadAll(t, topic)
	require.Len(t, read, 2)
	require.Empty(t, read[0])
	require.Len(t, read[1], 3)
	for i, got := range read[1] {
		require.EqualValues(t, i, got.Offset)
		require.Equal(t, recs[i].Key, got.Key)
		require.Equal(t, recs[i].Value, got.Value)
		require.Equal(t, recs[i].Headers, got.Headers)
		require.Equal(t, recs[i].Timestamp, got.Timestamp)
	}

	// Retention: what lies below the new log start is gone.
	c.DeleteRecords(t, topic, 1, 2)
	read = c.ReadAll(t, topic)
	require.Len(t, read[1], 1)
	require.EqualValues(t, 2, read[1][0].Offset)

	// The operator's reset is told from a consumer's commit by its empty tag.
	_, ok := c.Committed(t, group, topic, 1)
	require.False(t, ok, "nothing was committed")
	commitWithTag(t, c, group, kadm.Offset{
		Topic: topic, Partition: 1, At: 3, LeaderEpoch: 0, Metadata: "tag",
	})
	offset, ok := c.Committed(t, group, topic, 1)
	require.True(t, ok)
	require.EqualValues(t, 3, offset.At)
	require.EqualValues(t, 0, offset.LeaderEpoch)
	require.Equal(t, "tag", offset.Metadata)
	c.SetGroupOffset(t, group, topic, 1, 0)
	offset, ok = c.Committed(t, group, topic, 1)
	require.True(t, ok)
	require.EqualValues(t, 0, offset.At)
	require.EqualValues(t, -1, offset.LeaderEpoch)
	require.Empty(t, offset.Metadata)
	_, ok = c.Committed(t, group, topic, 0)
	require.False(t, ok, "nothing was committed in the other partition")

	// A recreated topic is another topic: new ID, empty, same settings.
	again := c.RecreateTopic(t, topic)
	require.NotEqual(t, id, again)
	require.Equal(t, map[int32][]*kgo.Record{0: nil, 1: nil}, c.ReadAll(t, topic))
	require.Equal(t, "5000", config(t, c, topic, "max.message.bytes"))
	c.Produce(t, &kgo.Record{Topic: topic, Partition: 0, Value: []byte("c")})
	require.Len(t, c.ReadAll(t, topic)[0], 1)

	// Only committed records count, and the end of a transaction is no record.
	transact(t, c, topic, "aborted", kgo.TryAbort)
	transact(t, c, topic, "committed", kgo.TryCommit)
	transact(t, c, topic, "aborted", kgo.TryAbort)
	var values []string
	for _, r := range c.ReadAll(t, topic)[0] {
		values = append(values, string(r.Value))
	}
	require.Equal(t, []string{"c", "committed"}, values)
}

func commitWithTag(t *testing.T, c *Cluster, group string, offset kadm.Offset) {
	t.Helper()
	adm := kadm.NewClient(c.Client(t))
	var offsets kadm.Offsets
	offsets.Add(offset)
	require.NoError(t, adm.CommitAllOffsets(t.Context(), group, offsets))
}

func config(t *testing.T, c *Cluster, topic, key string) string {
	t.Helper()
	described, err := kadm.NewClient(c.Client(t)).DescribeTopicConfigs(t.Context(), topic)
	require.NoError(t, err)
	resource, err := described.On(topic, nil)
	require.NoError(t, err)
	for _, c := range resource.Configs {
		if c.Key == key {
			return c.MaybeValue()
		}
	}
	return ""
}

func transact(t *testing.T, c *Cluster, topic, value string, how kgo.TransactionEndTry) {
	t.Helper()
	cl := c.Client(t, kgo.TransactionalID(Name(t)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, cl.BeginTransaction())
	rec := &kgo.Record{Topic: topic, Value: []byte(value)}
	require.NoError(t, cl.ProduceSync(t.Context(), rec).FirstErr())
	require.NoError(t, cl.EndTransaction(t.Context(), how))
}
