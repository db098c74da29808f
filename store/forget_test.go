package store

import (
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// verdicts decides records without an origin or a time, in a batch that is given
// up, and counts the duplicates among them.
func duplicates(t *testing.T, n *Namespace, ids ...string) (found []string) {
	t.Helper()
	undone := fmt.Errorf("undone")
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		for _, id := range ids {
			d, err := b.Do(Record{ID: []byte(id)}, nil)
			require.NoError(t, err)
			if d.Verdict == Duplicate {
				found = append(found, id)
			}
		}
		return undone
	}), undone)
	return found
}

func idsOf(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("id-%d", i))
	}
	return ids
}

// Wherever a marker stands, in the batch, in memory, in a table or in a merged
// one: forgotten, its ID is new, and stays so over a restart; accepted again, it
// is a duplicate of the new one.
func TestForget_WhereverItStands(t *testing.T) {
	fs := vfs.NewMem()
	var s *Store
	var n *Namespace
	reopen := func() {
		var err error
		s, err = open("store", nil, seams{fs: fs, limits: mergeLimits})
		require.NoError(t, err)
		n, err = s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
	}
	reopen()
	defer func() { require.NoError(t, s.Close()) }()
	accept(t, n, 0, 300, 0)
	mergedNow(t, s, n)
	accept(t, n, 300, 3, 0)
	for _, id := range []string{"id-1", "id-150", "id-299", "id-302"} {
		there, err := n.Forget([]byte(id))
		require.NoError(t, err)
		require.True(t, there, id)
		there, err = n.Forget([]byte(id))
		require.NoError(t, err)
		require.False(t, there, "%s twice", id)
	}
	there, err := n.Forget([]byte("never"))
	require.NoError(t, err)
	require.False(t, there)
	check := func() {
		require.Empty(t, duplicates(t, n, "id-1", "id-150", "id-299", "id-302"))
		require.Len(t, duplicates(t, n, idsOf(0, 303)...), 299)
		st, err := n.Status()
		require.NoError(t, err)
		require.EqualValues(t, 4, st.Forgets)
	}
	check()
	for range 2 {
		require.NoError(t, s.Close())
		reopen()
		check()
		mergedNow(t, s, n)
		check()
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		d, err := b.Do(rec("id-1", 303, time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, New, d.Verdict)
		d, err = b.Do(rec("id-1", 304, time.Second), nil)
		require.NoError(t, err)
		require.EqualValues(t, 303, d.Origin.Offset)
		there, err := b.Forget([]byte("id-1"))
		require.NoError(t, err)
		require.True(t, there, "in its own batch")
		d, err = b.Do(rec("id-1", 305, time.Second), nil)
		require.NoError(t, err)
		require.Equal(t, New, d.Verdict)
		return nil
	}))
	require.Equal(t, []string{"id-1"}, duplicates(t, n, "id-1", "id-150"))
}

// What is too old to count is not there to be forgotten; what is given up with
// its batch is not forgotten.
func TestForget_OnlyWhatCounts(t *testing.T) {
	s := testOpen(t, t.TempDir(), mergeLimits)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(50 * time.Millisecond)})
	require.NoError(t, err)
	accept(t, n, 0, 100, 0)
	there, err := n.Forget([]byte("id-49"))
	require.NoError(t, err)
	require.False(t, there, "C - F = W")
	there, err = n.Forget([]byte("id-50"))
	require.NoError(t, err)
	require.True(t, there)
	_, err = n.Forget(nil)
	require.ErrorIs(t, err, ErrNoID)
	undone := fmt.Errorf("undone")
	var kept *Batch
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		kept = b
		there, err := b.Forget([]byte("id-60"))
		require.NoError(t, err)
		require.True(t, there)
		require.NoError(t, b.ForgetAll())
		return undone
	}), undone)
	require.Equal(t, idsOf(51, 100), duplicates(t, n, idsOf(40, 100)...))
	_, err = kept.Forget([]byte("id-60"))
	require.ErrorIs(t, err, ErrTxDone)
	require.ErrorIs(t, kept.ForgetAll(), ErrTxDone)
}

