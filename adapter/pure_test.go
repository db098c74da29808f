package adapter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// books is a pure handler: it sums by key and says the sum.
func books(_ context.Context, tx *Tx, rec *Record) error {
	n, err := tx.Add([]byte("n"), 1)
	if err != nil {
		return err
	}
	if err := tx.Set(append([]byte("last/"), rec.ID[:1]...), rec.ID); err != nil {
		return err
	}
	return tx.Produce(&kgo.Record{Topic: outTopic, Value: fmt.Appendf(nil, "%s is %d", rec.ID, n)})
}

// pictured returns the state of partition 0.
func (w *world) pictured() map[string]string {
	w.Helper()
	ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
	require.NoError(w, err)
	all := make(map[string]string)
	require.NoError(w, ns.View(func(v *store.View) error {
		return v.Scan(nil, func(key, value []byte) error {
			all[string(key)] = string(value)
			return nil
		})
	}))
	return all
}

// E06, rows 5, 10 and 12: the state of a pure handler follows a partition to stores
// with and without history, over crashes in the middle of it. Every output is in
// Kafka once, as one store would have made it that never left.
func TestFault_E06_PureStateFollows(t *testing.T) {
	for range 5 {
		seed := rand.Uint64()
		inWorld(t, func(t *testing.T, w *world) {
			told := fmt.Sprintf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.opts.Pure = true
			home, sent := w.dir, 0
			w.opts.MaxPollRecords = 7
			for turn := range 10 {
				for range rng.IntN(30) {
					w.produceSlowly(fmt.Sprint("abc"[sent%3:sent%3+1], sent))
					if sent++; rng.IntN(4) == 0 {
						of := rng.IntN(sent)
						w.produceSlowly(fmt.Sprint("abc"[of%3:of%3+1], of))
					}
				}
				for range rng.IntN(3) {
					c := readsSmall(w.consumer(books))
					c.step = crashAt([]string{"handled", "durable"}[rng.IntN(2)], 1+rng.IntN(3))
					if err := c.Run(t.Context()); err != nil {
						require.ErrorIs(t, err, errCrash, told)
					}
					w.reopen()
				}
				require.NoError(t, readsSmall(w.consumer(books)).Run(t.Context()), told)
				name := []string{"", "-b", "-c"}[rng.IntN(3)]
				if turn%5 == 4 {
					name = fmt.Sprint("-new", turn)
				}
				w.use(home + name)
			}
			require.NoError(t, w.consumer(books).Run(t.Context()), told)
			require.Equal(t, int64(sent), w.state(0, "n"), told)
			once := make(map[string]int)
			for _, value := range w.values(outTopic) {
				once[value]++
			}
			n := 0
			for _, id := range w.oracle() {
				n++
				require.Positive(t, once[fmt.Sprintf("%s is %d", id, n)], "%s: %s", told, id)
			}
			require.Len(t, once, n, told)
			require.Equal(t, store.Coverage{}, w.status().Coverage)
		})
	}
}

// The state is made from offset 0 of a store with history that is not whole, or that
// was replaced, as of a store without: nothing of what it was before is left.
func TestPure_AnewOverHistory(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		mine, other := w.dir, w.dir+"-another"
		w.opts.Pure, w.opts.MaxPollRecords = true, 5
		w.produceSlowly(ids("a", 5)...)
		require.NoError(t, w.consumer(books).Run(t.Context()))
		require.NoError(t, w.consumer(books).Run(t.Context()))
		w.produceSlowly("b0", "b1", "b2", "b3")
		refuse := w.refuseCommits()
		require.True(t, w.crashOnce(books, "durable", 1)) // row 12: a tail that did not happen
		refuse.Remove()
		require.Equal(t, int64(9), w.state(0, "n"))

		w.use(other)
		c := w.consumer(books)
		c.opts.MaxPollRecords = 2
		c.step = crashAt("committed", 1)
		require.ErrorIs(t, c.Run(t.Context()), errCrash)
		require.Equal(t, int64(7), w.committedAt(0))
		require.Equal(t, int64(7), w.state(0, "n"))

		w.use(mine)
		require.NoError(t, w.consumer(books).Run(t.Context()))
		require.Equal(t, map[string]string{"n": "\x00\x00\x00\x00\x00\x00\x00\x09", "last/a": "a4", "last/b": "b3"},
			w.pictured())
		require.Equal(t, int64(9), w.committedAt(0))
	})
}

// The context of Run ends sooner than the time of a batch: the state is made all the
// same.
func TestPure_UnderADeadline(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.Pure = true
		w.produceSlowly(ids("a", 5)...)
		require.NoError(t, w.consumer(books).Run(t.Context()))
		w.use(w.dir + "-another")
		ctx, cancel := context.WithTimeout(t.Context(), w.consumer(books).opts.BatchTimeout/3)
		defer cancel()
		w.produceSlowly("b")
		require.NoError(t, w.consumer(books).Run(ctx))
		require.Equal(t, int64(6), w.state(0, "n"))
	})
}

// State that cannot be made whole is refused: the log's beginning is gone, it is
// compacted, or the handler is not declared pure.
func TestPure_Refused(t *testing.T) {
	for name, given := range map[string]func(w *world){
		"not pure":   func(w *world) { w.opts.Pure = false },
		"log start":  func(w *world) { w.kafka.DeleteRecords(w, topic, 0, 1) },
		"compaction": func(w *world) { w.compacts() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 1, nil)
				w.opts.Pure = true
				w.produceSlowly(ids("a", 5)...)
				require.NoError(t, w.consumer(books).Run(t.Context()))
				given(w)
				w.use(w.dir + "-another")
				before := w.values(outTopic)
				require.ErrorIs(t, w.consumer(books).Run(t.Context()), ErrStateElsewhere)
				require.Equal(t, before, w.values(outTopic))
				require.Empty(t, w.pictured())
			})
		})
	}
}

// A record that was handled cannot fail when it is handled again: the start stops
// there, and goes on when the handler is mended.
func TestPure_FailureStops(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure, w.opts.MaxAttempts, w.opts.Pure = FailureDeadLetter, 2, true
		fail := false
		h := func(ctx context.Context, tx *Tx, rec *Record) error {
			if fail && string(rec.ID) == "a3" {
				return errPoison
			}
			return w.calls.handle(ctx, tx, rec)
		}
		w.produceSlowly(ids("a", 6)...)
		require.NoError(t, w.consumer(h).Run(t.Context()))
		w.use(w.dir + "-another")
		fail = true
		err := w.consumer(h).Run(t.Context())
		require.ErrorIs(t, err, errPoison)
		require.ErrorIs(t, err, errHandledAgain)
		require.Empty(t, w.kafka.ReadAll(t, deadTopic)[0])
		require.Equal(t, int64(6), w.committedAt(0))
		fail = false
		require.NoError(t, w.consumer(h).Run(t.Context()))
		require.Equal(t, int64(6), w.state(0, "n"))
	})
}
