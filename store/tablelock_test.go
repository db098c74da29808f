package store

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// gated is a disk in memory on which links of tables wait: those into the
// database, which an Ingest makes, or those into a checkpoint.
type gated struct {
	vfs.FS
	into   atomic.Pointer[string]        // part of the path of links that wait; nil: none
	passed atomic.Pointer[chan struct{}] // until this is closed
	linked atomic.Int64                  // into the database
	taken  atomic.Int64                  // operations on a checkpoint
}

func (g *gated) Link(from, to string) error {
	if part := g.into.Load(); part != nil && strings.Contains(to, *part) && strings.HasSuffix(to, ".sst") {
		<-*g.passed.Load()
	}
	if strings.Contains(to, unsealedSuffix) {
		g.taken.Add(1)
	} else if strings.HasSuffix(to, ".sst") {
		g.linked.Add(1)
	}
	return g.FS.Link(from, to)
}

func (g *gated) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.Contains(path, unsealedSuffix) {
		g.taken.Add(1)
	}
	return g.FS.Create(path, c)
}

// hold lets such links wait, and returns what ends that.
func (g *gated) hold(part string) (pass func()) {
	passed := make(chan struct{})
	g.passed.Store(&passed)
	g.into.Store(&part)
	return func() {
		g.into.Store(nil)
		close(passed)
	}
}

// A checkpoint is asked for while a table is put into the database: it begins
// when that has ended. While it is taken, no table comes into the database; and
// the batches go on. Both pictures are whole.
func TestStore_CheckpointAndIngestTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := &gated{FS: vfs.NewMem()}
		sm := seams{fs: fs, limits: limits{full: 20, small: 5, merge: 1000}}
		s, err := open("dir/store", &Options{Logger: quiet()}, sm)
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
		next := int64(0)
		more := func() {
			accept(t, n, next, 15, 0)
			next += 15
		}
		whole := func(dir string, least int64) {
			require.NoError(t, adopt(dir, nil, sm))
			a, err := open(dir, &Options{Logger: quiet()}, sm)
			require.NoError(t, err)
			n, err := a.Namespace("a", nil)
			require.NoError(t, err)
			require.NoError(t, n.Load())
			st, err := n.Status()
			require.NoError(t, err)
			require.GreaterOrEqual(t, st.Position.Offset, least)
			for o := range st.Position.Offset {
				_, found, err := n.Lookup(fmtID(o))
				require.NoError(t, err)
				require.True(t, found, "%d of %d", o, st.Position.Offset)
			}
			r, err := a.Verify(context.Background(), nil)
			require.NoError(t, err)
			require.Empty(t, r.Damage)
			require.NoError(t, a.Close())
		}

		pass := fs.hold("/store/db/")
		more()
		more() // the first segment is full: its table is on its way
		synctest.Wait()
		require.Zero(t, fs.linked.Load())
		require.Len(t, s.tablesLock, 1, "the Ingest has not begun")
		at := next
		first := make(chan error, 1)
		go func() { first <- s.Checkpoint(context.Background(), "dir/one") }()
		ctx, cancel := context.WithCancel(context.Background())
		second := make(chan error, 1)
		go func() { second <- s.Checkpoint(ctx, "dir/never") }()
		synctest.Wait()
		require.Zero(t, fs.taken.Load(), "a checkpoint is taken beside an Ingest")
		cancel()
		require.ErrorIs(t, <-second, context.Canceled)
		more() // is held up by neither
		pass()
		require.NoError(t, <-first)
		require.Positive(t, fs.linked.Load())
		whole("dir/one", at)

		require.NoError(t, s.queue.drain())
		linked := fs.linked.Load()
		pass = fs.hold(unsealedSuffix)
		at = next
		go func() { first <- s.Checkpoint(context.Background(), "dir/two") }()
		synctest.Wait()
		more()
		more()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, linked, fs.linked.Load(), "a table came into the database while a checkpoint was taken")
		pass()
		require.NoError(t, <-first)
		require.NoError(t, s.queue.drain())
		require.Greater(t, fs.linked.Load(), linked)
		whole("dir/two", at)

		// Close ends one that still waits.
		pass = fs.hold("/store/db/")
		more()
		more()
		synctest.Wait()
		go func() { first <- s.Checkpoint(context.Background(), "dir/three") }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		require.ErrorIs(t, <-first, ErrClosed)
		pass()
		require.NoError(t, <-closed)
		left, err := fs.List("dir")
		require.NoError(t, err)
		for _, name := range left {
			require.NotContains(t, name, unsealedSuffix)
			require.NotEqual(t, "three", name)
		}
	})
}

