package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firstseen/firstseen/window"
)

// life is a namespace beside a plain map of what it must know.
type life struct {
	name  string
	w     window.Window
	each  time.Duration // from one record to the next
	n     *Namespace
	first map[string]time.Time // F of the copy that was accepted last
	ids   []string             // in order of acceptance
	off   int64

	duplicates, outlived int // copies within the window, and beyond it
}

// hour hands the namespace the records of the hour that has just passed: new
// IDs, and every third one a copy of an ID that is up to an eighth older than the
// window.
func (l *life) hour(t *testing.T, rng *rand.Rand, end time.Time) {
	require.NoError(t, l.n.Update(func(b *Batch) error {
		for at := end.Add(l.each - time.Hour); !at.After(end); at = at.Add(l.each) {
			id := fmt.Sprintf("%s-%d", l.name, l.off)
			reach := min(len(l.ids), int(l.w.TTL()*9/8/l.each)*2/3)
			if rng.IntN(3) == 0 && reach > 0 {
				id = l.ids[len(l.ids)-1-rng.IntN(reach)]
			}
			want := New
			first, seen := l.first[id]
			if seen && at.Sub(first) < l.w.TTL() {
				want = Duplicate
				l.duplicates++
			} else if seen {
				l.outlived++
			}
			d, err := b.Do(Record{ID: []byte(id), At: at, Origin: Position{TopicID: ID{1}, Offset: l.off}}, nil)
			require.NoError(t, err)
			require.Equal(t, want, d.Verdict, "%s at %v, first seen %v", id, at, first)
			if want == Duplicate {
				require.True(t, first.Equal(d.First))
			} else {
				l.first[id], l.ids = at, append(l.ids, id)
			}
			l.off++
		}
		return nil
	}))
	st, err := l.n.Status()
	require.NoError(t, err)
	require.LessOrEqual(t, st.Segments, segmentsMost)
	require.Equal(t, l.off, st.Position.Offset)
}

// A store that lives for 24 days, an hour a batch, closed and opened again every
// third day: each answer is that of a map that forgets nothing, and what it takes
// does not grow once its windows are full. The bubble skips what the store waits
// for; the days are told by Options.Now, as the storage engine has a ticker of
// 100 ms, which a sleep of 24 days would see 20 million times.
func TestStore_TwentyFourDays(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	synctest.Test(t, liveFor24Days)
	goleak.VerifyNone(t, ignore)
}

func liveFor24Days(t *testing.T) {
	now := t0
	fs := vfs.NewMem()
	rng := rand.New(rand.NewPCG(24, 7))
	lives := []*life{
		{name: "week", w: window.Week, each: 2 * time.Minute},
		{name: "hour", w: window.Hour, each: min(20*heavy, 60) * time.Second},
	}
	var s *Store
	opened := func() {
		var err error
		s, err = open("store", &Options{Logger: quiet(), Now: func() time.Time { return now }},
			seams{fs: fs, limits: limits{full: 60, small: 8, merge: 10, table: 256 << 10}})
		require.NoError(t, err)
		for _, l := range lives {
			l.n, err = s.Namespace(l.name, &NamespaceOptions{Window: l.w})
			require.NoError(t, err)
		}
	}
	opened()
	for _, l := range lives {
		l.first = map[string]time.Time{}
		require.NoError(t, l.n.Update(func(b *Batch) error { // the first times set the clock
			for ; l.off < firstTimes; l.off++ {
				r := Record{ID: fmt.Append(nil, l.off), At: now, Origin: Position{TopicID: ID{1}, Offset: l.off}}
				if _, err := b.Do(r, nil); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	full := int64(0) // what it took at most in the ninth to twelfth day
	for day := 1; day <= 24; day++ {
		for hour := range 24 {
			now = now.Add(time.Hour)
			for _, l := range lives {
				l.hour(t, rng, now)
			}
			if day%3 == 0 && hour == day%24 {
				require.NoError(t, s.Close())
				opened()
			}
		}
		nothingDead(t, s, lives)
		synctest.Wait() // compactions, too
		switch size := sizeOf(t, fs, "store"); {
		case day <= 8:
		case day <= 12:
			full = max(full, size)
		default:
			require.LessOrEqual(t, size, full*5/4, "day %d", day)
		}
	}
	for _, l := range lives {
		require.Greater(t, l.duplicates, 1000, l.name)
		require.Greater(t, l.outlived, 100, l.name)
		t.Logf("%s: %d records, %d duplicates, %d copies beyond the window", l.name, l.off, l.duplicates, l.outlived)
	}
	require.NoError(t, s.Close())
}

// nothingDead fails unless the store, once it has had the time, has removed all
// that is over.
func nothingDead(t *testing.T, s *Store, lives []*life) {
	t.Helper()
	dead := -1
	for try := 0; dead != 0 && try < 5; try++ { // what ends a merge may begin another
		require.NoError(t, s.queue.drain())
		for _, l := range lives {
			require.NoError(t, l.n.Update(func(b *Batch) error { b.dirty = true; return nil }))
		}
		dead = count(t, s, kindDead)
	}
	require.Zero(t, dead, "dead records")
	require.NoError(t, s.queue.drain())
	files, err := s.fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files)
}

// count returns how many stored keys there are of a kind.
func count(t *testing.T, s *Store, kind byte) (n int) {
	t.Helper()
	require.NoError(t, s.scan([]byte{kind}, func(_, _ []byte) error { n++; return nil }))
	return n
}

// sizeOf returns the bytes of all files below dir, but for logs: those are used
// again, and bounded by the memtable.
func sizeOf(t *testing.T, fs vfs.FS, dir string) (size int64) {
	t.Helper()
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		fi, err := fs.Stat(path)
		require.NoError(t, err)
		switch {
		case fi.IsDir():
			size += sizeOf(t, fs, path)
		case !strings.HasSuffix(name, ".log"):
			size += fi.Size()
		}
	}
	return size
}
