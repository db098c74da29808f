package store

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func syncsLog(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log")
}

// flights is a namespace whose log is synced only when the test lets it.
type flights struct {
	*testing.T
	disk   *hanging
	answer func() // lets the disk answer
	s      *Store
	n      *Namespace
}

func newFlights(t *testing.T, inner vfs.FS) *flights {
	f := &flights{T: t, disk: newHangingOn(inner, syncsLog)}
	f.answer = sync.OnceFunc(func() { close(f.disk.end) })
	t.Cleanup(func() {
		f.answer()
		_ = f.s.Close() // it may be poisoned
	})
	var err error
	f.s, err = open("store", &Options{
		Logger: quiet(), CommitTimeout: time.Hour, Now: func() time.Time { return t0.Add(time.Hour) },
	}, seams{fs: f.disk})
	require.NoError(t, err)
	f.n, err = f.s.Namespace("a", &NamespaceOptions{Window: window.Day})
	require.NoError(t, err)
	f.wait(f.batch(0, 10, func() {}))
	f.disk.armed.Store(true)
	return f
}

// batch decides records from an offset on, with an ID and a balance each. begun is
// called when it has its turn; what it returns brings the end of the call.
func (f *flights) batch(from, to int64, begun func()) <-chan error {
	return f.update(func(b *Batch) error {
		for o := from; o < to; o++ {
			d, err := b.Do(rec(fmt.Sprint(o), o, 0), func(tx *Tx) error {
				_, err := tx.Add([]byte("n"), 1)
				return err
			})
			if err != nil || d.Verdict != New {
				return fmt.Errorf("offset %d is %v: %w", o, d.Verdict, err)
			}
		}
		begun()
		return nil
	})
}

func (f *flights) update(fn func(*Batch) error) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- f.n.Update(fn) }()
	return ended
}

func (f *flights) wait(ended <-chan error) {
	f.Helper()
	require.NoError(f, <-ended)
}

// under has a batch on its way to a disk that does not answer.
func (f *flights) under() (first <-chan error) {
	first = f.batch(10, 20, func() {})
	synctest.Wait()
	f.pending(first)
	return first
}

// pending has a call not return, and nobody see more than the first ten records.
func (f *flights) pending(calls ...<-chan error) {
	f.Helper()
	synctest.Wait()
	for _, c := range calls {
		require.Empty(f, c, "it has returned")
	}
	st, err := f.n.Status()
	require.NoError(f, err)
	require.Equal(f, uint64(1), st.Sequence)
	require.Equal(f, int64(10), st.Position.Offset)
	require.Equal(f, uint64(10), st.Counts.New)
	require.Equal(f, int64(10), f.n.picture.Load().head.pos.Offset)
	require.Equal(f, uint64(1), f.s.batches.Load(), "the witness counts what is durable")
}

// While a batch is synced the next one runs, finds its markers and its state, and is
// not written before: nobody is told anything of either until it is durable.
func TestFlight_NextRunsWhileOneIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		first := f.under()
		var ran atomic.Int32
		second := f.update(func(b *Batch) error {
			d, err := b.Do(rec("15", 20, 0), nil)
			require.NoError(t, err)
			require.Equal(t, Duplicate, d.Verdict)
			require.Equal(t, offset(15).Offset, d.Origin.Offset)
			_, err = b.Do(rec("b", 21, 0), func(tx *Tx) error {
				n, err := tx.Add([]byte("n"), 1)
				require.Equal(t, int64(21), n)
				return err
			})
			ran.Add(1)
			return err
		})
		f.pending(first, second)
		require.Equal(t, int32(1), ran.Load(), "it waits for the disk")
		third := f.batch(22, 30, func() { ran.Add(1) })
		f.pending(first, second, third)
		require.Equal(t, int32(1), ran.Load(), "it runs while two are not durable")
		f.answer()
		f.wait(first)
		f.wait(second)
		f.wait(third)
		st, err := f.n.Status()
		require.NoError(t, err)
		require.Equal(t, uint64(4), st.Sequence)
		require.Equal(t, uint64(4), f.s.batches.Load())
		require.Equal(t, Counts{New: 29, Duplicate: 1}, st.Counts)
		require.Equal(t, int64(29), sum(t, f.n))
		require.Equal(t, 1, st.Segments)
		require.NoError(t, f.s.Close())
	})
}

