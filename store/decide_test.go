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

func TestFault_F02_F03_FailureLeavesNothing(t *testing.T) {
	s := newScene(t, window.Hour)
	boom := errors.New("boom")
	half := func(tx *Tx) {
		require.NoError(t, tx.Set([]byte("k"), []byte("v")))
		require.NoError(t, tx.Stage([]byte("out")))
	}
	require.PanicsWithValue(t, boom, func() {
		_, _ = s.n.Do(rec("x", 0, 0), func(tx *Tx) error { half(tx); panic(boom) })
	})
	_, err := s.n.Do(rec("x", 0, 0), func(tx *Tx) error { half(tx); return boom })
	require.ErrorIs(t, err, boom)
	require.NoError(t, s.n.View(func(v *View) error {
		got, err := v.Get([]byte("k"))
		require.Nil(t, got)
		return err
	}))
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Pending)
	require.Zero(t, st.Clock)
	require.Equal(t, New, s.see("x", 0).Verdict)
}

func TestFault_F04_UseAfterTheEnd(t *testing.T) {
	s := newScene(t, window.Hour)
	var batch *Batch
	var tx *Tx
	var view *View
	require.NoError(t, s.n.Update(func(b *Batch) error {
		batch = b
		_, err := b.Do(rec("x", 0, 0), func(t *Tx) error { tx = t; return nil })
		return err
	}))
	require.NoError(t, s.n.View(func(v *View) error { view = v; return nil }))
	late := make(chan error)
	go func() { // while the namespace works on
		var errs []error
		_, err := batch.Do(rec("late", 1, 0), nil)
		errs = append(errs, err, batch.Pass(rec("", 1, 0), nil), batch.SetPosition(Position{Offset: 9}))
		batch.Prepare([][]byte{[]byte("late")})
		_, err = tx.Get([]byte("k"))
		errs = append(errs, err, tx.Set([]byte("k"), nil), tx.Delete([]byte("k")), tx.Stage(nil))
		_, err = tx.Add([]byte("k"), 1)
		errs = append(errs, err, tx.Scan(nil, nil))
		_, err = view.Get([]byte("k"))
		errs = append(errs, err, view.Scan(nil, nil))
		for _, err := range errs {
			if !errors.Is(err, ErrTxDone) {
				late <- fmt.Errorf("got %w from %d calls", err, len(errs))
				return
			}
		}
		late <- nil
	}()
	s.off = 1
	for i := range 50 {
		require.Equal(t, New, s.see(fmt.Sprint(i), 0).Verdict)
	}
	require.NoError(t, <-late)
}

// The caller may use its buffers again as soon as a call has returned.
func TestFault_D10_BuffersAreTheCallers(t *testing.T) {
	s := newScene(t, window.Hour)
	id, val := []byte("id-a"), []byte("val-a")
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for i, c := range "abab" {
			id[3], val[4] = byte(c), byte(c)
			d, err := b.Do(Record{ID: id, At: t0, Origin: Position{TopicID: ID{1}, Offset: int64(i)}},
				func(tx *Tx) error {
					return errors.Join(tx.Set(id, val), tx.Stage(val))
				})
			require.NoError(t, err)
			require.Equal(t, i < 2, d.Verdict == New)
			id[3], val[4] = 'z', 'z'
		}
		return nil
	}))
	require.NoError(t, s.n.View(func(v *View) error {
		got, err := v.Get([]byte("id-a"))
		require.Equal(t, "val-a", string(got))
		return err
	}))
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

