package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

const foreseeIDs = 60

// foreseeLog is a log with copies near and far, times that jump and times that
// are missing: the row of R1 is met, and expiry inside a batch.
func foreseeLog(r *rand.Rand, n int) []Record {
	log := make([]Record, n)
	at := time.Duration(0)
	for i := range log {
		at += time.Duration(r.Int64N(int64(3*time.Minute))) - time.Minute
		log[i] = rec(fmt.Sprint(r.IntN(foreseeIDs)), int64(i), at)
		switch r.IntN(30) {
		case 0:
			log[i].At = time.Time{}
		case 1:
			log[i].At = log[i].At.Add(30 * time.Minute) // a jump
		case 2:
			log[i].ID = nil
		}
	}
	return log
}

func doOrPass(b *Batch, r Record, fn func(*Tx) error) (Decision, error) {
	if len(r.ID) == 0 {
		return Decision{}, b.Pass(r, fn)
	}
	return b.Do(r, fn)
}

// What is foreseen is what Do decides, whatever the log holds and however it is
// cut; and a batch in which something was foreseen ends as one in which nothing
// was: the same markers, clock, counts and ages.
func TestBatch_ForeseeIsWhatDoDecides(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := testOpen(t, t.TempDir(), limits{full: 50, small: 5})
	open := func(name string) *Namespace {
		n, err := s.Namespace(name, &NamespaceOptions{Window: window.Hour, MaxAdvance: 10 * time.Minute})
		require.NoError(t, err)
		return n
	}
	plain, seen := open("plain"), open("foreseen")
	duplicates := 0
	for log := foreseeLog(r, 2000); len(log) > 0; {
		part := log[:min(len(log), 1+r.IntN(100))]
		log = log[len(part):]
		fails := make([]bool, len(part)) // leaves no marker: passed as a dead letter is
		for i := range fails {
			fails[i] = r.IntN(5) == 0
		}
		want, clocks := make([]Decision, len(part)), make([]time.Time, len(part))
		do := func(b *Batch, record func(i int, d Decision, clock time.Time)) {
			for i, r := range part {
				var clock time.Time
				d, err := doOrPass(b, r, func(tx *Tx) error {
					if clock = tx.Clock(); fails[i] && len(r.ID) > 0 {
						return errors.New("failed")
					}
					return nil
				})
				if err != nil {
					require.NoError(t, b.Pass(r, nil))
				}
				record(i, d, clock)
			}
		}
		require.NoError(t, plain.Update(func(b *Batch) error {
			do(b, func(i int, d Decision, clock time.Time) { want[i], clocks[i] = d, clock })
			return nil
		}))
		require.NoError(t, seen.Update(func(b *Batch) error {
			ids := make([][]byte, len(part))
			for i := range part {
				ids[i] = part[i].ID
			}
			if r.IntN(2) == 0 {
				b.Prepare(ids)
			}
			_, err := b.Foresee(part, nil) // and again, knowing better
			require.NoError(t, err)
			txs, err := b.Foresee(part, func(i int) bool { return !fails[i] })
			require.NoError(t, err)
			for i, tx := range txs {
				require.Equal(t, want[i], tx.Decision(), "%d", i)
				if !clocks[i].IsZero() {
					require.Equal(t, clocks[i], tx.Clock())
				}
				if want[i].Verdict == Duplicate {
					duplicates++
				}
				require.ErrorIs(t, tx.Stage(nil), ErrTxDone)
				require.ErrorIs(t, tx.Set([]byte("k"), nil), ErrTxDone)
			}
			do(b, func(i int, d Decision, _ time.Time) { require.Equal(t, want[i], d, "%d", i) })
			return nil
		}))
		a, err := plain.Status()
		require.NoError(t, err)
		b, err := seen.Status()
		require.NoError(t, err)
		// Tables are written and merged beside it, and expired markers stand until they are dropped.
		a.Segments, a.Sealed, a.Markers = b.Segments, b.Sealed, b.Markers
		require.Equal(t, a, b)
	}
	for i := range foreseeIDs {
		a, foundA, err := plain.Lookup([]byte(fmt.Sprint(i)))
		require.NoError(t, err)
		b, foundB, err := seen.Lookup([]byte(fmt.Sprint(i)))
		require.NoError(t, err)
		require.Equal(t, a, b)
		require.Equal(t, foundA, foundB)
	}
	require.Positive(t, duplicates)
	require.Equal(t, plain.head.clock, seen.head.clock)
	require.Equal(t, plain.row.list, seen.row.list)
	require.Equal(t, plain.ages, seen.ages)
	require.Equal(t, plain.total, seen.total)
}