// A batch that closes a segment is not followed before its table is under way: how
// many tables are waited for has a bound.
func TestFlight_ClosedSegmentsAreSpilledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		f.s.limits.full, f.s.limits.small = 15, 5
		first := f.under()
		begun := make(chan struct{}, 1)
		second := f.batch(20, 30, func() { begun <- struct{}{} })
		f.pending(first, second)
		require.Empty(t, begun)
		f.answer()
		f.wait(first)
		f.wait(second)
		for o := range int64(2) { // the first of them closes the second segment
			f.wait(f.batch(30+o, 31+o, func() {}))
			require.NoError(t, f.s.queue.drain())
		}
		f.wait(f.batch(32, 33, func() {}))
		st, err := f.n.Status()
		require.NoError(t, err)
		require.Equal(t, 3, st.Segments)
		require.Equal(t, 2, st.Sealed)
		require.NoError(t, f.n.own())
		for _, g := range f.n.index.(*segments).list {
			require.False(t, g.uncatalogued)
		}
		f.n.disown()
		require.NoError(t, f.s.Close())
	})
}

// Whatever a call learned from a batch that is not durable is nothing to return with;
// and what is no batch of new records waits.
func TestFlight_OthersWaitUntilItArrives(t *testing.T) {
	for name, call := range map[string]func(f *flights) error{
		"nothing but replays": func(f *flights) error {
			_, err := f.n.Do(rec("15", 15, 0), nil)
			if !errors.Is(err, ErrReplay) {
				return fmt.Errorf("%w", err)
			}
			return nil
		},
		"a duplicate that fn refuses": func(f *flights) error {
			err := f.n.Update(func(b *Batch) error {
				d, err := b.Do(rec("15", 20, 0), nil)
				require.Equal(t, Duplicate, d.Verdict)
				return errors.Join(errUndone, err)
			})
			if !errors.Is(err, errUndone) {
				return fmt.Errorf("%w", err)
			}
			return nil
		},
		"a duplicate in a batch that is too large": func(f *flights) error {
			err := f.n.Update(func(b *Batch) error {
				_, err := b.Do(rec("15", 20, 0), nil)
				b.size = MaxBatchBytes + 1
				return err
			})
			if !errors.Is(err, ErrBatchTooLarge) {
				return fmt.Errorf("%w", err)
			}
			return nil
		},
		"a duplicate, and a panic": func(f *flights) error {
			defer func() { _ = recover() }()
			return f.n.Update(func(b *Batch) error {
				_, err := b.Do(rec("15", 20, 0), nil)
				panic(err)
			})
		},
		"a duplicate":     func(f *flights) error { _, err := f.n.Do(rec("15", 20, 0), nil); return err },
		"an advance":      func(f *flights) error { return f.n.Advance(t0.Add(time.Minute)) },
		"an ID forgotten": func(f *flights) error { _, err := f.n.Forget([]byte("15")); return err },
		"all forgotten":   func(f *flights) error { return f.n.ForgetAll() },
		"new settings": func(f *flights) error {
			_, err := f.s.Namespace("a", &NamespaceOptions{Window: window.Of(48 * time.Hour)})
			return err
		},
		"its end": func(f *flights) error { return f.s.DeleteNamespace("a") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlights(t, vfs.NewMem())
				first := f.under()
				ended := make(chan error, 1)
				go func() { ended <- call(f) }()
				f.pending(first, ended)
				f.answer()
				f.wait(ended)
				f.wait(first)
				require.NoError(t, f.s.Close())
			})
		})
	}
}

// A batch that arrives while somebody else has the namespace is landed when that one
// gives it back.
func TestFlight_LandedByWhoeverHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		first := f.under()
		require.NoError(t, f.n.take())
		f.answer()
		f.wait(first)
		require.NotNil(t, f.n.flight.Load())
		f.n.giveBack()
		require.Nil(t, f.n.flight.Load())
		require.NoError(t, f.s.Close())
	})
}

