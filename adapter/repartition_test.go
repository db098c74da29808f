package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

const (
	betweenTopic = "between"
	otherTopic   = "refunds"
	places       = 4 // partitions between
)

// apart makes a world of copies that are apart: two topics, and a topic between.
func apart(t *testing.T, fn func(t *testing.T, w *world)) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, otherTopic, 2, nil)
		w.kafka.CreateTopic(t, betweenTopic, places, nil)
		w.transactional(places)
		w.opts.Topics = []string{topic, otherTopic}
		fn(t, w)
	})
}

// scatter writes each ID five times: to each partition of both topics, and once
// more.
func (w *world) scatter(ids []string) {
	w.Helper()
	for p := range int32(5) {
		var recs []*kgo.Record
		for i, id := range ids {
			rec := record(p, id)
			rec.Key = []byte(strconv.Itoa(i % 3))
			if p > 2 {
				rec.Topic, rec.Partition = otherTopic, p-3
			}
			recs = append(recs, rec)
			if p == 0 {
				again := *rec
				recs = append(recs, &again)
			}
		}
		w.kafka.Produce(w, recs...)
	}
}

func (w *world) repartition(h Handler) *Repartition {
	w.Helper()
	r, err := NewRepartition(w.st, h, &w.opts, betweenTopic, places)
	require.NoError(w, err)
	for _, c := range []*Consumer{r.first, r.then} {
		c.firstBatch = c.opts.MaxPollRecords
	}
	return r
}

// repartitionWith runs stages that crash, each after a step of its own, and tells
// whether one has.
func (w *world) repartitionWith(spread, meet func(string) error) (crashed bool) {
	w.Helper()
	r := w.repartition(Forward(outTopic))
	r.first.step, r.then.step = spread, meet
	err := r.Run(w.Context())
	if err != nil {
		require.ErrorIs(w, err, errCrash)
	}
	w.reopen()
	return err != nil
}

// exactly fails unless a read_committed reader sees each of these IDs once, in all
// partitions together, where it belongs.
func (w *world) exactly(want []string) {
	w.Helper()
	hash := kgo.StickyKeyPartitioner(nil).ForTopic(outTopic)
	var got []string
	for p, recs := range w.kafka.ReadAll(w, outTopic) {
		for _, rec := range recs {
			id := header(rec, "id")
			got = append(got, id)
			require.Equal(w, int(p), hash.Partition(&kgo.Record{Key: []byte(id)}, places), "as Kafka hashes a key")
			require.Equal(w, "v-"+id, string(rec.Value))
		}
	}
	require.ElementsMatch(w, want, got)
}

// D02: copies in other partitions and other topics meet: one of each comes out,
// over a crash of either stage between any two steps.
func TestFault_D02_RepartitionOverCrashes(t *testing.T) {
	for _, step := range txnSteps {
		for nth := 1; nth <= 2; nth++ {
			t.Run(fmt.Sprint(step, nth), func(t *testing.T) {
				apart(t, func(t *testing.T, w *world) {
					w.opts.MaxPollRecords, w.opts.MaxPending = 7, 4
					w.scatter(ids("a", 12))
					require.True(t, w.repartitionWith(crashAt(step, nth), nil))
					require.True(t, w.repartitionWith(nil, crashAt(step, nth)))
					w.scatter(ids("b", 12))
					w.repartitionWith(crashAt(step, 1), nil)
					r := w.repartition(Forward(outTopic))
					require.NoError(t, r.Run(t.Context()))
					w.exactly(append(ids("a", 12), ids("b", 12)...))

					copies := 0
					for _, recs := range w.kafka.ReadAll(t, betweenTopic) {
						copies += len(recs)
					}
					require.Equal(t, 2*12*6, copies, "the first stage drops nothing, and doubles nothing")
				})
			})
		}
	}
}

// The same at least once: what the first stage sends again is a duplicate, too, and
// what the second one does has the same output ID.
func TestFault_D02_RepartitionAtLeastOnce(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			apart(t, func(t *testing.T, w *world) {
				w.opts.Transactional, w.opts.MaxPollRecords = false, 7
				w.scatter(ids("a", 12))
				require.True(t, w.repartitionWith(crashAt(step, 2), nil))
				require.True(t, w.repartitionWith(nil, crashAt(step, 1)))
				require.NoError(t, w.repartition(Forward(outTopic)).Run(t.Context()))
				require.Len(t, w.outputs(outTopic), 12)
			})
		})
	}
}

