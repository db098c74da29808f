package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

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

// A marker as it was moves the clock beside a row of jumps: what the row holds is
// not left behind, where no later time would ever find it to join the others.
func TestRestoreMarker_BesideARow(t *testing.T) {
	for _, c := range []struct {
		name   string
		to     time.Duration // of the marker, from t0
		stands bool          // the row does, after that
	}{
		{"up to the row", 6 * time.Hour, false},
		{"below the row", time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := withRow(t, nil)
			require.NoError(t, n.Update(func(b *Batch) error {
				require.NoError(t, b.BeginRestore(Restore{To: 40}))
				return b.RestoreMarker(rec("restored", 30, c.to))
			}))
			st, err := n.Status()
			require.NoError(t, err)
			require.True(t, st.Clock.Equal(t0.Add(c.to)), st.Clock)
			require.Equal(t, c.stands, n.head.clock.high != 0)
			require.Equal(t, c.stands, len(n.row.list) > 0, "the markers of a row and the row")
		})
	}
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
