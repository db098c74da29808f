package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// Whoever looks from outside sees every acknowledged marker, beside batches,
// tables, merges and unloading, and never one that was not acknowledged.
func TestLookup_BesideEverything(t *testing.T) {
	s := openMem(t, Options{Memory: 24 << 10}, limits{full: 100, small: 20, merge: 4})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	other, err := s.Namespace("b", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	var acked, begun atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	var states [SegmentSealed + 1]atomic.Int64
	for seed := range uint64(3) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(seed, 1))
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				known := acked.Load()
				o := rng.Int64N(known + 50)
				w, err := n.Why(fmt.Appendf(nil, "id-%d", o))
				if !noError(t, err) {
					return
				}
				if o < known && !w.Found || w.Found && (w.Marker.Origin.Offset != o || o >= begun.Load()) {
					t.Errorf("offset %d of %d: %+v", o, known, w)
					return
				}
				states[w.Place.State].Add(1)
				if i%50 == 0 && seed == 0 {
					if !beside(t, n, known) {
						return
					}
				}
			}
		}()
	}
	for o := int64(0); o < 6000; o += 20 {
		begun.Store(o + 20)
		accept(t, n, o, 20, 0)
		acked.Store(o + 20)
		if o%200 == 0 {
			accept(t, other, o, 200, 0)
		}
	}
	close(done)
	wg.Wait()
	for i := range states {
		t.Logf("%v: %d", SegmentState(i), states[i].Load())
	}
	require.Positive(t, states[SegmentSealed].Load())
}

func noError(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// beside lists markers and segments beside everything.
func beside(t *testing.T, n *Namespace, known int64) bool {
	seen := map[int64]bool{}
	err := n.markers(func(m MarkerEntry) error {
		if seen[m.Origin.Offset] {
			return fmt.Errorf("offset %d twice", m.Origin.Offset)
		}
		seen[m.Origin.Offset] = true
		return nil
	}, 64, 64)
	if !noError(t, err) {
		return false
	}
	for o := range known {
		if !seen[o] {
			t.Errorf("offset %d is not listed", o)
			return false
		}
	}
	_, err = n.Segments()
	return noError(t, err)
}

// A look-up waits for no handler: not for one that runs, not when the namespace
// was not read yet, and not from inside one.
func TestLookup_WaitsForNoHandler(t *testing.T) {
	dir := t.TempDir()
	s, err := open(dir, nil, seams{})
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	accept(t, n, 0, 20, 0)
	require.NoError(t, s.Close())
	s = testOpen(t, dir, limits{})
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	inside, outside := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- n.Update(func(b *Batch) error {
			_, err := b.Do(rec("id-new", 20, time.Hour), func(*Tx) error {
				close(inside)
				<-outside
				_, found, err := n.Lookup([]byte("id-new"))
				if err == nil && found {
					return fmt.Errorf("a marker before its batch was durable")
				}
				return err
			})
			return err
		})
	}()
	for i := range 20 { // before, while and after the owner reads the markers
		m, found, err := n.Lookup(fmt.Appendf(nil, "id-%d", i))
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, i, m.Origin.Offset)
		if i == 10 {
			<-inside
		}
	}
	close(outside)
	require.NoError(t, <-ended)
	_, found, err := n.Lookup([]byte("id-new"))
	require.NoError(t, err)
	require.True(t, found)
}

// Why tells where a marker stands, and what a record of its ID would be told.
func TestWhy_TellsEverything(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 40, small: 10, merge: mergeAbove})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	accept(t, n, 0, 100, 0)
	require.NoError(t, s.queue.drain())
	accept(t, n, 100, 1, 0)
	why := func(id string) Why {
		w, err := n.Why([]byte(id))
		require.NoError(t, err)
		return w
	}
	w := why("id-0")
	require.Equal(t, SegmentKept, w.Place.State)
	require.Equal(t, Duplicate, w.Decision.Verdict)
	require.Equal(t, w.Decision.First, w.Marker.First)
	require.Equal(t, w.Marker.First.Add(time.Hour), w.Marker.Leaves)
	require.Equal(t, w.Clock.Sub(w.Marker.First), w.Age)
	require.Equal(t, IDRaw, w.Kind)
	require.Zero(t, w.Read)
	require.Equal(t, SegmentOpen, why("id-100").Place.State)

	require.NoError(t, n.own())
	n.index.release(1 << 40)
	n.disown()
	w = why("id-50")
	require.Equal(t, SegmentSealed, w.Place.State)
	require.Positive(t, w.Read)
	require.EqualValues(t, 50, w.Marker.Origin.Offset)
	require.Regexp(t, `^segment \d+ \(sealed\), page 0$`, w.Place.String())
	require.Equal(t, New, why("absent").Decision.Verdict)

	require.NoError(t, n.Update(func(b *Batch) error { // a jump: it stands in the row
		_, err := b.Do(rec("jump", 101, 24*time.Hour), nil)
		return err
	}))
	w = why("jump")
	require.True(t, w.Place.Row)
	require.Equal(t, "row of jumps", w.Place.String())
	w = why("id-100") // a duplicate by one clock, and none by the other
	require.Equal(t, Decision{Verdict: Unknown, Reason: Clock}, w.Decision)

	require.NoError(t, n.Update(func(b *Batch) error {
		for i := range int64(30) { // a minute at a time: the window passes
			if _, err := b.Do(rec("later", 102+i, time.Duration(i)*5*time.Minute), nil); err != nil {
				return err
			}
		}
		return nil
	}))
	w = why("id-100")
	require.True(t, w.Found, "its segment stands until the next batch")
	require.Equal(t, New, w.Decision.Verdict)
	_, found, err := n.Lookup([]byte("id-100"))
	require.NoError(t, err)
	require.False(t, found)
	_, err = n.Why(nil)
	require.ErrorIs(t, err, ErrNoID)
}