// D02: both stages at the same time, and state that is of a message wherever it
// came from. Other stores take over: nothing is doubled.
func TestFault_D02_RepartitionTakenOver(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.opts.UntilEnd, w.opts.Dynamic = false, true
		first, dirs := w.st, []string{w.dir, t.TempDir()}
		defer func() { require.NoError(t, first.Close()) }()
		w.openAt(dirs[1])
		stores := []*store.Store{first, w.st}
		for i := range 4 {
			w.st = stores[i%2]
			r := w.repartition(Forward(outTopic))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- r.Run(ctx) }()
			w.scatter(ids("a", 10*(i+1)))
			w.until(func() bool {
				s := r.Stats()
				return s.New == 10 && s.New+s.Duplicates == uint64(60*(i+1)) && s.Outputs == 10
			})
			cancel()
			require.NoError(t, <-ended)
		}
		w.st = stores[1]
		w.exactly(ids("a", 40))
	})
}

// E14: partitions are added to a topic while it is read, and keys move to them:
// copies meet all the same.
func TestFault_E14_RepartitionWhilePartitionsAreAdded(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.opts.UntilEnd = false
		w.opts.Start = StartLatest
		r := w.repartition(Forward(outTopic))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		spread, _ := r.Stages()
		w.until(func() bool { return spread.Stats().Partitions == 5 && w.committedAt(2) == 0 })
		w.scatter(ids("a", 20))
		w.until(func() bool { return r.Stats().Outputs == 20 })

		_, err := kadm.NewClient(w.kafka.Client(t)).CreatePartitions(t.Context(), 2, topic)
		require.NoError(t, err)
		w.produce(3, append(ids("a", 20), "b")...)
		w.produce(4, append([]string{"b"}, ids("a", 20)...)...)
		w.until(func() bool { return r.Stats().Duplicates == 5*20+2*20+1 && r.Stats().Outputs == 21 })
		cancel()
		require.NoError(t, <-ended)
		w.exactly(append(ids("a", 20), "b"))
	})
}

// F14: no topic is written that is read, by either stage.
func TestFault_F14_RepartitionLoop(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		for name, make := range map[string]func() error{
			"output is an input": func() error {
				_, err := NewRepartition(w.st, Forward(otherTopic), &w.opts, betweenTopic, places)
				return err
			},
			"output is between": func() error {
				_, err := NewRepartition(w.st, Forward(betweenTopic), &w.opts, betweenTopic, places)
				return err
			},
			"between is an input": func() error {
				_, err := NewRepartition(w.st, Forward(outTopic), &w.opts, topic, places)
				return err
			},
			"dead letters are between": func() error {
				w.opts.DeadLetterTopic = betweenTopic
				defer func() { w.opts.DeadLetterTopic = "" }()
				_, err := NewRepartition(w.st, Forward(outTopic), &w.opts, betweenTopic, places)
				return err
			},
			"a handler's output": func() error {
				w.produce(0, "a")
				return w.repartition(func(_ context.Context, tx *Tx, rec *Record) error {
					return Stop(tx.Produce(&kgo.Record{Topic: otherTopic, Value: rec.Value}))
				}).Run(t.Context())
			},
		} {
			require.ErrorIs(t, make(), ErrLoop, name)
		}
		require.Len(t, w.kafka.ReadAll(t, topic)[0], 1)
	})
}