// A forgotten ID of a row of jumps is gone, and so is an older marker of it that
// stands in a segment.
func TestForget_InTheRow(t *testing.T) {
	for _, how := range []string{"by ID", "by origin", "by time", "all"} {
		t.Run(how, func(t *testing.T) {
			s := testOpen(t, t.TempDir(), limits{})
			n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour, MaxAdvance: time.Minute})
			require.NoError(t, err)
			accept(t, n, 0, 20, 0)
			d, err := n.Do(rec("id-5", 20, 10*time.Hour), nil)
			require.NoError(t, err)
			require.Equal(t, Decision{Verdict: Unknown, Reason: Clock}.Verdict, d.Verdict, "it is in both")
			switch how {
			case "by ID":
				there, err := n.Forget([]byte("id-5"))
				require.NoError(t, err)
				require.True(t, there)
			case "by origin":
				require.NoError(t, n.ForgetOrigins(ID{1}, 0, 20, math.MaxInt64))
			case "by time":
				require.NoError(t, n.ForgetTimes(t0.Add(2*time.Hour), time.Time{}))
			case "all":
				require.NoError(t, n.ForgetAll())
			}
			_, err = n.Do(rec("sound", 21, 20*time.Millisecond), nil) // the row is given up
			require.NoError(t, err)
			left := duplicates(t, n, idsOf(0, 20)...)
			if how == "all" {
				require.Empty(t, left)
			} else {
				require.Equal(t, append(idsOf(0, 5), idsOf(6, 20)...), left)
			}
		})
	}
}

