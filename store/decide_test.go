package store

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firstseen/firstseen/window"
)

const noFloor = math.MinInt64

func TestFault_C07_C09_Decide(t *testing.T) {
	m := marker{first: 1000, origin: Position{TopicID: ID{1}, Offset: 7}}
	dup := Decision{Verdict: Duplicate, First: timeOf(1000), Origin: m.origin}
	unknown := func(r Reason) Decision { return Decision{Verdict: Unknown, Reason: r} }
	fresh := Decision{Verdict: New}
	open := fromBeginning.opened(Cold)
	tests := []struct {
		name  string
		now   int64 // C
		high  int64 // C' of the row that stands, 0: none
		t     int64 // 0: missing
		found bool
		cov   coverage
		floor int64
		want  Decision
	}{
		{"no marker", 1000, 0, 1000, false, fromBeginning, noFloor, fresh},
		{"age 0", 1000, 0, 1000, true, fromBeginning, noFloor, dup},
		{"age W-1", 1099, 0, 1099, true, fromBeginning, noFloor, dup},
		{"C09: age W", 1100, 0, 1100, true, fromBeginning, noFloor, fresh},
		{"the marker lies ahead of the clock", 1, 0, 1, true, fromBeginning, noFloor, dup},
		{"C07: a late copy within the window", 1099, 0, 1, true, fromBeginning, noFloor, dup},
		{"late, at the edge", 1100, 0, 1000, true, fromBeginning, noFloor, fresh},
		{"late by 1 ms", 1100, 0, 999, true, fromBeginning, noFloor, unknown(Late)},
		{"C05: missing is never late", 1100, 0, 0, true, fromBeginning, noFloor, fresh},
		{"coverage open", 1000, 0, 1000, false, open, noFloor, unknown(Cold)},
		{"coverage open, noFloor, but the marker stands", 1000, 0, 1000, true, open, noFloor, dup},
		{"late comes before coverage", 1100, 0, 999, false, open, noFloor, unknown(Late)},
		{"coverage begins at the edge", 1100, 0, 1100, false, coverage{since: 1000, reason: Lost}, noFloor, fresh},
		{"coverage begins 1 ms inside", 1099, 0, 1099, false, coverage{since: 1000, reason: Lost}, noFloor,
			unknown(Lost)},
		{"evicted", 1050, 0, 1050, false, coverage{since: 1000, reason: Evicted}, noFloor, unknown(Evicted)},
		{"both lines: new", 1000, 1050, 1000, false, fromBeginning, noFloor, fresh},
		{"both lines: duplicate", 1000, 1050, 1000, true, fromBeginning, noFloor, dup},
		{"by the row it has left the window", 1000, 1100, 1000, true, fromBeginning, noFloor, unknown(Clock)},
		{"by the row it is late", 1000, 1101, 1000, false, fromBeginning, noFloor, unknown(Clock)},
		{"by the row the window is covered", 1050, 1200, 0, false, coverage{since: 1000, reason: Cold}, noFloor,
			unknown(Clock)},
		{"the reasons differ", 1050, 1200, 1051, false, coverage{since: 1000, reason: Cold}, noFloor,
			unknown(Clock)},
		{"it left a window that was in force", 1010, 0, 1010, true, fromBeginning, 1000, fresh},
		{"and coverage says so", 1010, 0, 1010, true, coverage{since: 1000, reason: Cold}, 1000, unknown(Cold)},
		{"it was in the window by 1 ms", 1010, 0, 1010, true, fromBeginning, 999, dup},
		{"the row does not bring it back", 1000, 1050, 1000, true, fromBeginning, 1000, fresh},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := clock{now: tt.now, first: 1, times: firstTimes, high: tt.high}
			got := decide(&c, tt.t, step{known: tt.t > 0}, tt.found, &m, tt.cov, tt.floor,
				window.Of(100*time.Millisecond))
			tt.want.Coverage = tt.cov.public()
			require.Equal(t, tt.want, got)
		})
	}
}

