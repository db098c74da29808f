package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// restoreLog is a random log of a few windows: copies at any distance, times out
// of order, jumps, and records without a time.
func restoreLog(rng *rand.Rand, n int) []Record {
	log := make([]Record, n)
	at := time.Duration(0)
	for i := range log {
		at += time.Duration(rng.IntN(4000)) * time.Millisecond
		r := rec(fmt.Sprint(rng.IntN(n)), int64(i), at-time.Duration(rng.IntN(3))*time.Second)
		switch rng.IntN(40) {
		case 0:
			r.At = time.Time{}
		case 1:
			r.At = r.At.Add(30 * time.Hour)
		case 2:
			r.ID = []byte(fmt.Sprint(max(0, i-1)))
		}
		log[i] = r
	}
	return log
}

// restoreWorld is two namespaces of one log: the one never leaves, the other is
// restored where it did not go.
type restoreWorld struct {
	*testing.T
	rng  *rand.Rand
	dir  string
	opts NamespaceOptions
	s    *Store
	stay *Namespace
	away *Namespace
}

func newRestoreWorld(t *testing.T, opts NamespaceOptions) *restoreWorld {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := &restoreWorld{T: t, rng: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), opts: opts}
	w.open()
	return w
}

func (w *restoreWorld) open() {
	w.s = testOpen(w.T, w.dir, limits{full: 300, small: 20, merge: mergeAbove})
	for name, n := range map[string]**Namespace{"stay": &w.stay, "away": &w.away} {
		ns, err := w.s.Namespace(name, &w.opts)
		require.NoError(w, err)
		*n = ns
	}
}

func (w *restoreWorld) status(n *Namespace) Status {
	st, err := n.Status()
	require.NoError(w, err)
	return st
}

// decide takes records through a namespace in batches of any size.
func (w *restoreWorld) decide(n *Namespace, log []Record) (all []Decision) {
	w.eachBatch(log, func(some []Record) {
		require.NoError(w, n.Update(func(b *Batch) error {
			for _, r := range some {
				d, err := b.Do(r, nil)
				require.NoError(w, err)
				all = append(all, d)
			}
			return nil
		}))
	})
	return all
}

func (w *restoreWorld) eachBatch(log []Record, fn func([]Record)) {
	for len(log) > 0 {
		n := min(len(log), 1+w.rng.IntN(30))
		fn(log[:n])
		log = log[n:]
	}
}

// restore restores records of the log. It dies now and then, and goes on from what
// is durable.
func (w *restoreWorld) restore(log []Record, begin func(*Batch) error) {
	require.NoError(w, w.away.Update(begin))
	to := log[len(log)-1].Origin.Offset + 1
	for {
		st := w.status(w.away)
		require.Equal(w, to, st.Restore.To)
		if w.rng.IntN(8) == 0 {
			require.NoError(w, w.s.Close())
			w.open()
			require.NoError(w, w.away.Update(func(b *Batch) error {
				return b.BeginRestore(*w.status(w.away).Restore)
			}))
		}
		at := w.status(w.away).Position.Offset - log[0].Origin.Offset
		rest := log[at:]
		if len(rest) == 0 {
			break
		}
		fail := w.rng.IntN(6) == 0
		err := w.away.Update(func(b *Batch) error {
			some := rest[:min(len(rest), 1+w.rng.IntN(30))]
			var ids [][]byte
			for _, r := range some {
				ids = append(ids, r.ID)
			}
			if w.rng.IntN(2) == 0 {
				b.Prepare(ids)
			}
			for _, r := range some {
				_, err := b.Restore(r)
				require.NoError(w, err)
			}
			if fail {
				return errUndone
			}
			return nil
		})
		if !fail {
			require.NoError(w, err)
		}
	}
	require.NoError(w, w.away.Update((*Batch).EndRestore))
	require.Nil(w, w.status(w.away).Restore)
}

var errUndone = fmt.Errorf("undone")

