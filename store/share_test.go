package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// shareNow moves every segment of a namespace, which the caller owns, into a shared
// table that has so many markers.
func shareNow(t require.TestingT, n *Namespace, least int) (shared int) {
	s := n.s
	was := s.limits.share
	defer func() { s.limits.share = was }()
	s.limits.share = least
	h := sharing{s: s, w: s.db.NewBatch(), most: 1 << 30}
	defer h.end()
	h.take(n)
	if len(h.shared) > 0 {
		require.NoError(t, h.commit())
	}
	return len(h.shared)
}

// turns is a store whose namespaces take turns, in a budget far below their markers.
type turns struct {
	s      *Store
	all    []*Namespace
	rng    *rand.Rand
	read   int64 // bytes of markers that were read back
	shared int   // segments that were met in shared tables, in the last round
	merged int   // and those that were merged
}

const (
	turnBatch  = 50
	turnStep   = 6 * time.Second // so that the window holds 600
	turnRounds = 16
	turnFewer  = min(heavy, 2)
	turnBudget = 240 << 10 / turnFewer
)

func newTurns(t *testing.T, share int) *turns {
	s, err := open("store", &Options{
		Logger: quiet(), Memory: turnBudget, Now: func() time.Time { return t0.Add(24 * time.Hour) },
	}, seams{fs: vfs.NewMem(), limits: limits{
		full: fullSegment, small: smallSegment, merge: mergeAbove, share: share, table: 1 << 20,
	}})
	require.NoError(t, err)
	u := &turns{s: s, rng: rand.New(rand.NewPCG(1, 1))}
	for i := range 100 / turnFewer {
		n, err := s.Namespace(fmt.Sprintf("n-%d", i), &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		u.all = append(u.all, n)
	}
	return u
}

func turnID(space int, offset int64) []byte { return fmt.Appendf(nil, "id-%d-%d", space, offset) }

// run gives a namespace its batch: new IDs, and duplicates of all ages.
func (u *turns) run(t *testing.T, i int) {
	n := u.all[i]
	require.NoError(t, n.own())
	if !n.loaded {
		require.NoError(t, n.load(true))
		u.read += n.index.(*segments).bytes.markers()
	}
	n.disown()
	require.NoError(t, n.Update(func(b *Batch) error {
		for range turnBatch {
			o := b.Position().Offset
			d, err := b.Do(rec(string(turnID(i, o)), o, time.Duration(o)*turnStep), nil)
			require.NoError(t, err)
			require.Equal(t, New, d.Verdict)
		}
		end := b.Position().Offset
		for range 30 {
			o := end - 1 - u.rng.Int64N(min(end, 599))
			d, err := b.Do(Record{ID: turnID(i, o)}, nil)
			require.NoError(t, err)
			require.Equal(t, Duplicate, d.Verdict, "%d of %d", o, end)
			require.Equal(t, o, d.Origin.Offset)
		}
		return nil
	}))
	st, err := n.Status()
	require.NoError(t, err)
	_, found, err := n.Lookup(turnID(i, st.Position.Offset-700))
	require.NoError(t, err)
	require.False(t, found)
	segments, err := n.Segments()
	require.NoError(t, err)
	for _, g := range segments {
		if g.Shared {
			require.Equal(t, SegmentSealed, g.State)
			require.NotZero(t, g.Pages)
			u.shared++
		} else if g.Places > 1 {
			u.merged++
		}
	}
}

func (u *turns) runAll(t *testing.T) {
	for range turnRounds {
		u.shared = 0
		for i := range u.all {
			u.run(t, i)
			require.LessOrEqual(t, u.s.Stats().MemoryBytes, int64(turnBudget))
		}
	}
}

// Where namespaces take turns in a budget far below their markers, their segments
// go into shared tables: little is read back, every answer is right, no table of
// anybody's own is written, and nothing is left of what has expired.
func TestShare_NamespacesTakeTurns(t *testing.T) {
	u, without := newTurns(t, 20), newTurns(t, 1<<30)
	defer func() { require.NoError(t, u.s.Close()) }()
	u.runAll(t)
	without.runAll(t)
	require.NoError(t, without.s.Close())
	t.Logf("%d bytes read back in %d segments, %d without shared tables", u.read, u.shared, without.read)
	require.Greater(t, u.shared, 5*len(u.all))
	require.Zero(t, without.shared)
	require.Less(t, u.read, without.read/3)
	require.Zero(t, u.s.db.Metrics().Ingest.Count)

	r, err := u.s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, r.Err())
	for _, n := range u.all {
		require.NoError(t, n.Advance(t0.Add(24*time.Hour)))
	}
	require.NoError(t, u.s.queue.drain())
	for _, kind := range []byte{kindRun, kindCat, kindPage, kindShared, kindDead} {
		require.Zero(t, count(t, u.s, kind), "kind %d", kind)
	}
	require.Zero(t, u.s.Stats().MemoryBytes)
	require.Zero(t, u.s.Stats().FilterBytes)
}

