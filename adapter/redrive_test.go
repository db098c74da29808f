package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

func (w *world) redrive(group string) (int64, error) {
	return Redrive(w.Context(), &RedriveConfig{
		Brokers: w.kafka.Brokers(), Client: w.kafka.DialOptions(), DeadLetterTopic: deadTopic, Group: group,
	})
}

// dies leaves dead letters of every ID that begins with "bad", in both partitions.
func (w *world) dies() {
	w.Helper()
	w.withDead(2)
	w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 2
	w.produce(0, "a", "bad0", "b")
	w.produce(1, "c", "bad1", "bad2")
	require.NoError(w, w.consumer(w.poisoned()).Run(w.Context()))
	require.Len(w, w.calls.take(), 3)
}

// R7: dead letters come back, to the end of the partition where they stood, and
// are handled once, however often they are redriven; what fails again is a dead
// letter again.
func TestRedrive_OnceEach(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.dies()
		fed, err := w.redrive("")
		require.NoError(t, err)
		require.Equal(t, int64(3), fed)
		log := w.kafka.ReadAll(t, topic)
		require.Len(t, log[0], 4)
		require.Len(t, log[1], 5)
		back := log[0][3]
		require.Equal(t, "v-bad0", string(back.Value))
		require.Equal(t, []byte("k"), back.Key)
		require.Equal(t, "bad0", header(back, "id"))
		at := redriven(back)
		require.Equal(t, int64(1), at.Offset)
		require.Equal(t, int32(0), at.Partition)
		require.Len(t, back.Headers, 2)

		w.calls.fail = failing("bad2", -1) // is not mended
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.ElementsMatch(t, []string{"bad0", "bad1"}, w.calls.take())
		require.Equal(t, uint64(1), c.Stats().DeadLetters)

		fed, err = w.redrive("")
		require.NoError(t, err)
		require.Equal(t, int64(1), fed, "only what died since")
		fed, err = w.redrive("another")
		require.NoError(t, err)
		require.Equal(t, int64(4), fed, "all of them, again")
		w.calls.fail = nil
		c = w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"bad2"}, w.calls.take())
		require.Equal(t, []uint64{1, 4}, []uint64{c.Stats().New, c.Stats().Duplicates})
		fed, err = w.redrive("")
		require.NoError(t, err)
		require.Zero(t, fed)
	})
}

// R7: what died as Unknown is accepted when it is redriven, however late; its time
// counts as missing.
func TestRedrive_UnknownIsAccepted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.Unknown = store.UnknownPolicy{Late: store.DeadLetter, Clock: store.DeadLetter}
		w.produceSlowly(ids("a", 10)...)
		late := record(0, "late")
		late.Timestamp = time.Now().Add(-3 * time.Hour)
		w.kafka.Produce(t, late)
		require.NoError(t, w.run())
		require.Equal(t, ids("a", 10), w.calls.take())
		clock := w.status().Clock
		time.Sleep(5 * time.Minute)
		for range 2 {
			_, err := w.redrive("")
			require.NoError(t, err)
			require.NoError(t, w.run())
		}
		require.Equal(t, clock, w.status().Clock)
		require.Equal(t, []string{"late"}, w.calls.take())
		require.Len(t, w.kafka.ReadAll(t, deadTopic)[0], 1)
	})
}

// Headers that were the adapter's own when the record died, such as the output ID
// of the firstseen before, are as they were.
func TestRedrive_HeadersAsTheyWere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.ID, w.opts.OnFailure, w.opts.MaxAttempts = Header(HeaderOutputID), FailureDeadLetter, 1
		rec := record(0, "bad")
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: HeaderOutputID, Value: []byte("out-1")},
			kgo.RecordHeader{Key: HeaderOrigin, Value: []byte("elsewhere")})
		w.kafka.Produce(t, rec)
		fail := errPoison
		var tokens []string
		h := func(_ context.Context, _ *Tx, rec *Record) error {
			tokens = append(tokens, rec.Token())
			return fail
		}
		for range 2 { // it dies twice
			require.NoError(t, w.consumer(h).Run(t.Context()))
			_, err := w.redrive("")
			require.NoError(t, err)
		}
		back := w.kafka.ReadAll(t, topic)[0][2]
		require.Equal(t, int64(1), redriven(back).Offset, "of the newest")
		require.Equal(t, "out-1", header(back, HeaderOutputID))
		require.Equal(t, "elsewhere", header(back, HeaderOrigin))
		require.Len(t, back.Headers, 4)
		fail = nil
		require.NoError(t, w.consumer(h).Run(t.Context()))
		require.Len(t, tokens, 3)
		require.Equal(t, tokens[0], tokens[2])
	})
}

// A redrive that is cut short anywhere goes on by the next one: readers of
// committed records see each once.
func TestRedrive_CutShort(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		inWorldOf(t, 2, func(t *testing.T, w *world) {
			w.dies()
			fault := w.kafka.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.InvalidProducerEpoch, Count: -1})
			fed, err := w.redrive("")
			require.Error(t, err)
			require.Zero(t, fed)
			fault.Remove()
			fed, err = w.redrive("")
			require.NoError(t, err)
			require.Equal(t, int64(3), fed)
			require.NoError(t, w.run())
			require.ElementsMatch(t, []string{"bad0", "bad1", "bad2"}, w.calls.take())
			log := w.kafka.ReadAll(t, topic)
			require.Len(t, log[0], 4)
			require.Len(t, log[1], 5)
		})
	}
}