// The handler gets a record as it was: an ID in a header of another firstseen
// counts, and a time that Kafka would not take again comes back.
func TestRepartition_RecordsAsTheyWere(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.opts.ID = Header(HeaderOutputID)
		ahead := time.Now().Add(100 * time.Hour).Truncate(time.Millisecond)
		for p, at := range []time.Time{ahead, time.UnixMilli(-1), time.Now().Truncate(time.Millisecond)} {
			rec := record(int32(p), "x")
			rec.Timestamp = at
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: HeaderOutputID, Value: []byte{'a' + byte(p)}},
				kgo.RecordHeader{Key: HeaderOriginal + "time", Value: []byte("kept")})
			again := *rec
			again.Topic, again.Partition = otherTopic, int32(p)%2
			w.kafka.Produce(t, rec, &again)
		}
		var mu sync.Mutex // partitions are handled side by side
		got := map[string]time.Time{}
		r := w.repartition(func(ctx context.Context, tx *Tx, rec *Record) error {
			mu.Lock()
			got[string(rec.ID)] = rec.Timestamp
			mu.Unlock()
			require.Equal(t, string(rec.ID), header(rec.Record, HeaderOutputID))
			require.Equal(t, "kept", header(rec.Record, HeaderOriginal+"time"))
			require.Empty(t, header(rec.Record, HeaderOrigin))
			return tx.forward(outTopic)
		})
		require.NoError(t, r.Run(t.Context()))
		require.Len(t, got, 3)
		require.True(t, ahead.Equal(got["a"]))
		require.EqualValues(t, -1, got["b"].UnixMilli())
		require.Equal(t, uint64(3), r.Stats().Duplicates)
		for _, recs := range w.kafka.ReadAll(t, outTopic) {
			for _, rec := range recs {
				if at := header(rec, HeaderTime); at != "" {
					require.Equal(t, strconv.FormatInt(ahead.UnixMilli(), 10), at)
					got["a"] = time.Time{}
				}
			}
		}
		require.Zero(t, got["a"], "its time went through both stages")
	})
}

// Another number of partitions between would part the copies: the store refuses it,
// a new store goes by the topic, and a record that is not where it belongs stops it.
func TestRepartition_AnotherNumber(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.scatter(ids("a", 10))
		require.NoError(t, w.repartition(Forward(outTopic)).Run(t.Context()))
		fewer := func() error {
			r, err := NewRepartition(w.st, Forward(outTopic), &w.opts, betweenTopic, places-1)
			require.NoError(t, err)
			return r.Run(t.Context())
		}
		require.ErrorIs(t, fewer(), store.ErrSettings)
		_, err := kadm.NewClient(w.kafka.Client(t)).CreatePartitions(t.Context(), 1, betweenTopic)
		require.NoError(t, err)
		w.scatter(ids("b", 10))
		require.NoError(t, w.repartition(Forward(outTopic)).Run(t.Context()), "the topic may grow")
		w.exactly(append(ids("a", 10), ids("b", 10)...))

		first := w.st
		defer func() { require.NoError(t, first.Close()) }()
		w.openAt(t.TempDir())
		require.ErrorIs(t, fewer(), ErrScattered)
		w.st, first = first, w.st

		stray := record(2, "a1")
		require.NotEqual(t, stray.Partition, w.repartition(Forward(outTopic)).place([]byte("a1")))
		stray.Topic = betweenTopic
		w.kafka.Produce(t, stray)
		err = w.repartition(Forward(outTopic)).Run(t.Context())
		require.ErrorIs(t, err, ErrScattered)
		require.ErrorContains(t, err, "between/2@")
		w.exactly(append(ids("a", 10), ids("b", 10)...))

		r, err := NewRepartition(first, Forward(outTopic), &w.opts, betweenTopic, places+2)
		require.NoError(t, err)
		err = r.Run(t.Context())
		require.ErrorIs(t, err, ErrUnknownTopic)
		require.ErrorContains(t, err, `"between" has 5 partitions, and 6 are used; add partitions to it`)
	})
}

// A record without an ID meets the policy at the first stage.
func TestRepartition_MissingID(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, deadTopic, 1, nil)
		none := func() *kgo.Record {
			rec := record(1, "")
			rec.Headers = nil
			return rec
		}
		w.kafka.Produce(t, none(), record(1, "a"))
		err := w.repartition(Forward(outTopic)).Run(t.Context())
		require.ErrorIs(t, err, ErrMissingID)
		var at *RecordError
		require.ErrorAs(t, err, &at)
		require.Equal(t, topic, at.Topic)

		w.opts.DeadLetterTopic, w.opts.MissingID = deadTopic, MissingIDDeadLetter
		r := w.repartition(Forward(outTopic))
		require.NoError(t, r.Run(t.Context()))
		require.Len(t, w.values(deadTopic), 1)
		require.Equal(t, uint64(1), r.Stats().DeadLetters)
		require.Equal(t, uint64(2), r.Stats().Records)

		w.kafka.Produce(t, none(), none())
		w.opts.MissingID = MissingIDAccept
		r = w.repartition(Forward(outTopic))
		require.NoError(t, r.Run(t.Context()))
		require.Equal(t, uint64(2), r.Stats().WithoutID)
	})
}

