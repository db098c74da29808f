package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// followers call Update with batches of a log, from several goroutines that take turns,
// so that most run while the one before is synced. Some are undone before.
type followers struct {
	*testing.T
	rng      *rand.Rand
	n        *Namespace
	followed int
}

// log decides records, and returns the decisions. durable is called with the number of
// records up to which all is.
func (u *followers) log(log []Record, durable func(int)) []Decision {
	all := make([]Decision, len(log))
	var wg sync.WaitGroup
	for done := 0; done < len(log); {
		from, to := done, min(len(log), done+1+u.rng.IntN(30))
		done = to
		undone, begun := u.rng.IntN(6) == 0, make(chan struct{})
		wg.Add(1)
		go func() {
			defer wg.Done()
			run := func(b *Batch) error {
				for i := from; i < to; i++ {
					var err error
					if all[i], err = b.Do(log[i], addOne); err != nil {
						return err
					}
				}
				return nil
			}
			if undone && !errors.Is(u.n.Update(func(b *Batch) error { return errors.Join(run(b), errUndone) }), errUndone) {
				u.Error("it was not undone")
			}
			err := u.n.Update(func(b *Batch) error {
				if u.n.flight.Load() != nil {
					u.followed++
				}
				close(begun)
				return run(b)
			})
			if err != nil {
				u.Error(err)
				return
			}
			durable(to)
			why, err := u.n.Why(log[to-1].ID)
			if err != nil || !why.Found && all[to-1].Verdict == New { // a duplicate may leave the window
				u.Errorf("the last ID of a durable batch: %+v, %v", why, err)
			}
		}()
		<-begun
	}
	wg.Wait()
	return all
}

func addOne(tx *Tx) error {
	_, err := tx.Add([]byte("n"), 1)
	return err
}

// slow is a disk whose syncs of the log let others run meanwhile.
func slow(fs vfs.FS, also func()) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if syncsLog(op) {
			for range 300 {
				runtime.Gosched()
			}
			also()
		}
		return nil
	}))
}

// Batches that run while others are synced decide as those that follow each other:
// through segments that close, spill, drop and merge, and a budget that is short.
func TestFlight_DecidesAsOneAfterTheOther(t *testing.T) {
	for _, memory := range []int64{0, 60_000} {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		u := &followers{T: t, rng: rand.New(rand.NewPCG(seed, 0))}
		s, err := open("store", &Options{Logger: quiet(), Memory: memory},
			seams{fs: slow(vfs.NewMem(), func() {}), limits: limits{full: 300, small: 20, merge: 6}})
		require.NoError(t, err)
		log := restoreLog(u.rng, 6000/heavy)
		opts := &NamespaceOptions{Window: window.Hour}
		one, err := s.Namespace("one", opts)
		require.NoError(t, err)
		u.n, err = s.Namespace("turns", opts)
		require.NoError(t, err)
		var want []Decision
		require.NoError(t, one.Update(func(b *Batch) error {
			for _, r := range log {
				d, err := b.Do(r, addOne)
				require.NoError(t, err)
				want = append(want, d)
			}
			return nil
		}))
		require.Equal(t, want, u.log(log, func(int) {}))
		require.Positive(t, u.followed)
		require.NoError(t, s.queue.drain())
		a, err := one.Status()
		require.NoError(t, err)
		b, err := u.n.Status()
		require.NoError(t, err)
		for _, st := range []*Status{&a, &b} {
			st.Sequence, st.Segments, st.Sealed, st.Markers = 0, 0, 0, 0
		}
		require.Equal(t, a, b)
		require.Equal(t, sum(t, one), sum(t, u.n))
		_, err = s.Verify(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
}

// Whenever the process dies, what it leaves is a batch's end: at or above what was
// acknowledged, with the markers and the state of exactly the records below it.
func TestFault_A03_CrashWhileTheNextRuns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	u := &followers{T: t, rng: rand.New(rand.NewPCG(seed, 0))}
	disk := vfs.NewCrashableMem()
	type image struct {
		fs    *vfs.MemFS
		acked int64
	}
	var images []image
	var acked atomic.Int64
	fs := slow(disk, func() {
		at := acked.Load()
		for _, unsynced := range []int{0, 50, 100} {
			images = append(images, image{disk.CrashClone(vfs.CrashCloneCfg{
				UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(seed, uint64(len(images)))),
			}), at})
		}
	})
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
	require.NoError(t, err)
	u.n, err = s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	images = nil
	log := make([]Record, 1500/heavy)
	for i := range log {
		log[i] = rec(fmt.Sprint(i), int64(i), 0)
	}
	u.log(log, func(to int) {
		for {
			if at := acked.Load(); at >= int64(to) || acked.CompareAndSwap(at, int64(to)) {
				return
			}
		}
	})
	require.NoError(t, s.Close())
	require.Positive(t, u.followed)
	for _, im := range images {
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: im.fs})
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
		require.NoError(t, n.Load())
		st, err := n.Status()
		require.NoError(t, err)
		require.GreaterOrEqual(t, st.Position.Offset, im.acked)
		require.Equal(t, st.Position.Offset, sum(t, n))
		require.Equal(t, uint64(st.Position.Offset), st.Markers)
		for _, o := range []int64{st.Position.Offset - 1, st.Position.Offset} {
			_, found, err := n.Lookup(fmt.Append(nil, o))
			require.NoError(t, err)
			require.Equal(t, o >= 0 && o < st.Position.Offset, found)
		}
		require.NoError(t, s.Close())
	}
}