// F = 0 means the first C.
func TestDecide_AcceptedBeforeAnyTime(t *testing.T) {
	w := window.Of(100 * time.Millisecond)
	c := clock{now: 1099, first: 1000, times: firstTimes}
	got := decide(&c, 0, step{}, true, &marker{}, fromBeginning, noFloor, w)
	require.Equal(t, Decision{Verdict: Duplicate, First: timeOf(1000)}, got)
	c.now = 1100
	require.Equal(t, New, decide(&c, 0, step{}, true, &marker{}, fromBeginning, noFloor, w).Verdict)
	c.now = 1050
	require.Equal(t, New, decide(&c, 0, step{}, true, &marker{}, fromBeginning, 1000, w).Verdict)
}

func TestFault_C16_ForeverNeverExpires(t *testing.T) {
	c := clock{now: 1 << 62, first: 1, times: firstTimes}
	got := decide(&c, 1, step{known: true}, true, &marker{first: 1}, fromBeginning, noFloor, window.Forever)
	require.Equal(t, Duplicate, got.Verdict)
	got = decide(&c, 1, step{known: true}, false, &marker{}, fromBeginning, noFloor, window.Forever)
	require.Equal(t, New, got.Verdict, "nothing is late")
	got = decide(&c, 1, step{known: true}, false, &marker{}, coverage{since: 1, reason: Cold}, noFloor,
		window.Forever)
	require.Equal(t, Unknown, got.Verdict, "a hole never leaves the window")
}

// scene is a namespace in memory, with one record after another.
type scene struct {
	t   *testing.T
	st  *Store
	n   *Namespace
	off int64
}

func newScene(t *testing.T, w window.Window) *scene {
	t.Helper()
	st, err := Open("", &Options{
		InMemory: true, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return t0.Add(time.Hour) },
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, st.Close())
		goleak.VerifyNone(t)
	})
	n, err := st.Namespace("a", &NamespaceOptions{Window: w})
	require.NoError(t, err)
	return &scene{t: t, st: st, n: n}
}

// see decides the next record, in a batch of its own.
func (s *scene) see(id string, at time.Duration) Decision {
	s.t.Helper()
	d, err := s.n.Do(rec(id, s.off, at), nil)
	require.NoError(s.t, err)
	s.off++
	return d
}

// warm passes the first 8 times.
func (s *scene) warm() {
	for i := range 8 {
		s.see(fmt.Sprintf("warm-%d", i), 0)
	}
}

func TestFault_C10_C11_DuplicatesDoNotMoveTheWindow(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	require.Equal(t, New, s.see("x", 0).Verdict)
	for at := time.Minute; at < time.Hour; at += time.Minute { // across every bucket
		require.Equal(t, Duplicate, s.see("x", at).Verdict, at)
	}
	require.Equal(t, New, s.see("x", time.Hour).Verdict)
}

func TestFault_C08_OffsetsOrderABatch(t *testing.T) {
	s := newScene(t, window.Of(10*time.Millisecond))
	s.warm()
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for i, at := range []time.Duration{5, 20, 11, 9} { // F = 5, C = 20
			d, err := b.Do(rec("x", s.off+int64(i), at*time.Millisecond), nil)
			require.NoError(t, err)
			want := []Verdict{New, New, Duplicate, Duplicate}[i]
			require.Equal(t, want, d.Verdict, "record %d", i)
		}
		return nil
	}))
}

func TestFault_D01_CopyInTheBatch(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	require.NoError(t, s.n.Update(func(b *Batch) error {
		ids := [][]byte{[]byte("x"), []byte("x"), []byte("y"), []byte("x")}
		b.Prepare(ids)
		for i, id := range ids {
			d, err := b.Do(rec(string(id), s.off+int64(i), 0), nil)
			require.NoError(t, err)
			if i%2 == 0 {
				require.Equal(t, New, d.Verdict)
				continue
			}
			require.Equal(t, Duplicate, d.Verdict)
			require.Equal(t, s.off, d.Origin.Offset, "the first of the batch")
		}
		return nil
	}))
}