// halfway is a disk in memory that stops the first write to a merged table.
type halfway struct {
	vfs.FS
	reached, goOn chan struct{}
	armed         atomic.Bool
}

func (h *halfway) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := h.FS.Create(path, c)
	if err != nil || !strings.Contains(path, "/"+spillDir+"/") {
		return f, err
	}
	var ns uint32
	var num uint64
	var try int
	_, err = fmt.Sscanf(h.PathBase(path), "%08x-%016x-%d.sst", &ns, &num, &try)
	if err == nil && num != placeOfNum(num)<<generationBits {
		return &halfwayFile{f, h}, nil
	}
	return f, err
}

type halfwayFile struct {
	vfs.File
	h *halfway
}

func (f *halfwayFile) Write(b []byte) (int, error) {
	if f.h.armed.CompareAndSwap(true, false) {
		close(f.h.reached)
		<-f.h.goOn
	}
	return f.File.Write(b)
}

// The store is closed while a merge is between two of its steps: the half table
// is gone, and what it was to be made of is what the next opening finds.
func TestMerge_HalfDoneAtClose(t *testing.T) {
	const full = 40_000
	require.Greater(t, pagesFor(2*full), uint32(mergeStep), "a merge takes one step")
	fs := &halfway{FS: vfs.NewMem(), reached: make(chan struct{}), goOn: make(chan struct{})}
	fs.armed.Store(true)
	sm := seams{fs: fs, limits: limits{full: full, small: full / 4, merge: 2}}
	s, err := open("store", &Options{Logger: quiet()}, sm)
	require.NoError(t, err)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	next := int64(0)
	begun := func() bool {
		select {
		case <-fs.reached:
			return true
		default:
			return false
		}
	}
	for !begun() { // merges begin with a batch
		count := int64(full / 4)
		if next > 3*full {
			count = 1
			settleQueue(t, s, fs.reached)
		}
		accept(t, n, next, count, 0)
		next += count
		require.Less(t, next, int64(4*full), "nothing is merged")
	}
	files, err := fs.List(s.spillDir())
	require.NoError(t, err)
	require.Len(t, files, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.queue.stop
	close(fs.goOn) // the step ends, and none follows
	require.NoError(t, <-closed)
	files, err = fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files, "a half-written table is left")

	s, err = open("store", &Options{Logger: quiet()}, sm)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	for _, g := range n.index.(*segments).list {
		require.False(t, g.merged(), "a merge that was given up is there")
	}
	r, err := s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, r.Damage)
	for o := int64(0); o < next; o += 7 {
		m, found, err := n.Lookup(fmtID(o))
		require.NoError(t, err)
		require.True(t, found, o)
		require.Equal(t, o, m.Origin.Offset)
	}
	accept(t, n, next, 1, 0) // and the merge is done after all
	require.Positive(t, merges(mergedNow(t, s, n)))
}

// settleQueue waits until the queue is idle, or reached is closed.
func settleQueue(t *testing.T, s *Store, reached chan struct{}) {
	t.Helper()
	idle := make(chan error, 1)
	go func() { idle <- s.queue.drain() }()
	select {
	case err := <-idle:
		require.NoError(t, err)
	case <-reached:
	}
}
