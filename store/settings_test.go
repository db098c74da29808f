package store

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// later sets the wall clock.
func (s *scene) later(wall time.Duration) {
	s.st.opts.Now = func() time.Time { return t0.Add(wall) }
}

// at is a time of the scene as the store shows it.
func at(d time.Duration) time.Time { return t0.Add(d).UTC() }

// reask gives the namespace other settings.
func (s *scene) reask(o NamespaceOptions) error {
	n, err := s.st.Namespace("a", &o)
	if err == nil {
		require.Same(s.t, s.n, n)
	}
	return err
}

// A window that grows remembers what it held, and vouches for the rest only once
// it is covered; what had left the old one never comes back.
func TestFault_C17_EnlargedWindow(t *testing.T) {
	s := newScene(t, window.Hour)
	s.later(4 * time.Hour)
	s.warm()
	s.see("old", 10*time.Minute)
	s.stroll(30 * time.Minute)
	s.see("young", 30*time.Minute)
	s.stroll(75 * time.Minute)

	require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(3 * time.Hour)}))
	covered := Coverage{Since: at(15 * time.Minute), Reason: Cold}
	require.Equal(t, covered, s.status().Coverage)
	require.Equal(t, window.Of(3*time.Hour), s.n.Window())
	require.Equal(t, Duplicate, s.see("young", 75*time.Minute).Verdict)
	for _, id := range []string{"old", "never"} {
		d := s.see(id, 75*time.Minute)
		require.Equal(t, Decision{Verdict: Unknown, Reason: Cold, Action: Accept, Coverage: covered}, d, id)
		require.Equal(t, Duplicate, s.see(id, 75*time.Minute).Verdict, id)
	}
	s.stroll(3*time.Hour + 15*time.Minute - time.Millisecond)
	require.Equal(t, Duplicate, s.see("young", 0).Verdict)
	require.Equal(t, Unknown, s.see("other", 3*time.Hour+15*time.Minute-time.Millisecond).Verdict)
	require.Equal(t, New, s.see("another", 3*time.Hour+15*time.Minute).Verdict)
}

// Nothing has left the window of a young namespace, so it may grow for good.
func TestStore_Namespace_YoungWindowGrowsWhole(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	s.see("a", 0)
	s.stroll(59 * time.Minute)
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Forever}))
	require.Zero(t, s.status().Coverage)
	require.Equal(t, New, s.see("b", 59*time.Minute).Verdict)
	require.Equal(t, Duplicate, s.see("a", 59*time.Minute).Verdict)
}

func TestFault_C18_WindowShrinksOnlyWhenAllowed(t *testing.T) {
	s := newScene(t, window.Of(3*time.Hour))
	s.later(4 * time.Hour)
	s.warm()
	s.see("old", 10*time.Minute)
	s.stroll(100 * time.Minute)
	s.see("young", 100*time.Minute)
	s.stroll(2 * time.Hour)
	was := s.status()

	err := s.reask(NamespaceOptions{Window: window.Hour, IDSource: "x"})
	require.ErrorIs(t, err, ErrSettings)
	require.ErrorContains(t, err, `namespace "a" has a window of 3h, and one of 1h would forget what was first seen `+
		"from 2023-11-14T22:13:20.000Z to 2023-11-14T23:13:20.000Z; ask for 3h, or set AllowShrink")
	require.Equal(t, was, s.status(), "all or nothing")
	require.Equal(t, Duplicate, s.see("old", 2*time.Hour).Verdict)

	require.NoError(t, s.reask(NamespaceOptions{Window: window.Hour, AllowShrink: true}))
	require.Zero(t, s.status().Coverage, "the shorter window is covered")
	require.Equal(t, New, s.see("old", 2*time.Hour).Verdict)
	require.Equal(t, Duplicate, s.see("young", 2*time.Hour).Verdict)
}

