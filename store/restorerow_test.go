package store

import (
	"fmt"
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

// A marker of a row that whoever accepted it did not follow moves nothing. It stands
// apart as long as the row may stand, and then counts from before the clock moved:
// never for longer than the window.
func TestRestoreMarker_OfARow(t *testing.T) {
	for _, c := range []struct {
		name   string
		jump   time.Duration // from t0
		next   time.Duration // a marker after that, 0: none
		until  time.Duration
		first  time.Duration
		stands bool // the row does at the end
	}{
		{"that stands", 50 * time.Minute, 0, time.Minute, 50 * time.Minute, true},
		{"that stands behind duplicates", 50 * time.Minute, 0, 2 * time.Minute, 50 * time.Minute, true},
		{"that was given up", 50 * time.Minute, 2 * time.Minute, 3 * time.Minute, time.Minute, false},
		{"that was given up, unseen", 10 * time.Minute, 0, 5 * time.Minute, time.Minute, false},
		{"that was given up, long ago", 20 * time.Minute, 2 * time.Minute, 55 * time.Minute, time.Minute, false},
		{"that was none", 20 * time.Minute, 21 * time.Minute, 55 * time.Minute, 20 * time.Minute, false},
		{"beside an older time", 50 * time.Minute, time.Second, time.Minute, 50 * time.Minute, true},
		{"that was followed", 50 * time.Minute, 0, 55 * time.Minute, 50 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			open := func() (*Store, *Namespace) {
				s, err := open(dir, nil, seams{})
				require.NoError(t, err)
				n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
				require.NoError(t, err)
				return s, n
			}
			s, n := open()
			restore := Restore{To: 40, Until: t0.Add(c.until)}
			for range 2 { // what was sent again is read again
				require.NoError(t, n.Update(func(b *Batch) error {
					require.NoError(t, b.BeginRestore(restore))
					require.NoError(t, b.RestoreMarker(rec("before", 10, time.Minute)))
					require.NoError(t, b.RestoreMarker(rec("jumped", 11, c.jump)))
					if c.next != 0 {
						require.NoError(t, b.RestoreMarker(rec("after", 12, c.next)))
					}
					return b.RestoreFrom(Position{TopicID: ID{9}, Offset: 3})
				}))
				require.NoError(t, s.Close())
				s, n = open()
			}
			defer func() { require.NoError(t, s.Close()) }()
			require.NoError(t, n.Update((*Batch).EndRestore))
			st, err := n.Status()
			require.NoError(t, err)
			require.True(t, st.Clock.Equal(t0.Add(c.until)), st.Clock)
			require.Equal(t, c.stands, n.head.clock.high != 0)
			require.Equal(t, c.stands, len(n.row.list) == 1)
			m, found, err := n.Lookup([]byte("jumped"))
			require.NoError(t, err)
			require.True(t, found && m.Restored)
			require.True(t, m.First.Equal(t0.Add(c.first)), m.First)
			_, err = s.Verify(t.Context(), nil)
			require.NoError(t, err)
		})
	}
}

// The first marker of all is of a row: it counts from the first time that is told.
func TestRestoreMarker_OfARowAtFirst(t *testing.T) {
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.NoError(t, n.Update(func(b *Batch) error {
		require.NoError(t, b.BeginRestore(Restore{To: 40, Until: t0.Add(2 * time.Minute)}))
		require.NoError(t, b.RestoreMarker(rec("jumped", 0, 50*time.Minute)))
		require.NoError(t, b.RestoreMarker(rec("sound", 1, time.Minute)))
		return b.EndRestore()
	}))
	m, found, err := n.Lookup([]byte("jumped"))
	require.NoError(t, err)
	require.True(t, found)
	require.True(t, m.First.Equal(t0.Add(time.Minute)), m.First)
}

// Nothing new came for long, as duplicates did: what lies so far ahead is no row, and
// stands as it was, however many there are.
func TestRestoreMarker_AfterAQuietTime(t *testing.T) {
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	at := func(i int64) time.Duration { return 20*time.Minute + time.Duration(i)*time.Second/10 }
	require.NoError(t, n.Update(func(b *Batch) error {
		require.NoError(t, b.BeginRestore(Restore{To: 4000, Until: t0.Add(50 * time.Minute)}))
		require.NoError(t, b.RestoreMarker(rec("before", 0, 0)))
		for i := range int64(2 * rowLength) {
			require.NoError(t, b.RestoreMarker(rec(fmt.Sprint(i), 1+i, at(i))))
			require.Less(t, len(b.row.list), rowLength)
		}
		return b.EndRestore()
	}))
	require.Empty(t, n.row.list)
	for i := range int64(2 * rowLength) {
		m, found, err := n.Lookup([]byte(fmt.Sprint(i)))
		require.NoError(t, err)
		require.True(t, found && m.First.Equal(t0.Add(at(i))), "%d: %v", i, m.First)
	}
}

// So many jumps are followed when they are one row. Without a time that moves the
// clock between them they were several rows, and the markers apart stay few.
func TestRestoreMarker_OfManyRows(t *testing.T) {
	n, err := testOpen(t, t.TempDir(), limits{}).Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.NoError(t, n.Update(func(b *Batch) error {
		require.NoError(t, b.BeginRestore(Restore{To: 4000, Until: t0}))
		require.NoError(t, b.RestoreMarker(rec("before", 0, 0)))
		for i := range int64(3 * rowLength) {
			require.NoError(t, b.RestoreMarker(rec(fmt.Sprint(i), 1+i, time.Hour)))
			require.Less(t, len(b.row.list), rowLength)
		}
		return b.EndRestore()
	}))
	st, err := n.Status()
	require.NoError(t, err)
	require.True(t, st.Clock.Equal(t0))
	require.Equal(t, uint64(1+3*rowLength), st.Markers)
	_, err = n.Do(rec("sound", 4000, time.Minute), nil)
	require.NoError(t, err)
	require.Empty(t, n.row.list)
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
