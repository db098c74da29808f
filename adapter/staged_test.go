package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

func TestStaged_RoundTrip(t *testing.T) {
	nullable := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
	})
	rapid.Check(t, func(t *rapid.T) {
		r := &kgo.Record{
			Topic:     rapid.String().Draw(t, "topic"),
			Partition: rapid.Int32Min(0).Draw(t, "partition"),
			Timestamp: time.UnixMilli(rapid.Int64Range(-1<<40, 1<<48).Draw(t, "time")),
			Key:       nullable.Draw(t, "key"),
			Value:     nullable.Draw(t, "value"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, kgo.RecordHeader{
				Key: rapid.String().Draw(t, "name"), Value: nullable.Draw(t, "header"),
			})
		}
		got, err := decodeOutput(encodeOutput(r))
		require.NoError(t, err)
		require.Equal(t, r, got)
	})
}

// What is not a staged output is an error, never a panic; what is decodes to
// bytes that encode the same.
func FuzzStaged(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Add(encodeOutput(&kgo.Record{Topic: "loud", Partition: 3, Timestamp: time.UnixMilli(5),
		Key: []byte{}, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("b")}, {Key: "null"}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeOutput(b)
		if err != nil {
			require.ErrorIs(t, err, errStaged)
			return
		}
		again, err := decodeOutput(encodeOutput(r))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