// A range that is filled on an intact prefix is exact, whatever the policies are:
// what is decided after it, and what stands, is what it is in a namespace that
// never left.
func TestRestore_FillsExactly(t *testing.T) {
	for _, unknown := range []UnknownPolicy{{}, {Cold: Drop, Late: Drop, Clock: DeadLetter}} {
		for range 3 {
			w := newRestoreWorld(t, NamespaceOptions{Window: window.Hour, Unknown: unknown})
			log := restoreLog(w.rng, 2500)
			from, to := w.rng.IntN(1000), 1000+w.rng.IntN(1000)
			if w.rng.IntN(2) == 0 { // its coverage is not that of the beginning
				log = log[1:]
			}
			w.decide(w.away, log[:from])
			w.decide(w.stay, log[:to])
			until := w.status(w.stay).Clock
			w.restore(log[from:to], func(b *Batch) error {
				if from == 0 {
					require.NoError(t, b.MoveTo(log[0].Origin))
				}
				return b.BeginRestore(Restore{To: log[to-1].Origin.Offset + 1, Until: until})
			})
			stay, away := w.status(w.stay), w.status(w.away)
			require.Equal(t, stay.Clock, away.Clock)
			require.Equal(t, stay.Coverage, away.Coverage)
			require.Equal(t, stay.Timeline, away.Timeline)
			require.Equal(t, w.decide(w.stay, log[to:]), w.decide(w.away, log[to:]))
			for _, r := range log {
				a, foundA, err := w.stay.Lookup(r.ID)
				require.NoError(t, err)
				b, foundB, err := w.away.Lookup(r.ID)
				require.NoError(t, err)
				in := b.Origin.Offset >= log[from].Origin.Offset && b.Origin.Offset < log[to].Origin.Offset
				require.Equal(t, foundB && in, b.Restored)
				b.Restored = false
				require.Equal(t, a, b)
				require.Equal(t, foundA, foundB)
			}
			_, err := w.s.Verify(t.Context(), nil)
			require.NoError(t, err)
		}
	}
}

// From nothing, with the records of one window before the clock T: no copy that
// the one who never left knows goes unnoticed without being Unknown, and what is
// claimed is what is known.
func TestRestore_FromAClock(t *testing.T) {
	for range 5 {
		w := newRestoreWorld(t, NamespaceOptions{Window: window.Hour, Unknown: UnknownPolicy{Cold: Drop}})
		log := onceLog(w.rng, 5000)
		to := 3500 + w.rng.IntN(1000)
		early := -1
		if w.rng.IntN(2) == 0 { // a time that is not followed lies before the edge, near record 1,700
			early = w.rng.IntN(1500)
			log[early].At = log[early].At.Add(100 * time.Hour)
		}
		w.decide(w.stay, log[:to])
		until := w.status(w.stay).Clock
		edge := until.Add(-time.Hour)
		from := 0
		for log[from].At.Before(edge) {
			from++
		}
		require.True(t, early < 0 || from == early)
		w.restore(log[from:to], func(b *Batch) error {
			require.NoError(t, b.MoveTo(log[from].Origin))
			require.NoError(t, b.OpenCoverage(Cold, edge))
			return b.BeginRestore(Restore{To: int64(to), From: edge, Until: until})
		})
		away := w.status(w.away)
		require.False(t, away.Coverage.Open)
		require.False(t, away.Coverage.Since.Before(edge))
		require.Equal(t, until, away.Clock)
		for _, n := range []*Namespace{w.stay, w.away} { // what follows is accepted by both alike
			_, err := w.s.Namespace(n.Name(), &NamespaceOptions{
				Window: window.Hour, Unknown: UnknownPolicy{Cold: Accept}})
			require.NoError(t, err)
		}
		unknown := 0
		a, b := w.decide(w.stay, log[to:]), w.decide(w.away, log[to:])
		for i := range a {
			if b[i].Verdict == Unknown && b[i].Reason == Cold {
				unknown++
				continue
			}
			require.Equal(t, a[i].Verdict, b[i].Verdict, "%v", log[to+i])
			require.Equal(t, a[i].Reason, b[i].Reason)
		}
		require.Less(t, unknown, (len(log)-to)/10)
	}
}

// onceLog is a log in which every ID comes once or twice, at any distance.
func onceLog(rng *rand.Rand, n int) []Record {
	log := make([]Record, n)
	at, copied := time.Duration(0), make(map[int]bool)
	for i := range log {
		at += time.Duration(rng.IntN(4000)) * time.Millisecond
		id := i
		if of := rng.IntN(i + 1); rng.IntN(3) == 0 && !copied[of] && string(log[of].ID) == fmt.Sprint(of) {
			id, copied[of] = of, true
		}
		log[i] = rec(fmt.Sprint(id), int64(i), at-time.Duration(rng.IntN(3))*time.Second)
	}
	return log
}