func TestFault_D03_NoID(t *testing.T) {
	s := newScene(t, window.Hour)
	for _, id := range [][]byte{nil, {}} {
		d, err := s.n.Do(Record{ID: id, At: t0, Origin: Position{TopicID: ID{1}}}, func(*Tx) error {
			panic("handled")
		})
		require.ErrorIs(t, err, ErrNoID)
		require.Zero(t, d)
	}
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for i := range 3 { // passed, without one being taken for another
			err := b.Pass(Record{At: t0, Origin: Position{TopicID: ID{1}, Offset: int64(i)}},
				func(tx *Tx) error {
					require.Zero(t, tx.Decision())
					_, err := tx.Add([]byte("passed"), 1)
					return err
				})
			require.NoError(t, err)
		}
		return nil
	}))
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Equal(t, uint64(3), st.Counts.NoID)
	require.Zero(t, st.Markers)
	require.Equal(t, int64(3), st.Position.Offset)
}

func TestFault_D06_F13_NamespacesShareNothing(t *testing.T) {
	s := newScene(t, window.Hour)
	other, err := s.st.Namespace("ax", nil) // "a"+"xy" and "ax"+"y" are two
	require.NoError(t, err)
	_, err = s.n.Do(rec("xy", 0, 0), func(tx *Tx) error {
		return errors.Join(tx.Set([]byte("k"), []byte("v")), tx.Stage([]byte("out")))
	})
	require.NoError(t, err)
	for i, id := range []string{"y", "xy"} {
		d, err := other.Do(rec(id, int64(i), 0), func(tx *Tx) error {
			got, err := tx.Get([]byte("k"))
			require.Nil(t, got)
			return err
		})
		require.NoError(t, err)
		require.Equal(t, New, d.Verdict)
	}
	require.NoError(t, other.Pending(func(Output) error { return errors.New("an output of another") }))
	require.Equal(t, window.Day, other.Window())
}

// Clock, row and first C are as durable as the markers: after a restart nothing
// is judged by another time.
func TestFault_C15_ClockOutlivesARestart(t *testing.T) {
	fs, off := vfs.NewMem(), int64(0)
	see := func(id string, at time.Duration) Decision { // in an opening of its own
		st, err := open("store", &Options{Now: func() time.Time { return t0.Add(time.Hour) }},
			seams{fs: fs})
		require.NoError(t, err)
		n, err := st.Namespace("a", &NamespaceOptions{Window: window.Of(time.Minute),
			MaxAdvance: time.Second})
		require.NoError(t, err)
		r := rec(id, off, at)
		if at < 0 {
			r.At = time.Time{}
		}
		d, err := n.Do(r, nil)
		require.NoError(t, err)
		require.NoError(t, st.Close())
		off++
		return d
	}
	see("early", -1) // before any time: F = 0
	for i, at := range []time.Duration{7, 6, 5, 4, 3, 2, 1, 0} {
		see(fmt.Sprint(i), at*time.Second)
	}
	require.Equal(t, timeOf(t0.UnixMilli()), see("early", -1).First, "F = 0 is the first C")
	require.Equal(t, New, see("jump", time.Hour).Verdict)
	require.Equal(t, Clock, see("early", -1).Reason, "the row stands")
	require.Equal(t, New, see("sound", time.Second).Verdict)
	require.Equal(t, timeOf(t0.Add(time.Second).UnixMilli()), see("jump", -1).First,
		"the row is given up")
}

