package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestAges_Classes(t *testing.T) {
	var a Ages
	require.Equal(t, "no duplicates", a.String())
	require.Equal(t, 1.0, a.Caught(window.Hour))
	a.add(-5)
	a.add(0)
	a.add(59_999)
	a.add(60_000)
	a.add(time.Hour.Milliseconds())
	a.add(1 << 62)
	require.Equal(t, Ages{0: 3, 1: 1, 4: 1, 15: 1}, a)
	require.Equal(t, uint64(6), a.Total())
	require.Equal(t, 0.5, a.Caught(window.Of(time.Minute)))
	require.Equal(t, 0.5, a.Caught(window.Of(5*time.Minute-time.Millisecond)), "at least")
	require.Zero(t, a.Caught(window.Of(time.Minute-time.Millisecond)), "at least")
	require.InDelta(t, 4.0/6, a.Caught(window.Hour), 1e-9, "an age of W is outside")
	require.Equal(t, 1.0, a.Caught(window.Forever))
	require.Equal(t, "50% within 1m, 66.7% within 5m, 83.3% within 3h, 100% within forever", a.String())

	for i := range a {
		require.True(t, i == 0 || a.Edge(i) > a.Edge(i-1))
		var one Ages
		one.add(a.Edge(i).Milliseconds() - 1)
		require.Equal(t, uint64(1), one[i], i)
	}
	got, ok := parseAges(a.append(nil))
	require.True(t, ok)
	require.Equal(t, a, got)
	_, ok = parseAges(a.append(nil)[:15])
	require.False(t, ok)
	_, ok = parseAges(append(a.append(nil), 0))
	require.False(t, ok)
}

// Ages are the batch's: kept with it, gone with it, and there after a restart.
func TestNamespace_Status_AgesAreDurable(t *testing.T) {
	fs := vfs.NewMem()
	opts := &Options{Now: func() time.Time { return t0.Add(24 * time.Hour) }}
	st, err := open("store", opts, seams{fs: fs})
	require.NoError(t, err)
	n, err := st.Namespace("a", nil)
	require.NoError(t, err)
	s := &scene{t: t, st: st, n: n}
	s.warm()
	s.see("x", 0)
	s.see("x", 0)
	s.stroll(6 * time.Hour)
	s.see("x", 6*time.Hour)
	want := Ages{0: 1, 6: 1}
	require.Equal(t, want, s.status().Ages)
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		_, err := b.Do(rec("x", s.off, 6*time.Hour), nil)
		require.NoError(t, err)
		return ErrOverflow
	}), ErrOverflow)
	require.Equal(t, want, s.status().Ages)
	require.NoError(t, st.Close())
	st, err = open("store", opts, seams{fs: fs})
	require.NoError(t, err)
	n, err = st.Namespace("a", nil)
	require.NoError(t, err)
	is, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, want, is.Ages)
	require.NoError(t, st.Close())
}