// What is no dead letter is named, and nothing beside it is fed back.
func TestRedrive_Refuses(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		_, err := w.redrive("")
		require.ErrorIs(t, err, ErrUnknownTopic)
		_, err = Redrive(t.Context(), &RedriveConfig{DeadLetterTopic: deadTopic})
		require.ErrorContains(t, err, "Brokers")
		away := &RedriveConfig{
			Brokers: []string{"localhost:9999"}, Client: w.kafka.DialOptions(), DeadLetterTopic: deadTopic,
		}
		_, err = Redrive(t.Context(), away)
		require.ErrorIs(t, err, ErrBrokersAway)
		require.ErrorContains(t, err, "check the addresses")
		w.dies()
		w.kafka.Produce(t, &kgo.Record{Topic: deadTopic, Partition: 0, Value: []byte("stray")})
		_, err = w.redrive("")
		require.ErrorIs(t, err, ErrNotDeadLetter)
		require.ErrorContains(t, err, deadTopic+"/0@1")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = Redrive(ctx, &RedriveConfig{
			Brokers: w.kafka.Brokers(), Client: w.kafka.DialOptions(), DeadLetterTopic: deadTopic,
		})
		require.True(t, errors.Is(err, context.Canceled))
	})
}

// E21: a damaged batch ends a redrive, within a limit, when the dead letters before it
// are fed back, and none behind it; once it is mended the next redrive goes on.
func TestFault_E21_RedriveOfADamagedTopic(t *testing.T) {
	// A dead letter's head is a byte longer than that of the record.
	for _, at := range []int{4, -53, lengthOfBad - 1} {
		inWorld(t, func(t *testing.T, w *world) {
			w.withDead(1)
			w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 1
			w.opts.Client = append(w.opts.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
			for _, id := range []string{"a", "b", "bad", "c"} {
				w.produce(0, id)
				require.NoError(t, w.consumer(func(context.Context, *Tx, *Record) error { return errPoison }).Run(t.Context()))
			}
			r := w.damage(at)
			feeds := func() (int64, error) {
				return Redrive(t.Context(), &RedriveConfig{
					Brokers: w.kafka.Brokers(), Client: w.opts.Client, DeadLetterTopic: deadTopic,
				})
			}
			for _, before := range []int64{2, 0} {
				begun := time.Now()
				fed, err := feeds()
				require.ErrorIs(t, err, ErrConsumeRefused)
				require.ErrorContains(t, err, "partition 0 from offset 2 on")
				require.Equal(t, before, fed)
				require.Less(t, time.Since(begun), time.Minute)
			}
			r.off.Store(true)
			fed, err := feeds()
			require.NoError(t, err)
			require.Equal(t, int64(2), fed)
			var back []string
			for _, rec := range w.kafka.ReadAll(t, topic)[0][4:] {
				back = append(back, header(rec, "id"))
			}
			require.Equal(t, []string{"a", "b", "bad", "c"}, back)
		})
	}
}

// E21: more dead letters before the damage than a poll takes are fed back as well.
func TestFault_E21_RedriveInSeveralPolls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		dead := func(id string) *kgo.Record {
			rec := record(0, id)
			rec.Topic = deadTopic
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: HeaderTopic, Value: []byte(topic)},
				kgo.RecordHeader{Key: HeaderOrigin, Value: []byte(store.Position{TopicID: store.ID{1}}.String())},
				kgo.RecordHeader{Key: HeaderError, Value: []byte("no")})
			return rec
		}
		var recs []*kgo.Record
		for _, id := range ids("a", 1200) {
			recs = append(recs, dead(id))
		}
		w.kafka.Produce(t, recs...)
		w.kafka.Produce(t, dead("bad"))
		w.damage(4)
		fed, err := Redrive(t.Context(), &RedriveConfig{
			Brokers: w.kafka.Brokers(), Client: w.opts.Client, DeadLetterTopic: deadTopic,
		})
		require.ErrorIs(t, err, ErrConsumeRefused)
		require.ErrorContains(t, err, "partition 0 from offset 1200 on")
		require.Equal(t, int64(1200), fed)
	})
}

func TestParseOrigin(t *testing.T) {
	at := store.Position{TopicID: store.ID{1, 0xfe}, Partition: 7, Offset: 1 << 40, LeaderEpoch: -1}
	got, ok := parseOrigin(at.String())
	require.True(t, ok)
	require.Equal(t, at, got)
	good := at.String()
	for _, bad := range []string{
		"", "@", "/@", good[1:], "0" + good, good + "x", strings.ToUpper(good), good + " ",
		strings.Replace(good, "@", "@-", 1), strings.Replace(good, "/", "/0", 1), fmt.Sprint(good, "@1"),
	} {
		_, ok := parseOrigin(bad)
		require.False(t, ok, "%q", bad)
	}
}
