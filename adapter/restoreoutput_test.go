package adapter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

func (w *world) relays() *Consumer {
	w.Helper()
	w.opts.RestoreFrom = outTopic
	return readsSmall(w.consumer(Forward(outTopic)))
}

// firstTimes are the records whose times a namespace has to see before it trusts
// any: their outputs tell a clock that it may not have kept (R1).
const firstTimes = 8

// E07, R1: relays take turns, restored from what they sent, in the middle of which they
// die. Some times are far ahead, alone and in rows, which are given up or followed. What is
// sent is what one relay would have sent that never left.
func TestFault_E07_RestoredFromTheOutput(t *testing.T) {
	cut := 0
	for range 4 {
		seed := rand.Uint64()
		inWorld(t, func(t *testing.T, w *world) {
			told := fmt.Sprintf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.opts.Window = window.Of(2 * time.Minute)
			home, sent := w.dir, 0
			for turn := range 10 {
				for range 10 + rng.IntN(40) {
					id := sent
					if sent++; sent > firstTimes && rng.IntN(3) == 0 {
						id = firstTimes + rng.IntN(sent-firstTimes) // at any distance, and often
					}
					time.Sleep(time.Second)
					rec := record(0, fmt.Sprint("id", id))
					rec.Timestamp = time.Now()
					if rng.IntN(6) == 0 && sent > firstTimes {
						rec.Timestamp = time.Now().Add(time.Duration(rng.IntN(58)) * time.Minute)
					}
					w.kafka.Produce(t, rec)
				}
				if rng.IntN(20) == 0 {
					w.produceAhead(&sent)
				}
				if nth := 1 + rng.IntN(3); rng.IntN(2) == 0 || turn == 4 {
					if turn == 4 { // in a store that is new, and so restored
						nth = 1
					}
					c := w.relays()
					c.step = crashAt("restored", nth)
					if err := c.Run(t.Context()); err != nil {
						require.ErrorIs(t, err, errCrash)
						cut++
					}
					w.reopen()
				}
				require.NoError(t, w.relays().Run(t.Context()), told)
				name := []string{"", "-b", "-c"}[rng.IntN(3)]
				if turn%4 == 3 {
					name = fmt.Sprint("-new", turn)
				}
				w.use(home + name)
			}
			require.NoError(t, w.relays().Run(t.Context()), told)
			var want []string
			for _, id := range w.oracle() {
				want = append(want, "v-"+id)
			}
			require.Equal(t, want, w.values(outTopic), told)
		})
	}
	require.GreaterOrEqual(t, cut, 4)
}

// produceAhead writes so many records of a later time that the clock follows them.
func (w *world) produceAhead(sent *int) {
	recs := make([]*kgo.Record, 1000)
	for i := range recs {
		recs[i] = record(0, fmt.Sprint("id", *sent))
		recs[i].Timestamp = time.Now().Add(20 * time.Minute)
		*sent++
	}
	w.kafka.Produce(w, recs...)
}

// E07: the input is gone below the group's offset. The output has all of it, and
// coverage is that of the beginning; where the output is cut, too, from there on.
func TestFault_E07_OnlyTheOutputIsLeft(t *testing.T) {
	for _, cut := range []int64{0, 30} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.produceSlowly(ids("a", 40)...)
			w.produceSlowly(ids("a", 10)...)
			require.NoError(t, w.relays().Run(t.Context()))
			w.kafka.DeleteRecords(t, topic, 0, 50)
			if cut > 0 {
				w.kafka.DeleteRecords(t, outTopic, 0, cut)
			}
			w.use(w.dir + "-another")
			w.produceSlowly("a3", "a35", "b")
			c := w.relays()
			require.NoError(t, c.Run(t.Context()))
			s := c.Stats()
			if cut == 0 {
				require.Equal(t, []uint64{2, 0, 1}, []uint64{s.Duplicates, s.Unknown, s.New})
				require.Equal(t, store.Coverage{}, w.status().Coverage)
				return
			}
			require.Equal(t, []uint64{1, 2, 0}, []uint64{s.Duplicates, s.Unknown, s.New}, "a35; a3 is not known")
			require.Equal(t, store.Cold, w.status().Coverage.Reason)
		})
	}
}