// R5: an offset is below L only in its own log.
func TestFault_E11_ReplaysOfOneLogOnly(t *testing.T) {
	s := newScene(t, window.Hour)
	s.off = 100
	s.see("x", 0)
	d, err := s.n.Do(rec("x", 5, 0), nil)
	require.ErrorIs(t, err, ErrReplay)
	require.Zero(t, d)
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Equal(t, uint64(1), st.Counts.Replays)
	require.Zero(t, st.Counts.Duplicate)
	again := rec("y", 5, 0)
	again.Origin.TopicID = ID{2}
	_, err = s.n.Do(again, nil)
	require.ErrorIs(t, err, ErrOtherLog)
	require.NoError(t, s.n.Update(func(b *Batch) error {
		require.ErrorIs(t, b.SetPosition(Position{TopicID: ID{1}, Offset: 5}), ErrBackwards)
		return b.SetPosition(Position{TopicID: ID{2}, Offset: 5})
	}))
	_, err = s.n.Do(again, nil)
	require.NoError(t, err, "it is below L of the log before, and new")
}

// Outputs come back in the order of staging, whatever their origins are.
func TestNamespace_PendingOrder(t *testing.T) {
	s := newScene(t, window.Hour)
	require.NoError(t, s.n.Update(func(b *Batch) error {
		stage := func(out string) func(*Tx) error {
			return func(tx *Tx) error { return tx.Stage([]byte(out)) }
		}
		_, err := b.Do(rec("x", 9, 0), stage("first"))
		require.NoError(t, err)
		require.NoError(t, b.SetPosition(Position{TopicID: ID{2}}))
		r := rec("y", 0, 0)
		r.Origin.TopicID = ID{2}
		_, err = b.Do(r, stage("second"))
		require.NoError(t, err)
		_, err = b.Do(Record{ID: []byte("z")}, stage("third"))
		return err
	}))
	var got []string
	require.NoError(t, s.n.Pending(func(o Output) error {
		got = append(got,
			string(o.Data))
		return nil
	}))
	require.Equal(t, []string{"first", "second", "third"}, got)
}

// R2: the last accepted counts, also when it is the older by its F (out of a row
// that the clock followed), its segment ends first, and a restart lies between.
func TestNamespace_LastAcceptedCountsAfterARestart(t *testing.T) {
	const minute = time.Minute
	fs := vfs.NewMem()
	var st *Store
	var n *Namespace
	reopen := func() {
		if st != nil {
			require.NoError(t, st.Close())
		}
		var err error
		now := func() time.Time { return t0.Add(48 * time.Hour) }
		st, err = open("store", &Options{Now: now}, seams{fs: fs})
		require.NoError(t, err)
		n, err = st.Namespace("a", &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
	}
	off, epoch := int64(0), int32(0)
	see := func(id string, at time.Duration) Decision {
		r := rec(id, off, at)
		if at < 0 {
			r.At = time.Time{}
		}
		r.Origin.LeaderEpoch = epoch // a new one closes the segment
		d, err := n.Do(r, nil)
		require.NoError(t, err)
		off++
		return d
	}
	reopen()
	defer func() { require.NoError(t, st.Close()) }()
	for i := range 8 {
		see(fmt.Sprint("warm-", i), 0)
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		for i := range 998 {
			_, err := b.Do(rec(fmt.Sprint("row-", i), off, 600*minute), nil)
			require.NoError(t, err)
			off++
		}
		return nil
	}))
	see("x", 720*minute)   // by the row: F is two hours ahead of where the clock follows to
	see("row", 600*minute) // the 1,000th jump
	require.Equal(t, Duplicate, see("x", -1).Verdict)
	epoch++
	see("sound-1", 600*minute)
	see("jump", 840*minute)
	require.Equal(t, Clock, see("x", -1).Reason) // accepted again, by the clock: F = 600 min
	see("sound-2", 600*minute)
	epoch++
	see("next", 600*minute)
	reopen()
	for at := 600 * minute; at <= 661*minute; at += 7 * minute {
		see(fmt.Sprint("tick-", at), at)
	}
	see("tick", 661*minute)
	see("tock", 661*minute)
	require.Equal(t, New, see("x", -1).Verdict)
}