// A call returns when its own batch is durable: the one that took off after it, before
// it could see whether anybody had landed it, is not its business.
func TestFlight_WaitsForNoneThatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		f.answer()
		require.NoError(t, f.n.take())
		own := &flight{n: f.n, wait: func() error { return nil }, done: make(chan struct{})}
		own.picture, own.status = f.n.draw(), f.n.tell()
		next := &flight{n: f.n, done: make(chan struct{})}
		f.n.flight.Store(next)
		f.n.index.hold()
		f.n.giveBack()
		ended := make(chan error, 1)
		go func() { ended <- own.arrive() }()
		synctest.Wait()
		require.Len(t, ended, 1)
		require.True(t, f.n.tryTake(), "nor does it keep the namespace")
		close(next.done)
		f.n.giveBack()
		require.NoError(t, f.s.Close())
	})
}

// A batch that fails while the one before it is synced leaves nothing, that one is
// durable all the same, and all that was put off until then is done.
func TestFlight_NextFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		first := f.under()
		fails, end := f.failing()
		f.pending(first, fails)
		f.answer()
		f.wait(first) // it does not wait for the handler of the next
		_, found, err := f.n.Lookup([]byte("15"))
		require.NoError(t, err)
		require.True(t, found)
		require.NotNil(t, f.n.flight.Load())
		close(end)
		require.ErrorIs(t, <-fails, errUndone)
		require.Nil(t, f.n.flight.Load(), "it was not landed")
		f.wait(f.batch(20, 30, func() {}))
		require.Equal(t, int64(30), sum(t, f.n))
		require.NoError(t, f.s.Close())
	})
}

// failing begins a batch that fails when end is closed.
func (f *flights) failing() (fails <-chan error, end chan struct{}) {
	end = make(chan struct{})
	return f.update(func(b *Batch) error {
		_, err := b.Do(rec("c", 20, 0), func(tx *Tx) error {
			_, err := tx.Add([]byte("n"), 1000)
			return err
		})
		<-end
		return errors.Join(errUndone, err)
	}), end
}

// B01: when the sync of a batch fails, neither it nor the one that runs meanwhile is
// acknowledged, and what was durable before is what is found again.
func TestFault_B01_SyncFailsWhileTheNextRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		var broken atomic.Bool
		f := newFlights(t, errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if broken.Load() && syncsLog(op) {
				return syscall.EIO
			}
			return nil
		})))
		first := f.under()
		broken.Store(true)
		second := f.batch(20, 30, func() {})
		third := f.batch(30, 40, func() {})
		f.pending(first, second, third)
		left := disk.CrashClone(vfs.CrashCloneCfg{})
		looked := make(chan error, 1)
		go func() { // waits for the batch, as a rule
			_, found, err := f.n.Lookup([]byte("15"))
			if found {
				err = errors.New("what is not durable was found")
			}
			looked <- err
		}()
		for range 100 {
			runtime.Gosched()
		}
		f.answer()
		require.ErrorIs(t, <-looked, ErrPoisoned)
		for _, c := range []<-chan error{first, second, third} {
			require.ErrorIs(t, <-c, ErrPoisoned)
		}
		_, _, err := f.n.Lookup([]byte("15"))
		require.ErrorIs(t, err, ErrPoisoned)
		st := f.n.status.Load()
		require.Equal(t, int64(10), st.Position.Offset)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: left})
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Day})
		require.NoError(t, err)
		require.NoError(t, n.Load())
		got, err := n.Status()
		require.NoError(t, err)
		require.Equal(t, int64(10), got.Position.Offset)
		require.Equal(t, uint64(10), got.Markers)
		require.NoError(t, s.Close())
	})
}

// A sync that never ends poisons the store at the time-out, and both calls return.
func TestFault_F08_SyncHangsWhileTheNextRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlights(t, vfs.NewMem())
		begun := time.Now()
		first := f.under()
		second := f.batch(20, 30, func() {})
		f.pending(first, second)
		require.ErrorIs(t, <-first, ErrPoisoned)
		require.ErrorIs(t, <-second, ErrPoisoned)
		require.LessOrEqual(t, time.Since(begun), 2*time.Hour)
	})
}