// Whatever the width of buckets, at whichever opening, the verdicts are the
// same.
func TestFault_C18_BucketWidthChanges(t *testing.T) {
	play := func(widths []time.Duration) (verdicts []Verdict) {
		fs := vfs.NewMem()
		off := int64(0)
		for _, width := range widths {
			st, err := open("store", &Options{Now: func() time.Time { return t0.Add(24 * time.Hour) }},
				seams{fs: fs, limits: limits{full: 50, small: 2}})
			require.NoError(t, err)
			n, err := st.Namespace("a", &NamespaceOptions{Window: window.Hour, BucketWidth: width})
			require.NoError(t, err)
			require.NoError(t, n.Update(func(b *Batch) error {
				for range 300 {
					d, err := b.Do(rec(fmt.Sprint(off*off%71), off, time.Duration(off)*time.Minute), nil)
					verdicts = append(verdicts, d.Verdict)
					off++
					if err != nil {
						return err
					}
				}
				return nil
			}))
			require.NoError(t, st.Close())
		}
		return verdicts
	}
	want := play(make([]time.Duration, 4))
	require.Contains(t, want, Duplicate)
	require.Equal(t, want, play([]time.Duration{time.Millisecond, 7 * time.Minute, 1000 * time.Hour, 0}))
	require.Equal(t, want, play([]time.Duration{1000 * time.Hour, time.Second, 0, time.Minute}))
}

// What had left a window counts no more, whether a batch came between that
// dropped its segment, or it still stands: in memory, or sealed.
func TestStore_Namespace_ForgottenStaysForgotten(t *testing.T) {
	for _, l := range []limits{{full: 1 << 20, small: 1 << 20}, {full: 1, small: 1}, {full: 5, small: 2}} {
		for _, dropped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v, dropped=%v", l, dropped), func(t *testing.T) {
				s := newScene(t, window.Of(3*time.Hour))
				s.st.limits = l
				s.warm()
				s.see("a", 0)
				s.stroll(time.Hour)
				s.see("b", time.Hour)
				require.NoError(t, s.st.queue.drain())
				require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(30 * time.Minute), AllowShrink: true}))
				if dropped {
					s.see("c", time.Hour)
					require.NoError(t, s.st.queue.drain())
				}
				require.NoError(t, s.reask(NamespaceOptions{Window: window.Forever}))
				require.Equal(t, Unknown, s.see("a", time.Hour).Verdict)
				require.Equal(t, Duplicate, s.see("b", time.Hour).Verdict)
			})
		}
	}
}

// A row that stands when the window changes: nothing expires by its times, and
// its own markers count by the new window whatever becomes of them.
func TestStore_Namespace_ChangeWhileARowStands(t *testing.T) {
	for _, followed := range []bool{false, true} {
		t.Run(fmt.Sprintf("followed=%v", followed), func(t *testing.T) {
			s := newScene(t, window.Hour)
			s.later(4 * time.Hour)
			s.warm()
			s.stroll(50 * time.Minute)
			s.see("a", 50*time.Minute)
			s.stroll(70 * time.Minute)
			require.Equal(t, New, s.see("jump", 3*time.Hour).Verdict)
			require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(4 * time.Hour)}))
			require.Equal(t, at(10*time.Minute), s.status().Coverage.Since, "by the clock, not by the row")
			require.Equal(t, Duplicate, s.see("a", 0).Verdict, "by both clocks")
			require.Equal(t, Duplicate, s.see("jump", 3*time.Hour).Verdict)
			if followed {
				for i := range rowLength {
					s.see(fmt.Sprint("row-", i), 3*time.Hour)
				}
				require.Equal(t, at(3*time.Hour), s.status().Clock)
			} else {
				s.stroll(71 * time.Minute)
			}
			require.Equal(t, Duplicate, s.see("a", 0).Verdict)
			d := s.see("jump", 0)
			require.Equal(t, Duplicate, d.Verdict)
			require.Equal(t, followed, d.First.Equal(t0.Add(3*time.Hour)))
		})
	}
}

