package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// crashed is a namespace whose process dies between its records as often as a
// test likes, under a wall clock that the test sets. What is not synced is lost.
type crashed struct {
	*testing.T
	fs   *vfs.MemFS
	wall time.Time
	opts NamespaceOptions
	s    *Store
	n    *Namespace
	off  int64
}

func newCrashed(t *testing.T, o NamespaceOptions) *crashed {
	t.Helper()
	c := &crashed{T: t, fs: vfs.NewCrashableMem(), wall: t0.Add(time.Hour), opts: o}
	c.open()
	t.Cleanup(func() { require.NoError(t, c.s.Close()) })
	return c
}

func (c *crashed) open() {
	c.Helper()
	var err error
	c.s, err = open("store", &Options{Logger: quiet(), Now: func() time.Time { return c.wall }},
		seams{fs: c.fs, limits: limits{full: 20, small: 4, merge: 8}})
	require.NoError(c, err)
	c.n, err = c.s.Namespace("a", &c.opts)
	require.NoError(c, err)
	require.NoError(c, c.n.Load())
}

// crash lets the process die and another one open what it left.
func (c *crashed) crash() {
	c.Helper()
	require.NoError(c, c.s.queue.drain()) // no file is linked or renamed while the files are copied
	left := c.fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(c, c.s.Close())
	c.fs = left
	c.open()
}

// see decides the next record; at is from t0, negative for a missing time.
func (c *crashed) see(id string, at time.Duration) Decision {
	c.Helper()
	r := rec(id, c.off, at)
	if at < 0 {
		r.At = time.Time{}
	}
	d, err := c.n.Do(r, nil)
	require.NoError(c, err)
	c.off++
	return d
}

// fill sets the clock, and accepts "id-0" to "id-<n-1>", one every step.
func (c *crashed) fill(n int, step time.Duration) {
	c.Helper()
	for i := range 8 {
		c.see(fmt.Sprint("warm-", i), 0)
	}
	for i := range n {
		require.Equal(c, New, c.see(fmt.Sprint("id-", i), time.Duration(i)*step).Verdict)
	}
}

// each asks for every ID that fill accepted, with its time missing, and keeps
// nothing of it.
func (c *crashed) each(n int, want Verdict, why Reason) {
	c.Helper()
	require.ErrorIs(c, c.n.Update(func(b *Batch) error {
		for i := range n {
			d, err := b.Do(Record{ID: fmt.Appendf(nil, "id-%d", i)}, nil)
			require.NoError(c, err)
			require.Equal(c, want, d.Verdict, "id-%d", i)
			require.Equal(c, why, d.Reason, "id-%d", i)
		}
		return errNotKept
	}), errNotKept)
}

var errNotKept = fmt.Errorf("not kept")

func (c *crashed) status() Status {
	c.Helper()
	st, err := c.n.Status()
	require.NoError(c, err)
	return st
}

// The wall clock jumps to 2099. Nothing expires by that; and records that say
// 2099 too, which are no future ones any more, move nothing unless a thousand of
// them come in a row.
func TestFault_C02_WallClockIn2099(t *testing.T) {
	const ids = 50
	c := newCrashed(t, NamespaceOptions{Window: window.Hour})
	c.fill(ids, time.Minute)
	was := c.status()
	c.wall = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	far := c.wall.Sub(t0)
	for range 2 {
		c.each(ids, Duplicate, 0)
		require.Equal(t, was.Clock, c.status().Clock)
		c.crash()
	}
	require.NoError(t, c.n.Update(func(b *Batch) error {
		for i := range rowLength - 1 {
			d, err := b.Do(rec(fmt.Sprint("far-", i), c.off, far), nil)
			require.NoError(t, err)
			require.NotEqual(t, Duplicate, d.Verdict)
			c.off++
		}
		return nil
	}))
	for range 2 {
		c.each(ids, Unknown, Clock) // nobody can know which of the two clocks is right
		require.Equal(t, was.Clock, c.status().Clock)
		c.crash()
	}
	c.see("sound", ids*time.Minute)
	c.crash()
	c.each(ids, Duplicate, 0)
	require.Zero(t, c.status().Counts.Future)
	require.GreaterOrEqual(t, c.status().Markers, uint64(ids), "markers were dropped")
}

