package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// aging is a namespace of long IDs on a real disk, of which a test says what
// time it is.
type aging struct {
	*testing.T
	disk string
	fs   *surprised
	now  time.Time
	s    *Store
	n    *Namespace
	next int64
}

func newAging(t *testing.T) *aging {
	t.Helper()
	a := &aging{T: t, disk: smallDisk(t, 64*mb), fs: &surprised{FS: vfs.Default}, now: t0.Add(time.Hour)}
	sm := seams{fs: a.fs, limits: limits{full: 10_000, small: 500, merge: mergeAbove, table: 1 * mb}}
	opts := &Options{
		// The ballast is a quarter: what relief needs, and half a megabyte for whatever
		// waits for room in the background, and is served before it.
		MinFree: 10 * mb, Memory: 4 * mb, CommitTimeout: 2 * time.Minute, Logger: quiet(),
		Now: func() time.Time { return a.now }, Witness: witnessNone,
	}
	var err error
	a.s, err = open(filepath.Join(a.disk, "store"), opts, sm)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.s.Close()) })
	a.n, err = a.s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	return a
}

func (a *aging) id(i int64) []byte { return fmt.Appendf(nil, "%d-%s", i, strings.Repeat("x", 200)) }

// batch accepts a thousand IDs at a time.
func (a *aging) batch(at time.Duration) error {
	next := a.next
	err := a.n.Update(func(b *Batch) error {
		for range 1000 {
			r := Record{ID: a.id(next), At: t0.Add(at), Origin: Position{TopicID: ID{1}, Offset: next}}
			if _, err := b.Do(r, nil); err != nil {
				return err
			}
			next++
		}
		return nil
	})
	if err == nil {
		a.next = next
	}
	return err
}

// fill accepts IDs until the disk is full, and waits until nothing is being written
// that takes room for a moment.
func (a *aging) fill() {
	a.Helper()
	var err error
	for err == nil {
		err = a.batch(0)
	}
	require.ErrorIs(a, err, ErrDiskFull)
	require.Greater(a, a.next, int64(20_000))
	require.Eventually(a, func() bool { return a.free() > 4*mb }, longEnough, time.Millisecond)
	settled(a.T, a.s)
}

func (a *aging) free() int64 {
	a.Helper()
	var st syscall.Statfs_t
	require.NoError(a, syscall.Statfs(a.disk, &st))
	return int64(st.Bavail) * st.Bsize
}

// A disk that the store has filled with markers: no record is accepted that could
// move the clock, so nothing would ever expire. Advance goes through, what has
// expired goes, and the store goes on, without anybody's making room.
func TestFault_B03_ExpiryMakesRoom(t *testing.T) {
	t.Parallel()
	a := newAging(t)
	a.fill()
	inState(t, a.s, StateDiskFull, ErrDiskFull)
	was := a.free()
	require.NoError(t, a.n.Advance(a.now))
	becomes(t, a.s, StateRunning)
	require.Eventually(t, func() bool { return a.free() > was+8*mb }, longEnough, 5*time.Millisecond,
		"%d bytes were free", was)
	st, err := a.n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Markers)
	require.Equal(t, a.next, st.Position.Offset)

	a.now = t0.Add(2 * time.Hour)
	require.NoError(t, a.batch(time.Hour))
	d, err := a.n.Do(Record{ID: a.id(0)}, nil)
	require.NoError(t, err)
	require.Equal(t, New, d.Verdict, "it has left the window")
	d, err = a.n.Do(Record{ID: a.id(a.next - 1)}, nil)
	require.NoError(t, err)
	require.Equal(t, Duplicate, d.Verdict)
}

// Somebody else has taken the last byte as well: the ballast is given up for it.
// When that is gone, too, Advance is refused at once, and poisons nothing.
func TestFault_B03_ExpiryOnTheLastByte(t *testing.T) {
	t.Parallel()
	a := newAging(t)
	a.fill()
	ballast := filepath.Join(a.disk, "store", ballastFile)
	require.FileExists(t, ballast)
	path := hog(t, a.disk, 0)
	require.NoError(t, a.n.Advance(t0.Add(time.Minute))) // nothing expires by that
	require.NoFileExists(t, ballast)

	path2 := filepath.Join(a.disk, "hog too")
	require.NoError(t, os.Rename(path, path2))
	path = hog(t, a.disk, 0)
	begun := time.Now()
	err := a.n.Advance(a.now)
	require.ErrorIs(t, err, ErrDiskFull)
	require.ErrorContains(t, err, "to give back what has expired takes 2.0 MB")
	require.Less(t, time.Since(begun), time.Minute, "it has waited for room")
	inState(t, a.s, StateDiskFull, ErrDiskFull)
	st, err := a.n.Status()
	require.NoError(t, err)
	require.Equal(t, at(time.Minute), st.Clock)

	// The larger one goes first: what a compaction that fails has written meanwhile
	// may be a part of what the other would free.
	require.NoError(t, os.Remove(path2))
	require.NoError(t, a.n.Advance(a.now))
	require.NoError(t, os.Remove(path))
	becomes(t, a.s, StateRunning)
	require.NoError(t, a.batch(time.Hour))
}
