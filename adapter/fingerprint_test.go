package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestFingerprint(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	header := func(pairs ...string) (h []kgo.RecordHeader) {
		for i := 0; i < len(pairs); i += 2 {
			h = append(h, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return h
	}
	records := []*kgo.Record{
		{},
		{Timestamp: at},
		{Timestamp: at.Add(time.Millisecond)},
		{Timestamp: at, Key: []byte{}},
		{Timestamp: at, Value: []byte{}},
		{Timestamp: at, Key: []byte{}, Value: []byte{}},
		{Timestamp: at, Key: []byte("ab"), Value: []byte("c")},
		{Timestamp: at, Key: []byte("a"), Value: []byte("bc")},
		{Timestamp: at, Value: []byte("abc")},
		{Timestamp: at, Key: []byte("abc")},
		{Timestamp: at, Headers: header("a", "b")},
		{Timestamp: at, Headers: header("ab", "")},
		{Timestamp: at, Headers: []kgo.RecordHeader{{Key: "ab"}}},
		{Timestamp: at, Headers: header("a", "b", "c", "d")},
		{Timestamp: at, Headers: header("c", "d", "a", "b")},
	}
	seen := map[uint64]int{}
	for i, rec := range records {
		sum := fingerprint(rec)
		require.NotZero(t, sum)
		require.Equal(t, sum, fingerprint(rec))
		require.NotContains(t, seen, sum, i)
		seen[sum] = i
	}

	// Where the record stands, and what the time zone is, it does not say.
	rec := *records[6]
	rec.Offset, rec.Partition, rec.LeaderEpoch, rec.Topic = 7, 1, 3, "elsewhere"
	rec.Timestamp = rec.Timestamp.UTC().Add(999 * time.Microsecond)
	require.Equal(t, fingerprint(records[6]), fingerprint(&rec))
	// The value is stored with the position, and has to stay.
	require.Equal(t, uint64(0x4adb42a38b5b6778), fingerprint(&rec))
}
