package adapter

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// The ID of a content is a promise: markers of an earlier release have it.
func TestContent_StaysTheSame(t *testing.T) {
	id, missing := Content().ID(&kgo.Record{Key: []byte("anna"), Value: []byte("10")})
	require.Empty(t, missing)
	require.Equal(t, "2cba612a80e5ccda4faa38c0564a411b4e3c8210e1217b3102f4cdab61e03e13", hex.EncodeToString(id))
}

func TestContent_Missing(t *testing.T) {
	for _, rec := range []*kgo.Record{{}, {Key: []byte{}, Value: []byte{}}, headers("id", "1")} {
		require.Equal(t, "missing: key and value are null or empty", idOf(t, Content(), rec))
	}
}

// A deletion is not the empty value.
func TestContent_NullIsNotEmpty(t *testing.T) {
	key := []byte("anna")
	require.NotEqual(t, idOf(t, Content(), &kgo.Record{Key: key}),
		idOf(t, Content(), &kgo.Record{Key: key, Value: []byte{}}))
}

// Records have one ID when their keys and values are the same, whatever else
// differs, and otherwise two.
func FuzzContent(f *testing.F) {
	f.Add([]byte("a"), []byte("bc"), []byte("ab"), []byte("c"))
	f.Add([]byte("a"), []byte(nil), []byte(nil), []byte("a"))
	f.Add([]byte("a"), []byte{}, []byte("a"), []byte(nil))
	f.Add([]byte("\x02a"), []byte{}, []byte(nil), []byte("\x02a"))
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 []byte) {
		one := &kgo.Record{Key: key1, Value: value1, Offset: 1}
		two := &kgo.Record{Key: key2, Value: value2, Headers: headers("x", "y").Headers}
		id1, _ := Content().ID(one)
		id2, _ := Content().ID(two)
		require.Equal(t, len(key1)+len(value1) == 0, id1 == nil)
		require.Equal(t, len(key2)+len(value2) == 0, id2 == nil)
		if id1 == nil || id2 == nil {
			return
		}
		same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
		require.Equal(t, same(key1, key2) && same(value1, value2), bytes.Equal(id1, id2))
		require.Len(t, id1, 32)
	})
}

// Copies of a record are found by their content over a restart, by whatever headers
// they come; what differs in key or value is another message.
func TestContent_FindsCopies(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ID = Content()
		send := func(key, value string, more ...string) {
			w.kafka.Produce(t, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value),
				Headers: headers(more...).Headers})
		}
		send("anna", "10")
		send("anna", "10", "trace", "2")
		send("anna", "20")
		send("bert", "10")
		require.NoError(t, w.run())
		require.EqualValues(t, 3, w.state(0, "n"))
		w.reopen()
		send("bert", "10", "trace", "3")
		send("an", "na10")
		require.NoError(t, w.run())
		require.EqualValues(t, 4, w.state(0, "n"))

		w.opts.ID = Key() // D09: it would not meet the markers
		require.ErrorIs(t, w.run(), store.ErrSettings)
	})
}

// A record without an ID has one of its content where that is asked for, beside
// those that carry one, and never that of another message.
func TestMissingIDContent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MissingID = MissingIDContent
		send := func(value string, more ...string) {
			w.kafka.Produce(t, &kgo.Record{Topic: topic, Key: []byte("anna"), Value: []byte(value),
				Headers: headers(more...).Headers})
		}
		send("10")
		send("10", "id", "p1")
		send("10", "trace", "2")
		send("20")
		send("30", "id", "p1")
		require.NoError(t, w.run())
		require.EqualValues(t, 3, w.state(0, "n"))

		digest, _ := Content().ID(&kgo.Record{Key: []byte("anna"), Value: []byte("10")})
		send("40", "id", string(digest))
		require.NoError(t, w.run())
		require.EqualValues(t, 4, w.state(0, "n"))

		w.opts.MissingID = MissingIDAccept // the policy changes, the IDs stay
		send("10")
		send("50", "id", "p1")
		require.NoError(t, w.run())
		require.EqualValues(t, 5, w.state(0, "n"))

		w.opts.MissingID = MissingIDContent
		w.kafka.Produce(t, &kgo.Record{Topic: topic})
		err := w.run()
		require.ErrorIs(t, err, ErrMissingID)
		require.ErrorContains(t, err, `header "id"`)
		require.ErrorContains(t, err, "key and value are null or empty")
	})
}