// Records of the year 9999, more of them in a row than a row of jumps needs: each
// is counted and judged by the clock as it stands. Neither they nor a crash
// expire a marker.
func TestFault_C03_Year9999(t *testing.T) {
	const ids = 50
	c := newCrashed(t, NamespaceOptions{Window: window.Hour})
	c.fill(ids, time.Minute)
	was := c.status()
	end := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Sub(t0)
	require.NoError(t, c.n.Update(func(b *Batch) error {
		for i := range 3 * rowLength / 2 {
			r := Record{ID: fmt.Appendf(nil, "far-%d", i), At: t0.Add(end), Origin: Position{TopicID: ID{1}, Offset: c.off}}
			d, err := b.Do(r, nil)
			require.NoError(t, err)
			require.Equal(t, New, d.Verdict)
			c.off++
		}
		return nil
	}))
	require.EqualValues(t, 3*rowLength/2, c.status().Counts.Future)
	for range 2 {
		require.Equal(t, was.Clock, c.status().Clock)
		c.each(ids, Duplicate, 0)
		d := c.see("far-0", -1)
		require.Equal(t, Duplicate, d.Verdict)
		require.True(t, was.Clock.Equal(d.First), "it counts from the clock, not from the year 9999")
		c.crash()
	}
}

// A consumer that is three days behind meets a record of now, which lies in
// nobody's future: the window must not move to now with it.
func TestFault_C04_RecordOfNowInABacklog(t *testing.T) {
	const ids = 50
	c := newCrashed(t, NamespaceOptions{Window: window.Hour})
	c.wall = t0.Add(72 * time.Hour)
	c.fill(ids, time.Minute)
	was := c.status()
	for round := range 3 {
		require.Equal(t, New, c.see(fmt.Sprint("now-", round), 72*time.Hour).Verdict)
		c.crash()
		require.Equal(t, was.Clock, c.status().Clock)
		c.each(ids, Unknown, Clock)
		require.Equal(t, Duplicate, c.see(fmt.Sprint("now-", round), 72*time.Hour).Verdict)
		require.GreaterOrEqual(t, c.status().Markers, was.Markers, "something expired")

		require.Equal(t, New, c.see(fmt.Sprint("sound-", round), ids*time.Minute).Verdict)
		c.each(ids, Duplicate, 0)
		require.Equal(t, Duplicate, c.see(fmt.Sprint("now-", round), -1).Verdict, "it has joined the others")
		c.crash()
		c.each(ids, Duplicate, 0)
		was.Clock = at(ids * time.Minute)
	}
	require.Zero(t, c.status().Counts.Future)

	// The backlog is done: now is where the log is.
	for i := range rowLength {
		c.see(fmt.Sprint("arrived-", i), 72*time.Hour)
	}
	require.Equal(t, at(72*time.Hour), c.status().Clock)
	c.each(ids, New, 0)
}

// An ID that comes again every few minutes, for ten windows, over crashes: it is
// accepted once per window, counted from the copy that was accepted. A window
// that every copy moved would suppress it for ever.
func TestFault_C11_CopiesDoNotMoveTheWindow(t *testing.T) {
	c := newCrashed(t, NamespaceOptions{Window: window.Hour})
	c.fill(0, 0)
	accepted, first := 0, time.Duration(-1)
	for i := range 10*60/7 + 1 {
		at := time.Duration(i) * 7 * time.Minute
		c.wall = t0.Add(at)
		d := c.see("x", at)
		if first < 0 || at-first >= time.Hour {
			require.Equal(t, New, d.Verdict, at)
			accepted, first = accepted+1, at
		} else {
			require.Equal(t, Duplicate, d.Verdict, at)
			require.True(t, t0.Add(first).Equal(d.First), at)
		}
		if i%10 == 9 {
			c.crash()
		}
	}
	require.Equal(t, 10, accepted)
}