// A range is one value, however much it forgets; what is accepted after it
// stands. It goes when nothing is left that it could concern.
func TestForget_Ranges(t *testing.T) {
	fs := vfs.NewMem()
	var s *Store
	var n *Namespace
	reopen := func() {
		var err error
		s, err = open("store", nil, seams{fs: fs, limits: mergeLimits})
		require.NoError(t, err)
		n, err = s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
	}
	reopen()
	defer func() { require.NoError(t, s.Close()) }()
	accept(t, n, 0, 100, 0)
	require.NoError(t, n.ForgetOrigins(ID{1}, 0, 10, 20))
	require.NoError(t, n.ForgetOrigins(ID{2}, 0, 0, math.MaxInt64), "another log")
	require.NoError(t, n.ForgetOrigins(ID{1}, 1, 0, math.MaxInt64), "another partition")
	require.NoError(t, n.ForgetTimes(t0.Add(30*time.Millisecond), t0.Add(40*time.Millisecond)))
	want := append(append(idsOf(0, 10), idsOf(20, 30)...), idsOf(40, 100)...)
	require.Equal(t, want, duplicates(t, n, idsOf(0, 100)...))
	// Records whose origin and time lie in the ranges, but that come later.
	require.NoError(t, n.Update(func(b *Batch) error {
		for _, id := range idsOf(10, 15) {
			if _, err := b.Do(Record{ID: []byte(id), At: t0.Add(35 * time.Millisecond)}, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	want = append(append(idsOf(0, 15), idsOf(20, 30)...), idsOf(40, 100)...)
	require.Equal(t, want, duplicates(t, n, idsOf(0, 100)...))
	require.NoError(t, s.Close())
	reopen()
	require.Equal(t, want, duplicates(t, n, idsOf(0, 100)...))
	require.Len(t, n.index.(*segments).sweeps, 4)

	for o := int64(100); o < 2000; o += 30 { // until everything below was merged
		accept(t, n, o, 30, 0)
	}
	mergedNow(t, s, n)
	require.Empty(t, n.index.(*segments).sweeps, "merged away")
	require.Equal(t, want, duplicates(t, n, idsOf(0, 100)...))
	v, err := s.get(nsKey(kindSweeps, n.num))
	require.NoError(t, err)
	require.Empty(t, v)
	require.NoError(t, s.Close())
	reopen()
	require.Equal(t, want, duplicates(t, n, idsOf(0, 100)...))

	require.NoError(t, n.ForgetAll())
	require.Empty(t, duplicates(t, n, idsOf(0, 2000)...))
	mergedNow(t, s, n)
	require.NoError(t, n.Update(func(b *Batch) error { b.dirty = true; return nil }))
	require.NoError(t, s.queue.drain())
	x := n.index.(*segments)
	require.Empty(t, x.list, "segments of which nothing is left are dropped")
	require.Empty(t, x.sweeps)

	for _, err := range []error{
		n.ForgetOrigins(ID{1}, 0, 5, 5), n.ForgetOrigins(ID{1}, 0, -1, 5), n.ForgetTimes(t0, t0),
	} {
		require.ErrorContains(t, err, "no range")
	}
}

// Ranges are bounded, because every duplicate is held against all of them.
func TestForget_TooManyRanges(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Update(func(b *Batch) error {
		for range 2 * sweepsMost {
			if err := b.ForgetOrigins(ID{1}, 0, 0, 1); err != nil {
				return err
			}
		}
		return nil
	}), "there is nothing that they could concern")
	accept(t, n, 0, 20, 0)
	require.NoError(t, n.Update(func(b *Batch) error {
		for range sweepsMost {
			require.NoError(t, b.ForgetOrigins(ID{1}, 0, 0, 1))
		}
		require.ErrorIs(t, b.ForgetOrigins(ID{1}, 0, 1, 2), ErrForgets)
		return nil
	}))
	require.ErrorIs(t, n.ForgetTimes(t0, time.Time{}), ErrForgets)
	require.Equal(t, idsOf(1, 20), duplicates(t, n, idsOf(0, 20)...))
	require.NoError(t, n.ForgetAll(), "it takes the place of all")
	require.NoError(t, n.ForgetOrigins(ID{1}, 0, 1, 2))
	require.Empty(t, duplicates(t, n, idsOf(0, 20)...))
}

// Forgotten ranges that are lost, or others, are damage.
func TestForget_DamagedRanges(t *testing.T) {
	for name, damage := range map[string]func(*Store, []byte) error{
		"lost": func(s *Store, key []byte) error { return s.db.Delete(key, nil) },
		"others": func(s *Store, key []byte) error {
			return s.db.Set(key, appendSweeps(nil, []sweep{{num: 1, below: 1, what: sweepAll}}), nil)
		},
		"nothing": func(s *Store, key []byte) error { return s.db.Set(key, []byte{9}, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			opts := &Options{Logger: slog.New(slog.DiscardHandler)}
			s, err := open("store", opts, seams{fs: fs})
			require.NoError(t, err)
			n, err := s.Namespace("a", nil)
			require.NoError(t, err)
			accept(t, n, 0, 20, 0)
			require.NoError(t, n.ForgetOrigins(ID{1}, 0, 0, 1))
			require.NoError(t, damage(s, nsKey(kindSweeps, n.num)))
			require.NoError(t, s.Close())
			s, err = open("store", opts, seams{fs: fs})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			n, err = s.Namespace("a", nil)
			require.NoError(t, err)
			require.ErrorIs(t, n.Load(), ErrCorrupt)
		})
	}
}

// A merge keeps the tombstone of what may stand in an older segment, and makes
// one of what a sweep forgets; a merge that holds the oldest segment drops both.
func TestForget_MergesHideWhatIsOlder(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 20, small: 1, merge: 1000})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(time.Hour), BucketWidth: time.Hour})
	require.NoError(t, err)
	x := func() *segments { return n.index.(*segments) }
	touch := func() {
		require.NoError(t, s.queue.drain())
		require.NoError(t, n.Update(func(b *Batch) error { b.dirty = true; return nil }))
	}
	merged := func(from, to int) *segment {
		touch()
		m := &merge{from: append([]*segment(nil), x().list[from:to]...), oldest: from == 0, sweeps: x().sweeps}
		for _, g := range m.from {
			g.merging = m
		}
		s.queue.add(s.mergeJob(n.num, m))
		touch()
		return x().list[from]
	}
	accept(t, n, 0, 60, 0)
	for _, id := range []string{"id-1", "id-30"} {
		there, err := n.Forget([]byte(id))
		require.NoError(t, err)
		require.True(t, there)
	}
	require.NoError(t, n.Update(func(b *Batch) error { // again, and far from the first
		_, err := b.Do(Record{ID: []byte("id-1"), At: t0.Add(60 * time.Millisecond)}, nil)
		return err
	}))
	there, err := n.Forget([]byte("id-1"))
	require.NoError(t, err)
	require.True(t, there)
	accept(t, n, 60, 60, 0)
	require.NoError(t, n.ForgetOrigins(ID{1}, 0, 61, 63))
	want := append(append(append([]string{"id-0"}, idsOf(2, 30)...), idsOf(31, 61)...), idsOf(63, 120)...)
	require.Equal(t, want, duplicates(t, n, idsOf(0, 120)...))
	touch()

	g := merged(3, len(x().list))
	require.True(t, g.merged())
	require.EqualValues(t, 60+2, g.live(), "two tombstones of two IDs, and two made of two markers")
	require.Empty(t, x().needed(x().list[:3]), "the sweep has nothing left to do here")
	require.Equal(t, want, duplicates(t, n, idsOf(0, 120)...))
	g = merged(0, len(x().list))
	require.EqualValues(t, 120-4, g.live())
	require.Equal(t, want, duplicates(t, n, idsOf(0, 120)...))
	require.Empty(t, x().sweeps)
}