// E07, R1: a record far ahead of its time is in the output, as the last one, among
// others, or long ago. The clock that is restored is that of the group's offset, and what is
// decided after it is what one relay would have decided that never left.
func TestFault_E07_AJumpInTheOutput(t *testing.T) {
	for _, c := range []struct {
		by           time.Duration
		after, later int
	}{{58 * time.Minute, 0, 0}, {58 * time.Minute, 4, 0}, {20 * time.Minute, 4, 6}} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.produceEvery(30*time.Second, ids("a", 12)...)
			jumps := record(0, "jumps")
			jumps.Timestamp = time.Now().Add(c.by)
			w.kafka.Produce(t, jumps)
			w.produceSlowly(ids("b", c.after)...)
			w.produceEvery(5*time.Minute, ids("l", c.later)...)
			require.NoError(t, w.relays().Run(t.Context()))
			clock := w.status().Clock
			w.use(w.dir + "-another")
			relay := w.relays()
			require.NoError(t, relay.Run(t.Context()))
			require.Equal(t, uint64(13+c.after+c.later), relay.Stats().Restored)
			require.Equal(t, clock, w.status().Clock)
			w.produceSlowly("a0", "a9", "jumps", "c0")
			w.produceEvery(5*time.Minute, append(ids("d", 13-c.later), "jumps", "d3")...)
			require.NoError(t, w.relays().Run(t.Context()))
			var want []string
			for _, id := range w.oracle() {
				want = append(want, "v-"+id)
			}
			require.Equal(t, want, w.values(outTopic))
		})
	}
}

// E07, R1: rows of jumps are given up by copies, of which the output has nothing. What
// the next output tells, or the group's offset, says how: their markers are none
// any more a window later, and not when their own times have left it.
func TestFault_E07_RowsThatCopiesEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.Window = window.Hour
		w.produceEvery(30*time.Second, ids("a", 12)...)
		rows := ids("jumps", 3)
		for _, id := range rows {
			jumps := record(0, id)
			jumps.Timestamp = time.Now().Add(50 * time.Minute)
			w.kafka.Produce(t, jumps)
			w.produceEvery(3*time.Minute, "a11", "a11", "a11", "a11")
		}
		require.NoError(t, w.relays().Run(t.Context()))
		w.use(w.dir + "-another")
		relay := w.relays()
		require.NoError(t, relay.Run(t.Context()))
		require.Equal(t, uint64(15), relay.Stats().Restored)
		w.produceSlowly(rows...)
		w.produceEvery(5*time.Minute, append(ids("b", 12), rows...)...)
		require.NoError(t, w.relays().Run(t.Context()))
		var want []string
		for _, id := range w.oracle() {
			want = append(want, "v-"+id)
		}
		require.Equal(t, "v-jumps2", want[len(want)-1])
		require.Equal(t, want, w.values(outTopic))
	})
}

// Outputs of other groups, other logs, later offsets, and records that no relay
// sent, are none of this partition's markers.
func TestRestore_OtherOutputs(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 2, nil)
		w.produceSlowly(ids("a", 10)...)
		w.produce(1, ids("p", 10)...)
		w.opts.Group = "other"
		require.NoError(t, w.relays().Run(t.Context())) // up to 10
		w.produceSlowly(ids("b", 5)...)
		w.opts.Group = group
		require.NoError(t, w.relays().Run(t.Context()))
		stray := record(0, "stray")
		stray.Topic = outTopic
		w.kafka.Produce(t, stray)
		w.opts.Group = "other"
		w.use(w.dir + "-another")
		w.produceSlowly("a3", "stray")
		c := w.relays()
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []uint64{1, 6}, []uint64{c.Stats().Duplicates, c.Stats().New}, "b0 to b4 are of the other group")
	})
}

// The source is changed between two cuts of one restore: neither believes what the
// other has not read.
func TestRestore_SourceChanges(t *testing.T) {
	for _, first := range []string{outTopic, ""} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.opts.MaxPollRecords = 5 // in many batches
			w.produceSlowly(ids("a", 40)...)
			require.NoError(t, w.relays().Run(t.Context()))
			w.use(w.dir + "-another")
			c := w.relays()
			c.opts.RestoreFrom = first
			c.step = crashAt("restored", 2)
			require.ErrorIs(t, c.Run(t.Context()), errCrash)
			w.reopen()
			w.produceSlowly(append(ids("a", 40), "b")...)
			c = w.relays()
			if first != "" {
				c.opts.RestoreFrom = ""
			}
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, []uint64{40, 1}, []uint64{c.Stats().Duplicates, c.Stats().New + c.Stats().Unknown})
		})
	}
}

func TestOptions_RestoreFrom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.RestoreFrom = "elsewhere"
		for _, h := range []Handler{w.calls.seen, Forward(outTopic)} {
			_, err := New(w.st, h, &w.opts)
			require.ErrorContains(t, err, `RestoreFrom is "elsewhere"; give the topic of Forward`)
		}
	})
}

func FuzzParseOrigin(f *testing.F) {
	f.Add(store.Position{TopicID: store.ID{1}, Partition: 3, Offset: 9}.String())
	f.Add("00/1@2")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parseOrigin(text)
		if !ok {
			return
		}
		again, ok := parseOrigin(p.String())
		require.True(t, ok)
		require.Equal(t, p, again)
	})
}
