package adapter

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// unknowable gives the world a partition whose first records the store cannot
// know: it is adopted at offset 2, so it is cold, and the record "old" is late.
func (w *world) unknowable() {
	w.Helper()
	w.produceSlowly("x", "y", "a", "b", "c", "d", "e", "f", "g", "h", "a")
	late := record(0, "old")
	late.Timestamp = time.Now().Add(-90 * time.Minute)
	w.kafka.Produce(w, late)
	w.kafka.SetGroupOffset(w, group, topic, 0, 2)
}

// R4: what becomes of a record that the store cannot know is a choice for each
// reason. Only what is accepted leaves a marker.
func TestUnknown_Policies(t *testing.T) {
	for _, tt := range []struct {
		policy  store.UnknownPolicy
		handled []string
		dead    []string
		stats   [4]uint64 // Unknown, Dropped, DeadLetters, Duplicates
	}{
		{store.UnknownPolicy{}, strings.Split("abcdefgh", ""), nil, [4]uint64{9, 0, 0, 1}},
		{store.UnknownPolicy{Late: store.Drop}, strings.Split("abcdefgh", ""), nil, [4]uint64{8, 1, 0, 1}},
		{store.UnknownPolicy{Cold: store.Drop, Late: store.DeadLetter}, nil, []string{"v-old"}, [4]uint64{0, 9, 1, 0}},
		{store.UnknownPolicy{Cold: store.DeadLetter}, []string{"old"},
			[]string{"v-a", "v-b", "v-c", "v-d", "v-e", "v-f", "v-g", "v-h", "v-a"}, [4]uint64{1, 0, 9, 0}},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.withDead(1)
			w.unknowable()
			w.opts.Unknown = tt.policy
			c := w.consumer(w.calls.seen)
			require.NoError(t, c.Run(t.Context()))
			if tt.policy.Late == 0 && tt.policy.Cold == 0 {
				tt.handled = append(tt.handled, "old")
			}
			require.Equal(t, tt.handled, w.calls.take())
			require.Equal(t, tt.dead, w.values(deadTopic))
			s := c.Stats()
			require.Equal(t, tt.stats, [4]uint64{s.Unknown, s.Dropped, s.DeadLetters, s.Duplicates})
			require.Equal(t, uint64(10), s.Records)
			require.Equal(t, int64(12), w.committedAt(0))
		})
	}
}

// The dead letter of an Unknown says why it is one, and that no handler had it.
func TestUnknown_DeadLetterSaysWhy(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.unknowable()
		w.opts.Unknown = store.UnknownPolicy{Late: store.DeadLetter, Cold: store.DeadLetter}
		require.NoError(t, w.run())
		require.Empty(t, w.calls.order)
		letters := w.kafka.ReadAll(t, deadTopic)[0]
		require.Len(t, letters, 10)
		for i, r := range letters {
			reason := "cold"
			if i == 9 {
				reason = "late"
			}
			require.Equal(t, reason, header(r, HeaderReason))
			require.Contains(t, header(r, HeaderError), ErrUnknown.Error()+": "+reason)
			require.Equal(t, "0", header(r, HeaderAttempts))
			require.Equal(t, topic, header(r, HeaderTopic))
			require.NotEmpty(t, header(r, HeaderToken))
		}
	})
}

// A dead letter that cannot be staged stops the partition, with both reasons.
func TestUnknown_DeadLetterTooLarge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, deadTopic, 1, map[string]string{"max.message.bytes": "600"})
		w.opts.DeadLetterTopic = deadTopic
		w.opts.Unknown = store.UnknownPolicy{Cold: store.DeadLetter}
		w.produce(0, "x")
		large := record(0, "a")
		large.Value = make([]byte, 600)
		w.kafka.Produce(t, large)
		w.kafka.SetGroupOffset(t, group, topic, 0, 1)
		err := w.run()
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, int64(1), failed.Offset)
		require.ErrorIs(t, err, ErrUnknown)
		require.ErrorIs(t, err, ErrOutputTooLarge)
		require.Equal(t, int64(1), w.committedAt(0))
	})
}

// Under Observe the handler sees what would be kept aside, with state, and it
// leaves no marker.
func TestUnknown_Observed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.unknowable()
		w.opts.Observe, w.opts.FreshState = true, true
		w.opts.Unknown = store.UnknownPolicy{Cold: store.DeadLetter}
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			require.Equal(t, store.Unknown, rec.Decision.Verdict)
			return w.calls.handle(ctx, tx, rec)
		})
		require.NoError(t, c.Run(t.Context()))
		require.Len(t, w.calls.order, 10)
		require.Equal(t, int64(10), w.state(0, "n"))
		require.Equal(t, uint64(9), c.Stats().Dropped)
		require.Empty(t, w.values(deadTopic))
	})
}

// The dead-letter topic takes part in every check of New.
func TestUnknown_Validated(t *testing.T) {
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	with := func(change func(*Options)) error {
		o := Options{Brokers: []string{"localhost:1"}, Group: group, Topics: []string{topic}, ID: Key()}
		change(&o)
		_, err := New(st, shout, &o)
		return err
	}
	require.NoError(t, with(func(o *Options) { o.Unknown.Cold = store.Drop }))
	for _, set := range []func(*store.UnknownPolicy){
		func(p *store.UnknownPolicy) { p.Late = store.DeadLetter },
		func(p *store.UnknownPolicy) { p.Clock = store.DeadLetter },
		func(p *store.UnknownPolicy) { p.Cold = store.DeadLetter },
		func(p *store.UnknownPolicy) { p.Evicted = store.DeadLetter },
		func(p *store.UnknownPolicy) { p.Lost = store.DeadLetter },
	} {
		require.ErrorContains(t, with(func(o *Options) { set(&o.Unknown) }), "DeadLetterTopic")
		require.NoError(t, with(func(o *Options) { set(&o.Unknown); o.DeadLetterTopic = deadTopic }))
	}
	err = with(func(o *Options) {
		o.Unknown.Lost, o.OnGap, o.OnForeignOffset, o.StartTime = 9, 9, 9, time.Unix(1, 0)
	})
	for _, what := range []string{"Unknown.Lost is 9", "OnGap is 9", "OnForeignOffset is 9", "StartTime go together"} {
		require.ErrorContains(t, err, what)
	}
	require.ErrorContains(t, with(func(o *Options) { o.Start = StartTime }), "StartTime go together")
	require.ErrorContains(t, with(func(o *Options) { o.Start, o.StartTime = StartTime, time.Unix(-9, 0) }), "1970")
}
