package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// rowLog is a random log in which rows of jumps begin, are given up by whatever comes,
// and are followed, with copies, records without a time and older ones between.
func rowLog(rng *rand.Rand, n int) []Record {
	log := make([]Record, n)
	at, left, copies, ahead := time.Duration(0), 0, 0, time.Duration(0)
	minutes := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Minute }
	for i := range log {
		at += time.Duration(rng.IntN(2000)) * time.Millisecond
		r := rec(fmt.Sprint(i), int64(i), at)
		switch {
		case left > 0:
			r.At = r.At.Add(ahead + minutes(0, 20))
			if left--; left == 0 && ahead > time.Hour {
				at += ahead // the clock has followed, or does
			}
		case i > 0 && (copies > 0 || rng.IntN(3) == 0):
			r.ID = log[max(0, i-1-rng.IntN(20))].ID
			copies--
		}
		switch rng.IntN(300) {
		case 0, 1, 2:
			left, copies, ahead = 1+rng.IntN(8), rng.IntN(30), minutes(10, 60)
		case 3:
			if rng.IntN(8) == 0 {
				left, copies, ahead = rowLength+rng.IntN(30), rng.IntN(30), minutes(61, 90)
			}
		}
		switch d := rng.IntN(24); {
		case d == 0:
			r.At = time.Time{}
		case d == 1, i < firstTimes:
			r.At = r.At.Add(-minutes(0, 30))
		}
		log[i] = r
	}
	return log
}

// output is what a relay keeps of a record that it accepted.
type output struct {
	rec      Record // At is First
	timeline string
}

// relay decides records in batches of any size, and keeps what a relay does.
func (w *restoreWorld) relay(n *Namespace, log []Record) (out []output, all []Decision) {
	last := rowEnd{} // that an output told
	w.eachBatch(log, func(some []Record) {
		foresee := w.rng.IntN(3) == 0
		require.NoError(w, n.Update(func(b *Batch) error {
			var seen []*Tx
			if foresee {
				var err error
				seen, err = b.Foresee(some, nil)
				require.NoError(w, err)
			}
			for i, r := range some {
				d, err := b.Do(r, func(tx *Tx) error {
					if tx.Decision().Action == DeadLetter {
						return nil
					}
					told := tx.Timeline()
					if foresee {
						require.Equal(w, told.apart, seen[i].Timeline().apart)
						require.Equal(w, tx.Clock(), seen[i].Clock())
						told = seen[i].Timeline()
					}
					if told.ended != (rowEnd{}) {
						require.NotEqual(w, last, told.ended, "once is enough")
					}
					last = told.ended
					out = append(out, output{Record{ID: r.ID, At: tx.Clock(), Origin: r.Origin}, told.String()})
					return nil
				})
				require.NoError(w, err)
				all = append(all, d)
			}
			return nil
		}))
	})
	return out, all
}

// R13: markers that are restored from what a relay has made of its records stand as they
// do where it never left, and what is decided from then on is the same: wherever it is
// cut, whatever rows of jumps there were, whichever of them left no other trace.
func TestRestoreMarker_AsTheyWere(t *testing.T) {
	rows, stand, late := 0, 0, 0
	for range 15 {
		w := newRestoreWorld(t, NamespaceOptions{Window: window.Hour, Unknown: UnknownPolicy{Late: Drop, Clock: DeadLetter}})
		log := rowLog(w.rng, 3+w.rng.IntN([]int{30, 300, 4000}[w.rng.IntN(3)]))
		to := w.cut(log)
		from := 0
		if w.rng.IntN(2) == 0 { // the first of them it has decided itself
			from = w.rng.IntN(to)
		}
		w.decide(w.away, log[:from])
		out, _ := w.relay(w.stay, log[:to])
		for i := range out {
			if out[i].timeline != "" {
				rows++
			}
		}
		first, _ := slices.BinarySearchFunc(out, int64(from), func(o output, at int64) int {
			return int(o.rec.Origin.Offset - at)
		})
		w.restoreOutputs(out[first:], to, from == 0)
		require.Equal(t, w.stay.head.clock, w.away.head.clock)
		require.Equal(t, w.stay.head.ended, w.away.head.ended)
		require.Equal(t, len(w.stay.row.list), len(w.away.row.list))
		if len(w.stay.row.list) > 0 {
			stand++
		}
		if w.stay.head.ended != (rowEnd{}) {
			late++
		}
		for _, r := range log[:to] {
			had, found, err := w.stay.Lookup(r.ID)
			require.NoError(t, err)
			if !found {
				continue
			}
			got, found, err := w.away.Lookup(r.ID)
			require.NoError(t, err)
			require.True(t, found, "%s", r.ID)
			require.Equal(t, []any{had.First, had.Origin}, []any{got.First, got.Origin}, "%s", r.ID)
		}
		_, want := w.relay(w.stay, log[to:])
		_, got := w.relay(w.away, log[to:])
		require.Equal(t, want, got)
		_, err := w.s.Verify(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, w.s.Close())
	}
	t.Log(rows, stand, late)
	require.Positive(t, rows)
}