// A rolled-back batch forgets that it passed a failed record.
func TestBatch_FailureOutlivesRollback(t *testing.T) {
	boom := errors.New("boom")
	fail := func(*Tx) error { return boom }
	tests := []struct {
		name string
		run  func(t *testing.T, b *Batch) // fails at 5, and passes it
	}{
		{"passed, and the next fails", func(t *testing.T, b *Batch) {
			_, err := b.Do(rec("x", 5, 0), fail)
			require.ErrorIs(t, err, boom)
			require.NoError(t, b.SetPosition(Position{TopicID: ID{1}, Offset: 6}))
			_, err = b.Do(rec("y", 6, 0), fail)
			require.ErrorIs(t, err, boom)
		}},
		{"done again", func(t *testing.T, b *Batch) {
			_, err := b.Do(rec("x", 5, 0), fail)
			require.ErrorIs(t, err, boom)
			_, err = b.Do(rec("x", 5, 0), nil)
			require.NoError(t, err)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, window.Hour)
			s.off = 4
			s.see("w", 0)
			require.ErrorIs(t, s.n.Update(func(b *Batch) error { tt.run(t, b); return boom }), boom)
			_, err := s.n.Do(rec("y", 6, 0), nil)
			require.ErrorIs(t, err, ErrGapAfterFailure)
			_, err = s.n.Do(rec("x", 5, 0), nil)
			require.NoError(t, err)
			_, err = s.n.Do(rec("y", 6, 0), nil)
			require.NoError(t, err)
		})
	}
	t.Run("before there is a position", func(t *testing.T) {
		s := newScene(t, window.Hour)
		in := func(log byte, id string, off int64) Record {
			r := rec(id, off, 0)
			r.Origin.TopicID = ID{log}
			return r
		}
		_, err := s.n.Do(in(1, "x", 5), fail)
		require.ErrorIs(t, err, boom)
		for _, off := range []int64{3, 5, 7} { // whatever its offset: it would pass the failed one silently
			_, err = s.n.Do(in(2, "y", off), nil)
			require.ErrorIs(t, err, ErrOtherLog, off)
			require.ErrorContains(t, err, "waits for "+in(1, "", 5).Origin.String())
		}
		_, err = s.n.Do(in(1, "y", 6), nil)
		require.ErrorIs(t, err, ErrGapAfterFailure)
		// Another log is taken up, and the batch given up again: the failure stands.
		require.ErrorIs(t, s.n.Update(func(b *Batch) error {
			require.NoError(t, b.SetPosition(Position{TopicID: ID{2}, Offset: 3}))
			_, err := b.Do(in(2, "y", 7), nil)
			require.NoError(t, err)
			_, err = b.Do(in(2, "z", 8), fail)
			return err
		}), boom)
		_, err = s.n.Do(in(1, "y", 6), nil)
		require.ErrorIs(t, err, ErrGapAfterFailure)
		_, err = s.n.Do(in(1, "x", 5), nil)
		require.NoError(t, err)
		_, err = s.n.Do(in(1, "y", 9), nil)
		require.NoError(t, err)
	})
	t.Run("another log is taken up for good", func(t *testing.T) {
		s := newScene(t, window.Hour)
		_, err := s.n.Do(rec("x", 5, 0), fail)
		require.ErrorIs(t, err, boom)
		require.NoError(t, s.n.Update(func(b *Batch) error {
			return b.SetPosition(Position{TopicID: ID{2}, Offset: 3})
		}))
		for _, off := range []int64{3, 7} { // 5 is an offset of the other log
			r := rec(fmt.Sprint(off), off, 0)
			r.Origin.TopicID = ID{2}
			_, err = s.n.Do(r, nil)
			require.NoError(t, err)
		}
	})
	t.Run("in another log", func(t *testing.T) {
		s := newScene(t, window.Hour)
		s.off = 4
		s.see("w", 0)
		require.ErrorIs(t, s.n.Update(func(b *Batch) error {
			require.NoError(t, b.SetPosition(Position{TopicID: ID{2}, Offset: 1}))
			r := rec("x", 1, 0)
			r.Origin.TopicID = ID{2}
			_, err := b.Do(r, fail)
			return err
		}), boom)
		_, err := s.n.Do(rec("y", 5, 0), nil)
		require.NoError(t, err, "nothing failed in this log")
	})
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