// Whoever looks IDs up beside batches finds them, whatever goes into shared tables,
// is dropped from them, is merged or deleted meanwhile.
func TestShare_LookupsBeside(t *testing.T) {
	u := newTurns(t, 10)
	defer func() { require.NoError(t, u.s.Close()) }()
	u.s.limits.merge = 6
	u.s.opts.Memory = 40 << 10 / turnFewer
	u.all = u.all[:50/turnFewer]
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for r := range 2 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(2, uint64(r)))
			for u.lookup(t, rng) {
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	gone := 0
	for round := range turnRounds {
		for i := gone; i < len(u.all); i++ {
			u.run(t, i)
		}
		if round > 2 && round%2 == 0 && gone < len(u.all)/3 {
			require.NoError(t, u.s.DeleteNamespace(u.all[gone].name))
			gone++
		}
	}
	close(stop)
	readers.Wait()
	require.NoError(t, u.s.Err())
	require.Positive(t, gone)
	require.Positive(t, u.merged)
	require.Positive(t, u.shared)
}

// lookup looks an ID up that will count for some batches more, and reports whether
// it was right.
func (u *turns) lookup(t *testing.T, rng *rand.Rand) bool {
	i := rng.IntN(len(u.all))
	st, err := u.all[i].Status()
	if err == nil && st.Position.Offset > 0 {
		o := st.Position.Offset - 1 - rng.Int64N(min(st.Position.Offset, 400))
		var m Marker
		var found bool
		m, found, err = u.all[i].Lookup(turnID(i, o))
		if err == nil && (!found || m.Origin.Offset != o) {
			t.Errorf("namespace %d, offset %d: %v %v", i, o, found, m)
			return false
		}
	}
	if err != nil && !errors.Is(err, ErrDeleted) {
		t.Error(err)
		return false
	}
	return true
}

// A segment that is shared and dropped, or not worth it, leaves nothing in memory
// and nothing but its own keys on disk; a full disk takes no shared table.
func TestShare_WhatIsWorthIt(t *testing.T) {
	s := openMem(t, Options{Logger: quiet()}, limits{full: 1000, small: 500, merge: mergeAbove, share: 100})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for epoch, size := range []int64{99, 100, 600, 500, 120} { // two for tables of their own
		accept(t, n, n.head.pos.Offset, size, int32(epoch))
	}
	require.NoError(t, s.queue.drain())
	accept(t, n, n.head.pos.Offset, 1, 4)

	full := ErrDiskFull
	s.disk.full.Store(&full)
	left, batch := s.share(nil, 1<<40)
	require.EqualValues(t, 1<<40, left)
	require.False(t, batch)
	require.Zero(t, count(t, s, kindShared))
	s.disk.full.Store(nil)

	before, runs := s.memory.Load(), count(t, s, kindRun)
	left, batch = s.share(nil, 1<<40)
	require.False(t, batch)
	require.Equal(t, before-s.memory.Load(), 1<<40-left)
	require.Equal(t, runs-1, count(t, s, kindRun))
	segments, err := n.Segments()
	require.NoError(t, err)
	for i, g := range segments {
		require.Equal(t, i == 1, g.Shared, "segment %d of %d markers", i, g.Markers)
	}
	require.Positive(t, segments[1].FilterBytes)

	for range 3 { // an open segment is shared once it is a quarter of all
		accept(t, n, n.head.pos.Offset, 150, 4)
	}
	_, _ = s.share(nil, 1<<40)
	segments, err = n.Segments()
	require.NoError(t, err)
	require.Len(t, segments, 5)
	require.True(t, segments[4].Shared)
	accept(t, n, n.head.pos.Offset, 1, 4)
	require.Len(t, indexOf(n).list, 6)
}

func indexOf(n *Namespace) *segments { return n.index.(*segments) }