// cut returns where to cut a log: as often as not where the clock holds what no output
// has told, if it ever does.
func (w *restoreWorld) cut(log []Record) int {
	var stands, ended []int
	scout, err := w.s.Namespace("scout", &w.opts)
	require.NoError(w, err)
	require.NoError(w, scout.Update(func(b *Batch) error {
		for i, r := range log[:len(log)-1] {
			_, err := b.Do(r, nil)
			require.NoError(w, err)
			if b.head.clock.high != 0 {
				stands = append(stands, i+1)
			}
			if b.head.ended != (rowEnd{}) {
				ended = append(ended, i+1)
			}
		}
		return nil
	}))
	at := [][]int{ended, ended, stands, nil}[w.rng.IntN(4)]
	if len(at) == 0 {
		return 1 + w.rng.IntN(len(log)-1)
	}
	return at[w.rng.IntN(len(at))]
}

// restoreOutputs restores from outputs, some of which were sent again, in batches that
// fail now and then, and dies.
func (w *restoreWorld) restoreOutputs(out []output, to int, anew bool) {
	var sent []output
	for i, o := range out {
		if sent = append(sent, o); w.rng.IntN(100) == 0 {
			sent = append(sent, out[max(0, i-w.rng.IntN(1500)):i+1-w.rng.IntN(2)]...)
		}
	}
	stay := w.status(w.stay)
	require.NoError(w, w.away.Update(func(b *Batch) error {
		require.NoError(w, b.MoveTo(offset(int64(to))))
		return b.BeginRestore(Restore{To: int64(to), Until: stay.Clock, Timeline: stay.Timeline, Anew: anew,
			Source: Position{TopicID: ID{9}}})
	}))
	for {
		r := w.status(w.away).Restore
		if w.rng.IntN(8) == 0 {
			require.NoError(w, w.s.Close())
			w.open()
			require.NoError(w, w.away.Update(func(b *Batch) error { return b.BeginRestore(*r) }))
		}
		next := r.Source
		some := sent[next.Offset:]
		if len(some) == 0 {
			break
		}
		some = some[:min(len(some), 1+w.rng.IntN(30))]
		next.Offset += int64(len(some))
		fail := w.rng.IntN(6) == 0
		err := w.away.Update(func(b *Batch) error {
			for _, o := range some {
				told, err := ParseTimeline(o.timeline)
				require.NoError(w, err)
				require.NoError(w, b.RestoreMarker(o.rec, told))
			}
			if fail {
				return errUndone
			}
			return b.RestoreFrom(next)
		})
		if !fail {
			require.NoError(w, err)
		}
	}
	require.NoError(w, w.away.Update((*Batch).EndRestore))
}

// R13: an output that would have told how a row ended is not there, as Kafka refused it
// for good. The row's markers count from the next clock that is told where that is near,
// never for longer than the window; and where the clock is far ahead it has followed.
func TestRestoreMarker_NobodyToldTheEnd(t *testing.T) {
	for next, first := range map[time.Duration]time.Duration{
		time.Minute: time.Minute, 7 * time.Minute: 7 * time.Minute, time.Hour: 50 * time.Minute,
	} {
		for _, last := range []bool{false, true} {
			n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", &NamespaceOptions{Window: window.Hour})
			require.NoError(t, err)
			require.NoError(t, n.Update(func(b *Batch) error {
				require.NoError(t, b.BeginRestore(Restore{To: 40, Until: t0.Add(next), Source: Position{TopicID: ID{9}}}))
				require.NoError(t, b.RestoreMarker(rec("before", 10, 0), Timeline{}))
				c := clock{now: t0.UnixMilli(), first: t0.UnixMilli(), times: firstTimes, jumps: 1,
					low: at(50 * time.Minute).UnixMilli(), high: at(50 * time.Minute).UnixMilli()}
				require.NoError(t, b.RestoreMarker(rec("jumped", 11, 50*time.Minute), Timeline{clock: c, apart: true}))
				if !last {
					require.NoError(t, b.RestoreMarker(rec("after", 13, next), Timeline{}))
				}
				return b.EndRestore()
			}))
			m, found, err := n.Lookup([]byte("jumped"))
			require.NoError(t, err)
			require.True(t, found)
			require.True(t, m.First.Equal(t0.Add(first)), "%v: %v", next, m.First)
			require.Empty(t, n.row.list)
		}
	}
}

