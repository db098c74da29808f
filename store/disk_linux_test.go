package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// smallDisk mounts a file system of that size and returns where. It is the
// test's alone, and may be filled.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	dir := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// hog fills the disk, beside the store, until so many bytes are free.
func hog(t *testing.T, disk string, free int64) (path string) {
	t.Helper()
	path = filepath.Join(disk, "hog")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	for {
		var st syscall.Statfs_t
		require.NoError(t, syscall.Statfs(disk, &st))
		more := int64(st.Bavail)*st.Bsize - free
		if more <= 0 {
			return path
		}
		if _, err = io.CopyN(f, endless{}, more); !errors.Is(err, syscall.ENOSPC) {
			require.NoError(t, err)
		}
	}
}

// surprised is a disk that is filled after the last measurement: while a test
// says so, it tells of room that is gone.
type surprised struct {
	vfs.FS
	gone atomic.Bool
}

func (s *surprised) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := s.FS.GetDiskUsage(path)
	if s.gone.Load() {
		u.AvailBytes = 32 * mb
	}
	return u, err
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

const mb = 1 << 20

// filler writes batches of two hundred records with state, and knows what must
// be there.
type filler struct {
	n      *Namespace
	next   int64
	random *rand.ChaCha8
	value  []byte // of each record's state
}

func newFiller(t *testing.T, s *Store) *filler {
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	return &filler{
		n:      n,
		random: rand.NewChaCha8([32]byte{1}), // not two alike: they would be compressed
		value:  make([]byte, 16<<10),         // 3 MB a batch
	}
}

// batch accepts the next records. In the middle of it, when they are decided and
// nothing is written yet, it calls meanwhile.
func (f *filler) batch(meanwhile func()) error {
	next := f.next
	err := f.n.Update(func(b *Batch) error {
		for range 200 {
			d, err := b.Do(rec(fmt.Sprint(next), next, 0), func(tx *Tx) error {
				_, _ = f.random.Read(f.value)
				return tx.Set(binary.BigEndian.AppendUint64(nil, uint64(next)), f.value)
			})
			if err != nil {
				return err
			}
			if d.Verdict != New {
				return fmt.Errorf("record %d is %v", next, d)
			}
			next++
		}
		if meanwhile != nil {
			meanwhile()
		}
		return nil
	})
	if err == nil {
		f.next = next
	}
	return err
}

// whole checks that everything acknowledged is there, and nothing else.
func (f *filler) whole(t *testing.T) {
	t.Helper()
	st, err := f.n.Status()
	require.NoError(t, err)
	require.Equal(t, f.next, st.Position.Offset)
	errAgain := fmt.Errorf("not kept")
	require.ErrorIs(t, f.n.Update(func(b *Batch) error {
		for o := range f.next + 1 {
			d, err := b.Do(Record{ID: fmt.Append(nil, o)}, nil)
			require.NoError(t, err)
			require.Equal(t, o < f.next, d.Verdict == Duplicate, "offset %d of %d: %v", o, f.next, d)
		}
		return errAgain
	}), errAgain)
}

// longEnough is how long a test waits for what a store does in the background: nothing
// depends on its size, and a loaded machine takes many seconds.
const longEnough = 2 * time.Minute

// becomes waits until the store is in a state by itself.
func becomes(t *testing.T, s *Store, want State) {
	t.Helper()
	require.Eventually(t, func() bool { return s.State() == want }, longEnough, 5*time.Millisecond,
		"it is %v: %v", s.State(), s.Err())
}

// settled waits until no compaction runs that could make room.
func settled(t *testing.T, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool {
		m := s.db.Metrics()
		return m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 && m.MemTable.Count == 1
	}, longEnough, time.Millisecond)
}

