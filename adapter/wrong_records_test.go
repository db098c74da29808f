package adapter

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

const largeBytes = 20 << 20

// large returns a record of 20 MB.
func large(id string) *kgo.Record {
	r := record(0, id)
	r.Value = bytes.Repeat([]byte("0123456789abcdef"), largeBytes/16)
	return r
}

// allow sets the largest batch that a topic takes.
func (w *world) allow(name, size string) {
	w.Helper()
	adm := kadm.NewClient(w.kafka.Client(w))
	altered, err := adm.AlterTopicConfigs(w.Context(),
		[]kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &size}}, name)
	require.NoError(w, err)
	for _, a := range altered {
		require.NoError(w, a.Err)
	}
}

// Records of every compression, and of 20 MB in each, are read as any other. Where
// the output's topic takes no such records, Run ends by an error that says so, with
// what stood before committed; once the topic allows them, nothing is missing.
func TestWrongInput_CompressedAndLargeRecords(t *testing.T) {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	// Outside of a bubble: the decoder of zstd has finalizers.
	w := &world{T: t, dir: t.TempDir(), kafka: kafkatest.NewFake(t, kfake.SeedTopics(1, topic, outTopic))}
	w.open()
	defer func() { require.NoError(t, w.st.Close()) }()
	w.opts = Options{Brokers: w.kafka.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"),
		UntilEnd: true, Logger: quietLogger}
	w.allow(topic, "33554432")
	want := make(map[string]int)
	for _, c := range codecs {
		cl := w.kafka.Client(t, kgo.ProducerBatchCompression(c.codec), kgo.ProducerBatchMaxBytes(32<<20),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		for _, r := range []*kgo.Record{
			record(0, c.name), large("large " + c.name), record(0, c.name), large("large " + c.name),
		} {
			require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
		}
		want[c.name], want["large "+c.name] = 1, 1
	}
	forward := func() error { return w.consumer(Forward(outTopic)).Run(t.Context()) }
	var at *RecordError
	err := forward()
	require.ErrorIs(t, err, ErrOutputTooLarge)
	require.ErrorAs(t, err, &at)
	require.EqualValues(t, 1, at.Offset)
	require.EqualValues(t, 1, w.committedAt(0))

	w.allow(outTopic, "33554432")
	require.NoError(t, forward())
	require.EqualValues(t, 4*len(codecs), w.committedAt(0))
	w.reopen() // the last record is read once more, to see that the log is the same
	require.NoError(t, forward())
	got := make(map[string]int)
	for _, r := range w.kafka.ReadAll(t, outTopic)[0] {
		got[header(r, "id")]++
		if strings.HasPrefix(header(r, "id"), "large") {
			require.Len(t, r.Value, largeBytes)
		}
	}
	require.Equal(t, want, got)
}

// A store of one group that another one uses as well: they share nothing, and each
// has every message once.
func TestWrongInput_StoreOfAnotherGroup(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "a")
		require.NoError(t, w.run())
		w.opts.Group = "audit"
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "a", "b"}, w.calls.order)
		w.produce(0, "b", "c")
		require.NoError(t, w.run())
		w.opts.Group = group
		require.NoError(t, w.run())
		require.Equal(t, map[string]int{"a": 2, "b": 2, "c": 2}, w.calls.count())
		require.EqualValues(t, 3, w.state(0, "n"))
		require.EqualValues(t, 5, w.position(0))
	})
}