func TestFault_D09_OtherIDSource(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Hour, IDSource: "header:a"}), "the first name")
	require.Equal(t, New, s.see("x", 0).Verdict)
	err := s.reask(NamespaceOptions{Window: window.Hour, IDSource: "header:b"})
	require.ErrorIs(t, err, ErrSettings)
	require.ErrorContains(t, err, "takes its IDs from header:a")
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Hour}), "not checked")

	require.NoError(t, s.reask(NamespaceOptions{Window: window.Hour, IDSource: "header:b",
		AllowIDSourceChange: true}))
	require.Equal(t, Coverage{Open: true, Reason: Evicted}, s.status().Coverage)
	require.Equal(t, Duplicate, s.see("x", 0).Verdict, "the markers stay")
	d := s.see("y", 0)
	require.Equal(t, Unknown, d.Verdict)
	require.Equal(t, Evicted, d.Reason)
	require.Equal(t, uint64(1), s.status().Counts.Evicted)
	s.stroll(62 * time.Minute)
	require.Equal(t, Unknown, s.see("z", 62*time.Minute).Verdict, "since the first sound step, at 7m30s")
	s.stroll(68 * time.Minute)
	require.Equal(t, New, s.see("z2", 68*time.Minute).Verdict)
}

// All faults of a change at once, and nothing of it happens.
func TestStore_Namespace_RefusesAllAtOnce(t *testing.T) {
	s := newScene(t, window.Hour)
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Hour, IDSource: "a"}))
	was := s.status()
	err := s.reask(NamespaceOptions{Window: window.Of(time.Minute), IDSource: "b", MaxAhead: time.Minute,
		Unknown: UnknownPolicy{Late: Drop}})
	require.ErrorContains(t, err, "AllowShrink")
	require.ErrorContains(t, err, "nothing yet, but everything earlier from now on")
	require.ErrorContains(t, err, "AllowIDSourceChange")
	require.Equal(t, was, s.status())
}

// A change waits for the batch in progress, which goes by the old settings to
// its end; and no other namespace waits with it.
func TestStore_Namespace_ChangeWaitsForTheBatch(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	changed := make(chan error, 1)
	require.NoError(t, s.n.Update(func(b *Batch) error {
		go func() { changed <- s.reask(NamespaceOptions{Window: window.Day}) }()
		for range 3 {
			other, err := s.st.Namespace("other", nil) // the lock of creations is free
			require.NoError(t, err)
			_, err = other.Do(rec("x", 0, 0), nil)
			require.True(t, err == nil || errors.Is(err, ErrReplay))
		}
		require.Equal(t, window.Hour, s.n.Window())
		return nil
	}))
	require.NoError(t, <-changed)
	require.Equal(t, window.Day, s.n.Window())
}

// Settings outlive a restart, and what they did to the head.
func TestStore_Namespace_ChangesAreDurable(t *testing.T) {
	fs := vfs.NewMem()
	opts := &Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return t0.Add(24 * time.Hour) }}
	st, err := open("store", opts, seams{fs: fs})
	require.NoError(t, err)
	n, err := st.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	s := &scene{t: t, st: st, n: n}
	s.warm()
	s.see("x", 0)
	s.stroll(61 * time.Minute)
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Week, MaxAdvance: time.Minute, MaxAhead: time.Minute}))
	was := s.status()
	require.NoError(t, st.Close())

	st, err = open("store", opts, seams{fs: fs})
	require.NoError(t, err)
	n, err = st.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	s = &scene{t: t, st: st, n: n, off: s.off}
	is := s.status()
	require.Equal(t, was.Settings, is.Settings)
	require.Equal(t, was.Coverage, is.Coverage)
	require.Equal(t, was.Sequence, is.Sequence)
	require.Equal(t, Unknown, s.see("x", 61*time.Minute).Verdict, "it had left the window")
	require.NoError(t, st.Close())
}