// An extractor that panics is not asked again and again.
func TestRepartition_ExtractorPanics(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.opts.ID = panicking{}
		w.produce(0, "a")
		r := w.repartition(Forward(outTopic))
		var panicked *PanicError
		require.ErrorAs(t, r.Run(t.Context()), &panicked)
		require.Equal(t, uint64(1), r.Stats().Failures)
	})
}

// One stage that stops ends the other.
func TestRepartition_OneStageStops(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.opts.UntilEnd = false
		w.produce(0, "a")
		no := errors.New("no")
		err := w.repartition(func(context.Context, *Tx, *Record) error { return Stop(no) }).Run(t.Context())
		require.ErrorIs(t, err, no)
	})
}

// D02: a handler of whole batches gets one copy of each, as it was before the first
// stage; one that is not where it belongs stops it.
func TestFault_D02_BatchRepartition(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.scatter(ids("a", 20))
		s := new(sink)
		batches := func() *Repartition {
			r, err := NewBatchRepartition(w.st, func(ctx context.Context, tx *BatchTx, recs []*Record) error {
				for _, rec := range recs {
					if len(rec.Headers) != 1 {
						return fmt.Errorf("headers are not as they were: %v", rec.Headers)
					}
				}
				return s.handle(ctx, tx, recs)
			}, &w.opts, betweenTopic, places)
			require.NoError(t, err)
			return r
		}
		r := batches()
		require.NoError(t, r.Run(t.Context()))
		require.Equal(t, []uint64{20, 100}, []uint64{r.Stats().New, r.Stats().Duplicates})
		once := make(map[string]int)
		for _, id := range ids("v-a", 20) {
			once[id] = 1
		}
		require.Equal(t, once, w.outputs(outTopic))

		stray := record((r.place([]byte("b"))+1)%places, "b")
		stray.Topic = betweenTopic
		w.kafka.Produce(t, stray)
		err := batches().Run(t.Context())
		require.ErrorIs(t, err, ErrScattered)
		require.ErrorContains(t, err, "the record at")
		require.Equal(t, once, w.outputs(outTopic))
	})
}

func TestNewRepartition_Wrong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ID, w.opts.Pinned = nil, map[string][]int32{topic: {0}}
		_, err := NewRepartition(w.st, nil, &w.opts, "", 0)
		for _, want := range []string{
			"the handler is nil", `by way of topic "" with 0 partitions`, "Pinned is not for a Repartition",
			"no ID extractor is set",
		} {
			require.ErrorContains(t, err, want)
		}
		w.opts.Concurrency = 2
		_, err = NewBatchRepartition(w.st, nil, &w.opts, "", 0)
		for _, want := range []string{
			"the handler is nil", "Concurrency is 2", `by way of topic "" with 0 partitions`,
			"Pinned is not for a Repartition", "no ID extractor is set",
		} {
			require.ErrorContains(t, err, want)
		}
		w.opts.ID, w.opts.Pinned, w.opts.Concurrency = Key(), nil, 0
		_, err = NewRepartition(nil, shout, &w.opts, betweenTopic, 1)
		require.ErrorContains(t, err, "the store is nil")
		w.opts.Standby = map[string][]int32{topic: {0}}
		_, err = NewRepartition(w.st, shout, &w.opts, betweenTopic, 1)
		require.ErrorContains(t, err, `Standby names topic "payments", which is none of Topics`)
		w.opts.Standby = map[string][]int32{betweenTopic: {0}}
		_, err = NewRepartition(w.st, shout, &w.opts, betweenTopic, 1)
		require.NoError(t, err)
		_, err = NewRepartition(w.st, shout, &w.opts, "nowhere", 1)
		require.ErrorContains(t, err, "Standby")
	})
}
