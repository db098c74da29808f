package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// intoMerged reports whether a file operation is one of a kind on a merged table
// that is being written.
func intoMerged(op errorfs.Op, kind errorfs.OpKind) bool {
	var ns uint32
	var num uint64
	var try int
	_, name, ok := strings.Cut(op.Path, "/"+spillDir+"/")
	if !ok || op.Kind != kind {
		return false
	}
	_, err := fmt.Sscanf(name, "%08x-%016x-%d.sst", &ns, &num, &try)
	f := facts{num: num}
	return err == nil && f.merged()
}

// A merge has looked whether it is still wanted, and makes the file of its table;
// meanwhile what it is about to read has expired, and a batch deletes those shared
// tables, for which no queue is asked. That it finds no pages is no damage: it is
// over.
func TestMerge_SharedTablesGoBeside(t *testing.T) {
	reached := make(chan struct{})
	fs := newHanging(func(op errorfs.Op) bool {
		if !intoMerged(op, errorfs.OpCreate) {
			return false
		}
		close(reached) // a second merge would be a surprise
		return true
	})
	s, err := open("store", &Options{Logger: quiet(), Now: func() time.Time { return t0.Add(24 * time.Hour) }},
		seams{fs: fs, limits: limits{full: 1000, small: 500, merge: 2}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	for epoch := range int64(4) {
		accept(t, n, epoch*100, 100, int32(epoch))
	}
	require.NoError(t, n.own())
	require.Equal(t, 4, shareNow(t, n, 1))
	n.disown()

	fs.armed.Store(true)
	accept(t, n, 400, 1, 4) // and there are too many segments
	select {
	case <-reached:
	case <-time.After(time.Minute):
		t.Fatal("nothing is merged")
	}
	merging := indexOf(n).list[0].merging
	require.Len(t, merging.from, 4)
	require.NoError(t, n.Advance(t0.Add(3*time.Hour)))
	require.Zero(t, count(t, s, kindShared))
	close(fs.end)
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.Err())
	require.Nil(t, merging.done.Load())
	files, err := fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files)
}
