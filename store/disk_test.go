package store

import (
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// sized is a disk in memory of which a test says how much is free.
type sized struct {
	*vfs.MemFS
	free  atomic.Int64
	asked atomic.Int64
	hangs atomic.Bool   // the answer waits
	hang  chan struct{} // until this is closed
}

func newSized(free int64) *sized {
	s := &sized{MemFS: vfs.NewMem(), hang: make(chan struct{})}
	s.free.Store(free)
	return s
}

func (s *sized) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if path == "store" { // Pebble asks, too
		s.asked.Add(1)
		if s.hangs.Load() {
			<-s.hang
		}
	}
	return vfs.DiskUsage{AvailBytes: uint64(s.free.Load()), TotalBytes: math.MaxInt64}, nil
}

func (s *sized) hasBallast(t *testing.T) bool {
	names, err := s.List("store")
	require.NoError(t, err)
	for _, n := range names {
		if n == ballastFile {
			return true
		}
	}
	return false
}

// The floor is checked before a batch is begun, the state is entered and left
// without anybody's call, and reading goes on.
func TestFault_B03_FloorBeforeABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(200 << 20)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		require.True(t, fs.hasBallast(t))
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		_, err = n.Do(rec("x", 0, 0), nil)
		require.NoError(t, err)
		inState(t, s, StateRunning, nil)

		fs.free.Store(63 << 20)
		time.Sleep(2 * diskEvery)
		inState(t, s, StateDiskFull, ErrDiskFull)
		begun := false
		err = n.Update(func(*Batch) error { begun = true; return nil })
		require.ErrorIs(t, err, ErrDiskFull)
		require.ErrorContains(t, err, "63.0 MB free")
		require.ErrorContains(t, err, "make room")
		require.False(t, begun)
		_, err = s.Namespace("b", nil)
		require.ErrorIs(t, err, ErrDiskFull)
		require.NoError(t, n.View(func(*View) error { return nil }))
		st, err := n.Status()
		require.NoError(t, err)
		require.EqualValues(t, 1, st.Position.Offset)

		// Just above the floor is not enough: the state must not flutter.
		fs.free.Store(68 << 20)
		time.Sleep(2 * diskEvery)
		inState(t, s, StateDiskFull, ErrDiskFull)
		fs.free.Store(80 << 20)
		time.Sleep(2 * diskEvery)
		inState(t, s, StateRunning, nil)
		_, err = n.Do(rec("y", 1, 0), nil)
		require.NoError(t, err)
	})
}

// A caller that has made room need not wait for the next measurement.
func TestFault_B03_RoomIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(1)
		_, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.ErrorIs(t, err, ErrDiskFull)
		require.ErrorContains(t, err, "store: open store: disk full")
		fs.free.Store(9 << 20) // enough to open, and to read
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		inState(t, s, StateDiskFull, ErrDiskFull)
		require.False(t, fs.hasBallast(t))
		_, err = s.Namespace("a", nil)
		require.ErrorIs(t, err, ErrDiskFull)
		fs.free.Store(200 << 20)
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		require.True(t, fs.hasBallast(t))
		_, err = n.Do(rec("x", 0, 0), nil)
		require.NoError(t, err)
	})
}

// Between two measurements the store counts what it has accepted itself, so that
// it stays above the floor however fast it writes; and it measures no more often
// for that.
func TestFault_B03_AcceptedBytesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(86 << 20)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		before := fs.asked.Load()
		for o := range int64(3) {
			_, err = n.Do(rec("x", o, 0), nil)
			require.NoError(t, err)
		}
		require.Equal(t, before, fs.asked.Load(), "a batch measures")
		value := make([]byte, 1<<20)
		write := func(o int64) error {
			return n.Update(func(b *Batch) error {
				_, err := b.Do(rec(fmt.Sprint("big", o), o, 0), func(tx *Tx) error {
					fs.free.Add(-int64(len(value))) // it will be written
					return tx.Set([]byte("k"), value)
				})
				return err
			})
		}
		o := int64(3)
		for ; err == nil; o++ {
			err = write(o)
		}
		require.ErrorIs(t, err, ErrDiskFull)
		require.Greater(t, o, int64(5))
		require.GreaterOrEqual(t, fs.free.Load(), int64(defaultMinFree-len(value)), "far below the floor")

		// More than there is: refused although the floor held when it began.
		fs.free.Store(200 << 20)
		time.Sleep(2 * diskEvery)
		inState(t, s, StateRunning, nil)
		err = n.Update(func(b *Batch) error {
			fs.free.Store(1 << 19) // somebody else has filled the disk
			time.Sleep(2 * diskEvery)
			_, err := b.Do(rec("other", o, 0), func(tx *Tx) error { return tx.Set([]byte("k"), value) })
			return err
		})
		require.ErrorIs(t, err, ErrDiskFull)
		require.ErrorContains(t, err, "a batch needs 1.0 MB")
		st, err := n.Status()
		require.NoError(t, err)
		require.Less(t, st.Position.Offset, o+1)
	})
}