func foreseen(t *testing.T) *Namespace {
	t.Helper()
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("n", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	return n
}

// A batch in which something is only foreseen leaves nothing at all.
func TestBatch_ForeseeLeavesNothing(t *testing.T) {
	n := foreseen(t)
	before, err := n.Status()
	require.NoError(t, err)
	require.NoError(t, n.Update(func(b *Batch) error {
		txs, err := b.Foresee([]Record{rec("a", 0, 0), rec("a", 1, 0)}, nil)
		require.NoError(t, err)
		require.Equal(t, []Verdict{New, Duplicate}, []Verdict{txs[0].Decision().Verdict, txs[1].Decision().Verdict})
		require.Equal(t, rec("a", 0, 0).Origin, txs[1].Decision().Origin)
		txs, err = b.Foresee([]Record{rec("a", 0, 0), rec("a", 1, 0)}, func(i int) bool { return i != 0 })
		require.NoError(t, err)
		require.Equal(t, New, txs[1].Decision().Verdict)
		return nil
	}))
	after, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A time that lies ahead of the wall clock when it is foreseen is judged alike
// when it is decided, much later.
func TestBatch_ForeseeHoldsTheWallClock(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	s, err := Open("", &Options{InMemory: true, Now: func() time.Time { return now }})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("n", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	log := func(from int64) (recs []Record) {
		for i := range int64(10) {
			r := rec(fmt.Sprint(from+i), from+i, 0)
			r.At = now
			recs = append(recs, r)
		}
		return recs
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		for _, r := range log(0) {
			_, err := b.Do(r, nil)
			require.NoError(t, err)
		}
		return nil
	}))
	late := rec("late", 10, 0)
	late.At = now.Add(61 * time.Minute) // beyond the clock by more than MaxAhead
	require.NoError(t, n.Update(func(b *Batch) error {
		txs, err := b.Foresee([]Record{late}, nil)
		require.NoError(t, err)
		now = now.Add(5 * time.Minute)
		_, err = b.Do(late, func(tx *Tx) error {
			require.Equal(t, txs[0].Clock(), tx.Clock())
			return nil
		})
		require.Equal(t, uint64(1), b.counts.Future)
		return err
	}))
}

// Alter writes state of no record, and leaves nothing when its function fails.
func TestBatch_Alter(t *testing.T) {
	n := foreseen(t)
	errNo := errors.New("no")
	require.NoError(t, n.Update(func(b *Batch) error {
		_, err := b.Do(rec("a", 0, 0), func(tx *Tx) error { return tx.Set([]byte("k"), []byte("a")) })
		require.NoError(t, err)
		size := b.Size()
		require.ErrorIs(t, b.Alter(func(tx *Tx) error {
			require.NoError(t, tx.Set([]byte("k"), []byte("b")))
			require.ErrorIs(t, tx.Stage([]byte("out")), ErrNoOrigin)
			return errNo
		}), errNo)
		require.Equal(t, size, b.Size())
		require.Panics(t, func() {
			_ = b.Alter(func(tx *Tx) error {
				require.NoError(t, tx.Delete([]byte("k")))
				panic(errNo)
			})
		})
		var kept *Tx
		require.NoError(t, b.Alter(func(tx *Tx) error {
			kept = tx
			v, err := tx.Get([]byte("k"))
			require.Equal(t, "a", string(v))
			_, err2 := tx.Add([]byte("n"), 2)
			return errors.Join(err, err2)
		}))
		require.ErrorIs(t, kept.Set([]byte("k"), nil), ErrTxDone)
		return nil
	}))
	require.NoError(t, n.View(func(v *View) error {
		k, err := v.Get([]byte("k"))
		require.NoError(t, err)
		require.Equal(t, "a", string(k))
		number, err := v.Int([]byte("n"))
		require.Equal(t, int64(2), number)
		return err
	}))
}

// A batch that only alters state is made durable.
func TestBatch_AlterAlone(t *testing.T) {
	n := foreseen(t)
	require.NoError(t, n.Update(func(b *Batch) error {
		return b.Alter(func(tx *Tx) error { return tx.Set([]byte("k"), []byte("v")) })
	}))
	require.NoError(t, n.View(func(v *View) error {
		k, err := v.Get([]byte("k"))
		require.Equal(t, "v", string(k))
		return err
	}))
}

// R7: a dead letter that is fed back is not dead-lettered for an Unknown.
func TestBatch_RedrivenIsAccepted(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("n", &NamespaceOptions{Window: window.Hour,
		Unknown: UnknownPolicy{Cold: DeadLetter, Late: Drop}})
	require.NoError(t, err)
	cold := rec("a", 5, 0) // no history before it
	require.NoError(t, n.Update(func(b *Batch) error {
		d, err := b.Do(cold, func(*Tx) error { return nil })
		require.Equal(t, DeadLetter, d.Action)
		return err
	}))
	cold.Origin.Offset++
	cold.Redrives, cold.At = rec("a", 5, 0).Origin, time.Time{}
	for _, want := range []Decision{{Verdict: Unknown, Action: Accept}, {Verdict: Duplicate}} {
		d, err := n.Do(cold, nil)
		require.NoError(t, err)
		require.Equal(t, want.Verdict, d.Verdict)
		require.Equal(t, want.Action, d.Action)
		cold.Origin.Offset++
	}
}

// R7: a marker that a restore made of the record itself, which nobody handled here,
// is no reason to drop its redrive; any other is.
func TestBatch_RedrivenOverARestoredMarker(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("n", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.NoError(t, n.Update(func(b *Batch) error {
		require.NoError(t, b.BeginRestore(Restore{To: 2}))
		for o, id := range []string{"a", "b"} {
			_, err := b.Restore(rec(id, int64(o), 100))
			require.NoError(t, err)
		}
		return b.EndRestore()
	}))
	for o, c := range []struct {
		id      string
		repeats int64
		want    Verdict
	}{{"a", 1, Duplicate}, {"a", 0, New}, {"a", 0, Duplicate}, {"b", 0, Duplicate}} {
		r := rec(c.id, int64(2+o), 0)
		r.Redrives, r.At = rec("", c.repeats, 0).Origin, time.Time{}
		d, err := n.Do(r, nil)
		require.NoError(t, err)
		require.Equal(t, c.want, d.Verdict, "record %d", o)
	}
}