// A real disk, filled by the store itself, by another program between two
// batches, and by one in the middle of a batch: nothing is poisoned, nothing
// acknowledged is lost, and the store goes on by itself.
func TestFault_B03_SmallDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 64*mb)
	dir := filepath.Join(disk, "store")
	fs := &surprised{FS: vfs.Default}
	sm := seams{fs: fs, limits: limits{full: 20_000, small: 500, merge: mergeAbove, table: 1 * mb}}
	// A batch of 3 MB may be accepted by a measurement that is a moment old, and
	// may find no old log to write over: the ballast, a fourth of this, must do.
	opts := &Options{MinFree: 16 * mb, Memory: 4 * mb, CommitTimeout: 2 * time.Minute, Logger: quiet()}
	s, err := open(dir, opts, sm)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	f := newFiller(t, s)
	require.FileExists(t, filepath.Join(dir, ballastFile))

	// By itself, until there is no room for its state, which is never deleted.
	for err == nil {
		err = f.batch(nil)
	}
	require.ErrorIs(t, err, ErrDiskFull)
	inState(t, s, StateDiskFull, ErrDiskFull)
	require.Positive(t, f.next)
	t.Logf("full after %d records: %v", f.next, err)

	// Room is what the store made itself: a larger disk.
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", 160*mb)))
	becomes(t, s, StateRunning)
	f.whole(t)

	for range 3 {
		// Filled between two batches, and again when a compaction has made room.
		path, err := "", error(nil)
		for err == nil {
			path = hog(t, disk, 1*mb)
			err = f.batch(nil)
		}
		require.ErrorIs(t, err, ErrDiskFull)
		require.NoError(t, os.Remove(path))
		becomes(t, s, StateRunning)
		require.NoError(t, f.batch(nil))

		// Filled to the last byte when a batch is about to be written.
		require.FileExists(t, filepath.Join(dir, ballastFile))
		settled(t, s)
		require.NoError(t, f.batch(func() { fs.gone.Store(true); path = hog(t, disk, 0) }))
		fs.gone.Store(false)
		require.Eventually(t, func() bool {
			_, err := os.Stat(filepath.Join(dir, ballastFile))
			return errors.Is(err, os.ErrNotExist)
		}, longEnough, time.Millisecond, "the ballast is not given up")
		becomes(t, s, StateDiskFull)
		require.NoError(t, os.Remove(path))
		becomes(t, s, StateRunning)
		require.FileExists(t, filepath.Join(dir, ballastFile), "it stands again")
		f.whole(t)
	}
	require.NoError(t, s.Close())
	s, err = open(dir, opts, sm)
	require.NoError(t, err)
	f.n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	f.whole(t)
}

// A batch that is being written when there is no ballast left waits for room,
// and is durable when there is.
func TestFault_B03_CommitWaitsForRoom(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 64*mb)
	fs := &surprised{FS: vfs.Default}
	sm := seams{fs: fs, limits: limits{table: 1 * mb}}
	s, err := open(filepath.Join(disk, "store"), &Options{MinFree: 1 * mb, Logger: quiet(), Witness: witnessNone}, sm)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	f := newFiller(t, s)
	for range 3 {
		require.NoError(t, f.batch(nil))
	}
	f.value = make([]byte, 64<<10) // more than the log holds of room from earlier batches
	begun := time.Now()
	filled, freed := make(chan string, 1), make(chan error, 1)
	go func() {
		path := <-filled
		for begun := time.Now(); s.State() != StateDiskFull; <-time.After(time.Millisecond) {
			if time.Since(begun) > longEnough {
				freed <- fmt.Errorf("the store never says that the disk is full: it is %v", s.State())
				return
			}
		}
		<-time.After(500 * time.Millisecond) // it must not be the ballast that helps
		freed <- os.Remove(path)
	}()
	require.NoError(t, f.batch(func() {
		fs.gone.Store(true)
		filled <- hog(t, disk, 0)
	}))
	require.NoError(t, <-freed)
	fs.gone.Store(false)
	require.Greater(t, time.Since(begun), 500*time.Millisecond, "it did not wait")
	becomes(t, s, StateRunning)
	require.NoError(t, f.batch(nil))
	f.whole(t)
}

// A disk without room to open in is an error that says so; with room, nothing of
// what was acknowledged is missing.
func TestFault_B03_OpenOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 64*mb)
	dir := filepath.Join(disk, "store")
	opts := &Options{MinFree: 8 * mb, Logger: quiet()}
	sm := seams{limits: limits{table: 1 * mb}}
	s, err := open(dir, opts, sm)
	require.NoError(t, err)
	f := newFiller(t, s)
	require.NoError(t, f.batch(nil))
	require.NoError(t, s.Close())
	for _, free := range []int64{0, 64 << 10, 1 * mb} {
		path := hog(t, disk, free)
		_, err = open(dir, opts, sm)
		require.ErrorIs(t, err, ErrDiskFull, "%d free", free)
		require.NotErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, "make room")
		require.NoError(t, os.Remove(path))
	}
	s, err = open(dir, opts, sm)
	require.NoError(t, err)
	f.n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	f.whole(t)
	require.NoError(t, s.Close())
}