// A marker of a row that has left its window is sent again: it is none any more.
func TestRestoreMarker_SentAgainAfterTheWindow(t *testing.T) {
	n, err := testOpen(t, t.TempDir(), limits{full: 10, small: 1, merge: mergeAbove}).Namespace("a",
		&NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	jumped := clock{now: t0.UnixMilli(), first: t0.UnixMilli(), times: firstTimes, jumps: 1,
		low: at(50 * time.Minute).UnixMilli(), high: at(50 * time.Minute).UnixMilli()}
	tell := func(r Record, told Timeline) {
		require.NoError(t, n.Update(func(b *Batch) error {
			require.NoError(t, b.BeginRestore(Restore{To: 400, Source: Position{TopicID: ID{9}}}))
			return b.RestoreMarker(r, told)
		}))
	}
	tell(rec("jumped", 11, 50*time.Minute), Timeline{clock: jumped, apart: true})
	require.Len(t, n.row.list, 1)
	for i := range 50 {
		tell(rec(fmt.Sprint(i), int64(20+i), time.Duration(i)*5*time.Minute), Timeline{})
	}
	_, found, err := n.Lookup([]byte("jumped"))
	require.NoError(t, err)
	require.False(t, found)
	tell(rec("jumped", 11, 50*time.Minute), Timeline{clock: jumped, apart: true})
	require.Empty(t, n.row.list)
}

// Another source has origins of its own, which tell of the clock from the first on.
func TestRestoreMarker_OfAnotherSource(t *testing.T) {
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	for source, r := range []Record{rec("a", 50, 0), rec("b", 10, time.Minute)} {
		require.NoError(t, n.Update(func(b *Batch) error {
			require.NoError(t, b.BeginRestore(Restore{To: 400, Source: Position{TopicID: ID{9, byte(source)}}}))
			return b.RestoreMarker(r, Timeline{})
		}))
		require.Equal(t, r.At.UnixMilli(), n.head.clock.now)
	}
}

// A row stands from before the topic was made anew: what ends it stands below its own
// offsets.
func TestRestoreMarker_EndsARowOfAnotherLog(t *testing.T) {
	n := withRow(t, &NamespaceOptions{Window: window.Hour})
	end := t0.Add(2 * time.Minute)
	require.NoError(t, n.Update(func(b *Batch) error {
		anew := Position{TopicID: ID{2}, Offset: 4}
		require.NoError(t, b.MoveTo(anew))
		require.NoError(t, b.BeginRestore(Restore{To: 4, Source: Position{TopicID: ID{9}}}))
		r := rec("next", 3, time.Hour)
		r.Origin.TopicID = anew.TopicID
		return b.RestoreMarker(r, Timeline{
			clock: clock{now: at(time.Hour).UnixMilli(), first: t0.UnixMilli(), times: firstTimes},
			ended: rowEnd{4, end.UnixMilli()},
		})
	}))
	require.Zero(t, n.head.ended, "it was told")
	require.Empty(t, n.row.list)
	m, found, err := n.Lookup([]byte("jumped"))
	require.NoError(t, err)
	require.True(t, found)
	require.True(t, m.First.Equal(end), m.First)
}

// Coverage that is open closes where a clock is told beside which no row stands.
func TestRestoreMarker_ClosesCoverage(t *testing.T) {
	n := withRow(t, &NamespaceOptions{Window: window.Hour})
	require.NoError(t, n.Update(func(b *Batch) error {
		require.NoError(t, b.OpenCoverage(Cold, time.Time{}))
		require.NoError(t, b.BeginRestore(Restore{To: 400, Source: Position{TopicID: ID{9}}}))
		require.NoError(t, b.RestoreMarker(rec("more", 21, 8*time.Hour), Timeline{b.head.clock, rowEnd{}, true}))
		require.True(t, b.head.cov.open)
		require.NoError(t, b.RestoreMarker(rec("sound", 22, time.Minute), Timeline{}))
		require.Equal(t, coverage{since: at(time.Minute).UnixMilli(), reason: Cold}, b.head.cov)
		return nil
	}))
}

// withRow returns a namespace with twenty markers at t0 and a row of one jump, eight
// hours ahead.
func withRow(t *testing.T, o *NamespaceOptions) *Namespace {
	t.Helper()
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", o)
	require.NoError(t, err)
	accept(t, n, 0, 20, 0)
	require.NoError(t, n.Update(func(b *Batch) error {
		d, err := b.Do(rec("jumped", 20, 8*time.Hour), nil)
		require.Equal(t, New, d.Verdict)
		return err
	}))
	require.Len(t, n.row.list, 1)
	return n
}

// A restore with another clock ends a row of jumps. Where whoever decided the
// records followed it, its markers stand as they are, and else as those of a row
// that was given up: none may stand in the future, as a duplicate for longer than
// the window.
func TestRestore_FromBesideARow(t *testing.T) {
	for until, first := range map[time.Duration]time.Duration{
		30 * time.Minute: 19 * time.Millisecond,
		8 * time.Hour:    8 * time.Hour,
	} {
		n := withRow(t, &NamespaceOptions{Window: window.Hour})
		require.NoError(t, n.Update(func(b *Batch) error {
			return b.BeginRestore(Restore{To: 40, From: t0.Add(until - time.Hour), Until: t0.Add(until)})
		}))
		require.Empty(t, n.row.list)
		m, found, err := n.Lookup([]byte("jumped"))
		require.NoError(t, err)
		require.True(t, found)
		require.True(t, m.First.Equal(t0.Add(first)), "%v: %v", until, m.First)
	}
}