// The marker that was accepted last is listed, once, however an ID is stored and
// wherever its markers stand.
func TestMarkers_TheLastOfEachID(t *testing.T) {
	uuid := "0e37df36-f698-11e6-8dd4-cb9ced3df976"
	long := string(bytes.Repeat([]byte("x"), 300))
	s := testOpen(t, t.TempDir(), limits{full: 60, small: 10, merge: 4})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	want := map[string]int64{}
	offset := int64(0)
	ids := func(i int64) string {
		switch i % 50 {
		case 7:
			return uuid
		case 8:
			return long
		default:
			return fmt.Sprintf("id-%d", i%300)
		}
	}
	for range 40 { // five minutes a round: every ID is accepted anew and again
		require.NoError(t, n.Update(func(b *Batch) error {
			for range 40 {
				r := rec(ids(offset), offset, time.Duration(offset)*8*time.Second)
				d, err := b.Do(r, nil)
				require.NoError(t, err)
				if d.Verdict != Duplicate {
					want[string(r.ID)] = offset
				}
				offset++
			}
			return nil
		}))
	}
	for _, most := range []uint64{1, 7, 1 << 20} {
		got := map[string]int64{}
		kinds := map[IDKind]int{}
		require.NoError(t, n.markers(func(m MarkerEntry) error {
			id := string(m.ID)
			kinds[m.Kind]++
			if m.Kind == IDDigest {
				require.Len(t, id, 32)
				id = long
			}
			require.NotContains(t, got, id)
			got[id] = m.Origin.Offset
			v, found, err := n.Lookup([]byte(id))
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, v, m.Marker)
			return nil
		}, most, most))
		for id, o := range want {
			if _, found, err := n.Lookup([]byte(id)); !found {
				require.NoError(t, err)
				require.NotContains(t, got, id)
				continue
			}
			require.Equal(t, o, got[id], id)
		}
		require.Equal(t, 1, kinds[IDUUID])
		require.Equal(t, 1, kinds[IDDigest])
		require.Greater(t, kinds[IDRaw], 200)
	}
	all, err := n.Segments()
	require.NoError(t, err)
	for _, g := range all {
		require.NotZero(t, g.Markers)
		require.Equal(t, g.State == SegmentSealed, g.MemoryBytes == 0)
		require.Equal(t, g.Pages > 0, g.TableBytes > 0 && g.FilterBytes > 0)
		require.False(t, g.High.Before(g.Low))
	}
	stop := fmt.Errorf("enough")
	require.ErrorIs(t, n.Markers(func(MarkerEntry) error { return stop }), stop)
	require.NoError(t, s.Err())
}

// What is forgotten is neither found nor listed, wherever it stood; everybody
// beside the owner answers as the owner does.
func TestLookup_Forgotten(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 60, small: 10, merge: 4})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for o := int64(0); o < 1000; o += 50 {
		accept(t, n, o, 50, 0)
		require.NoError(t, s.queue.drain())
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		for _, i := range []int{3, 500, 990} {
			if _, err := b.Forget(fmt.Appendf(nil, "id-%d", i)); err != nil {
				return err
			}
		}
		return b.ForgetOrigins(ID{1}, 0, 200, 300)
	}))
	listed := map[int64]bool{}
	require.NoError(t, n.markers(func(m MarkerEntry) error {
		listed[m.Origin.Offset] = true
		return nil
	}, 64, 64))
	require.Len(t, listed, 1000-100-3)
	stop := fmt.Errorf("stop")
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		for i := range int64(1000) {
			id := fmt.Appendf(nil, "id-%d", i)
			_, found, err := n.Lookup(id)
			require.NoError(t, err)
			d, err := b.Do(Record{ID: id}, nil)
			require.NoError(t, err)
			require.Equal(t, d.Verdict == Duplicate, found, i)
			require.Equal(t, found, listed[i], i)
		}
		return stop
	}), stop)
	r, err := s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, r.Damage)
}