// Anew: whatever a namespace had is gone, and it is as if it had read the log from
// the beginning, state made by Do among it; however much longer the log is than the
// window.
func TestRestore_Anew(t *testing.T) {
	for _, w := range []window.Window{window.Hour, window.Of(10 * time.Minute)} {
		t.Run(w.String(), func(t *testing.T) { restoreAnew(t, newRestoreWorld(t, NamespaceOptions{Window: w})) })
	}
}

func restoreAnew(t *testing.T, w *restoreWorld) {
	log := restoreLog(w.rng, 3000)
	count := func(n *Namespace, log []Record) {
		w.eachBatch(log, func(some []Record) {
			require.NoError(t, n.Update(func(b *Batch) error {
				for _, r := range some {
					_, err := b.Do(r, func(tx *Tx) error {
						_, err := tx.Add([]byte("n"), 1)
						return err
					})
					require.NoError(t, err)
				}
				return nil
			}))
		})
	}
	count(w.stay, log[:2000])
	count(w.away, log[:1500])
	before := w.status(w.away).Clock
	require.NoError(t, w.away.Update(func(b *Batch) error {
		require.NoError(t, b.ClearState())
		require.NoError(t, b.MoveTo(log[0].Origin))
		return b.BeginRestore(Restore{To: 2000, Until: w.status(w.stay).Clock, Anew: true})
	}))
	require.Equal(t, before, w.status(w.away).Clock, "nobody sees it go back")
	require.ErrorIs(t, w.away.Advance(before.Add(time.Second)), ErrRestoring)
	count(w.away, log[:1000])
	require.Equal(t, before, w.status(w.away).Clock)
	count(w.away, log[1000:2000])
	require.NoError(t, w.away.Update((*Batch).EndRestore))
	require.Equal(t, w.status(w.stay).Clock, w.status(w.away).Clock)
	require.Equal(t, w.status(w.stay).Coverage, w.status(w.away).Coverage)
	require.Equal(t, w.decide(w.stay, log[2000:]), w.decide(w.away, log[2000:]))
	require.Positive(t, sum(t, w.stay))
	require.Equal(t, sum(t, w.stay), sum(t, w.away))
}

func sum(t *testing.T, n *Namespace) (got int64) {
	require.NoError(t, n.View(func(v *View) (err error) {
		got, err = v.Int([]byte("n"))
		return err
	}))
	return got
}

// Markers as they are listed: told twice they stand once, the last accepted one counts,
// and the clock follows them.
func TestRestore_Markers(t *testing.T) {
	w := newRestoreWorld(t, NamespaceOptions{Window: window.Hour})
	w.decide(w.stay, restoreLog(w.rng, 3000))
	require.NoError(t, w.stay.Update(func(b *Batch) error { // no row stands
		_, err := b.Do(Record{ID: []byte("last"), At: w.status(w.stay).Clock, Origin: offset(3000)}, nil)
		return err
	}))
	until := w.status(w.stay).Clock
	var told []MarkerEntry
	require.NoError(t, w.stay.Markers(func(m MarkerEntry) error {
		m.ID = append([]byte(nil), m.ID...)
		told = append(told, m)
		return nil
	}))
	slices.SortFunc(told, func(a, b MarkerEntry) int { return cmp.Compare(a.Origin.Offset, b.Origin.Offset) })
	require.NoError(t, w.away.Update(func(b *Batch) error {
		require.ErrorIs(t, b.RestoreMarker(Record{ID: []byte("a")}, Timeline{}), ErrNotRestoring)
		require.ErrorIs(t, b.RestoreFrom(Position{}), ErrNotRestoring)
		_, err := b.Restore(Record{ID: []byte("a")})
		require.ErrorIs(t, err, ErrNotRestoring)
		return b.BeginRestore(Restore{To: 3001, Until: until})
	}))
	for range 2 {
		for _, m := range told {
			require.NoError(t, w.away.Update(func(b *Batch) error {
				return b.RestoreMarker(Record{ID: m.ID, At: m.First, Origin: m.Origin}, Timeline{})
			}))
		}
		require.Equal(t, uint64(len(told)), w.status(w.away).Markers)
	}
	require.NoError(t, w.away.Update((*Batch).EndRestore))
	require.Equal(t, until, w.status(w.away).Clock)
	for _, m := range told {
		got, found, err := w.away.Lookup(m.ID)
		require.NoError(t, err)
		require.True(t, found && got.Restored)
		got.Restored = false
		require.Equal(t, m.Marker, got)
	}
}
