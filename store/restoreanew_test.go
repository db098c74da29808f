package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A restore anew, far behind the clock that the namespace had: no marker expires
// before the restore's own clock says so, the one before any time least of all.
// What is marked again instead would be handled twice, or stand where none does.
func TestRestoreAnew_ExpiresByItsOwnClock(t *testing.T) {
	for name, enter := range map[string]func(*Batch, Record) (Decision, error){
		"handled":  func(b *Batch, r Record) (Decision, error) { return b.Do(r, nil) },
		"restored": (*Batch).Restore,
	} {
		t.Run(name, func(t *testing.T) {
			s := testOpen(t, t.TempDir(), limits{full: 2, small: 1, merge: mergeAbove})
			n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
			require.NoError(t, err)
			require.NoError(t, n.Update(func(b *Batch) error {
				for o := range int64(20) {
					if _, err := b.Do(rec(string(fmtID(o)), o, 5*time.Hour), nil); err != nil {
						return err
					}
				}
				return nil
			}))
			decided := func(r Record) (d Decision) {
				require.NoError(t, n.Update(func(b *Batch) (err error) {
					d, err = enter(b, r)
					return err
				}))
				return d
			}
			require.NoError(t, n.Update(func(b *Batch) error {
				require.NoError(t, b.MoveTo(rec("", 0, 0).Origin))
				return b.BeginRestore(Restore{To: 60, Anew: true})
			}))
			untimed := rec("before any time", 0, 0)
			untimed.At = time.Time{}
			require.Equal(t, New, decided(untimed).Verdict)
			for o := int64(1); o < 20; o++ {
				require.Equal(t, New, decided(rec(string(fmtID(o)), o, time.Duration(o)*time.Second)).Verdict)
			}
			require.NoError(t, s.queue.drain())
			for o, id := range []string{"before any time", string(fmtID(1)), string(fmtID(19))} {
				d := decided(rec(id, int64(20+o), 20*time.Second))
				require.Equal(t, Duplicate, d.Verdict, id)
			}
			_, err = s.Namespace("a", &NamespaceOptions{Window: window.Of(90 * time.Minute)})
			require.NoError(t, err) // nothing has left the window by the restore's clock (R9)
			require.Equal(t, Duplicate, decided(rec(string(fmtID(2)), 23, 20*time.Second)).Verdict)
			for o := int64(24); o < 54; o++ { // by less than what counts as a jump
				d := decided(rec(string(fmtID(o)), o, time.Duration(o-23)*3*time.Minute))
				require.Equal(t, New, d.Verdict)
			}
			d := decided(rec(string(fmtID(1)), 54, 91*time.Minute))
			require.Equal(t, New, d.Verdict, "it has left the window")
			require.NoError(t, n.Update((*Batch).EndRestore))
			st, err := n.Status()
			require.NoError(t, err)
			require.False(t, st.Clock.Before(t0.Add(5*time.Hour)), st.Clock)
		})
	}
}

// A restore anew forgets what its own batch has accepted, too, of which nothing is
// durable yet: in the row of the first times, and beyond it.
func TestRestoreAnew_ForgetsItsOwnBatch(t *testing.T) {
	for _, before := range []int64{3, 20} {
		s := testOpen(t, t.TempDir(), limits{})
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		require.NoError(t, n.Update(func(b *Batch) error {
			for o := range before {
				_, err := b.Do(rec(string(fmtID(o)), o, time.Duration(o)*time.Second), nil)
				require.NoError(t, err)
			}
			require.NoError(t, b.MoveTo(rec("", 0, 0).Origin))
			require.NoError(t, b.BeginRestore(Restore{To: before, Anew: true}))
			for o := range before {
				d, err := b.Do(rec(string(fmtID(o)), o, time.Duration(o)*time.Second), nil)
				require.NoError(t, err)
				require.Equal(t, New, d.Verdict, "%d of %d", o, before)
			}
			return b.EndRestore()
		}))
	}
}

// What expires with the batch that begins a restore anew is behind the restore's
// clock again, and answers until the batch ends.
func TestRestoreAnew_ForgetsWhatItsBatchDrops(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(time.Millisecond)})
	require.NoError(t, err)
	accept(t, n, 0, 20, 0)
	require.NoError(t, n.Update(func(b *Batch) error { return b.Pass(rec("", 20, 21*time.Millisecond), nil) }))
	require.NoError(t, n.Update(func(b *Batch) error {
		require.True(t, n.index.dropping())
		require.NoError(t, b.BeginRestore(Restore{To: 30, Anew: true}))
		d, err := b.Restore(rec("id-19", 21, 0))
		require.Equal(t, New, d.Verdict)
		return err
	}))
}