// What the markers in memory will take as tables is kept free, too.
func TestFault_B03_PendingTablesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(90 << 20)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		_, err = n.Do(rec("x", 0, 0), nil)
		require.NoError(t, err)
		s.unwritten.Add(50 << 20)
		time.Sleep(2 * diskEvery)
		inState(t, s, StateDiskFull, ErrDiskFull)
		s.unwritten.Add(-50 << 20) // they are tables now
		time.Sleep(2 * diskEvery)
		inState(t, s, StateRunning, nil)
	})
}

// What has expired by the clock that is on disk goes with the next batch; where
// that one is refused, it goes all the same.
func TestFault_B03_ExpiredGoesWithARefusedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(200 << 20)
		opts := &Options{Logger: quiet(), Now: func() time.Time { return t0.Add(time.Hour) }} // not the bubble's
		s, err := open("store", opts, seams{fs: fs, limits: limits{full: 20, small: 5, merge: 1000}})
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(100 * time.Millisecond)})
		require.NoError(t, err)
		accept(t, n, 0, 100, 0)
		require.NoError(t, s.queue.drain())
		accept(t, n, 100, 200, 0) // the first hundred have expired, and still stand
		st, err := n.Status()
		require.NoError(t, err)
		require.EqualValues(t, 300, st.Markers)

		fs.free.Store(63 << 20)
		time.Sleep(2 * diskEvery)
		for range 3 { // the second finds nothing to drop
			require.ErrorIs(t, n.Update(func(*Batch) error { panic("it was begun") }), ErrDiskFull)
			now, err := n.Status()
			require.NoError(t, err)
			require.Less(t, now.Markers, uint64(230))
			require.Equal(t, st.Sequence, now.Sequence, "how markers are laid out must not show")
			require.Equal(t, st.Clock, now.Clock)
		}
		require.NoError(t, s.queue.drain())
		require.NoError(t, n.View(func(*View) error { return nil }))
		inState(t, s, StateDiskFull, ErrDiskFull)
	})
}

// A disk that does not even say how much is free holds up neither batches nor
// Close for ever.
func TestFault_B03_F08_HungMeasurement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newSized(200 << 20)
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		fs.hangs.Store(true)
		time.Sleep(2 * diskEvery)
		_, err = n.Do(rec("x", 0, 0), nil)
		require.NoError(t, err)
		s.disk.left.Store(10 << 20) // as if much had been accepted since
		begun := time.Now()
		_, err = n.Do(rec("y", 1, 0), nil)
		require.NoError(t, err, "the last measurement stands")
		require.LessOrEqual(t, time.Since(begun), 2*askedMost)
		err = closeWithin(t, s)
		require.ErrorIs(t, err, ErrCloseTimeout)
		require.ErrorContains(t, err, "how much is free")
		close(fs.hang)
		synctest.Wait()
		require.NoError(t, s.db.Close())
		require.NoError(t, s.lock.Close())
	})
}

// -1 switches the check off, and a file system that cannot be asked has none.
func TestDisk_Off(t *testing.T) {
	fs := newSized(0)
	s, err := open("store", &Options{MinFree: -1}, seams{fs: fs})
	require.NoError(t, err)
	require.Zero(t, fs.asked.Load())
	require.False(t, fs.hasBallast(t))
	inState(t, s, StateRunning, nil)
	require.NoError(t, s.Close())
	_, err = Open("x", &Options{MinFree: -2, InMemory: true})
	require.ErrorContains(t, err, "MinFree is -2 bytes")
}
