package store

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"

	"github.com/firstseen/firstseen/window"
)

func hashOf(i int) xxh3.Uint128 {
	return xxh3.Hash128Seed(binary.BigEndian.AppendUint64(nil, uint64(i)), 42)
}

// locations are the bits of a hash: one in each word of its block.
func locations(f *filter, h xxh3.Uint128) []uint64 {
	var all []uint64
	for i := range blockWords {
		all = append(all, uint64(f.block(h)+i)*64+h.Lo>>(6*i)&63)
	}
	return all
}

// The filter answers as a filter of bloom/v3 with the same locations, holds
// every marker (I7), and takes fewer than 2 of 1,000 absent IDs for present.
func TestFilter_IsBloomV3(t *testing.T) {
	for _, n := range []int{1, 50, 1000, 50_000} {
		f := newFilter(make([]uint64, filterWords(uint64(n))))
		oracle := newFilter(make([]uint64, len(f.words))).bloom
		require.EqualValues(t, len(f.words)*64, f.bloom.Cap())
		require.EqualValues(t, filterHashes, f.bloom.K())
		for i := range n {
			f.add(hashOf(i))
			for _, l := range locations(f, hashOf(i)) {
				oracle.BitSet().Set(uint(l))
			}
		}
		require.Equal(t, oracle.BitSet().Words(), f.words)
		wrong := 0
		for i := range n + 100_000 {
			h := hashOf(i)
			got := f.maybe(h)
			require.Equal(t, oracle.TestLocations(locations(f, h)), got)
			if i < n {
				require.True(t, got)
			} else if got {
				wrong++
			}
		}
		require.Less(t, wrong, 200, "of 100,000 absent IDs, %d markers", n)
		t.Logf("%d markers: %d of 100,000 absent IDs", n, wrong)
	}
}

// readsFS counts the reads of tables, and their bytes.
type readsFS struct {
	vfs.FS
	reads, bytes atomic.Int64
}

func (f *readsFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return file, err
	}
	return &readsFile{file, f}, nil
}

func (f *readsFS) Unwrap() vfs.FS { return f.FS }

type readsFile struct {
	vfs.File
	fs *readsFS
}

func (f *readsFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.fs.reads.Add(1)
	f.fs.bytes.Add(int64(n))
	return n, err
}

// An ID that no filter takes for present costs no read, prepared or not, and
// hardly any absent ID costs one.
func TestFilter_AbsentIDCostsNoRead(t *testing.T) {
	const full, sealed = 10_000, 4
	fs := &readsFS{FS: vfs.NewMem()}
	begin := func() (*Store, *Namespace) {
		s, err := open("store", nil, seams{fs: fs, limits: limits{full: full, small: 1, merge: mergeAbove}})
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
		return s, n
	}
	s, n := begin()
	require.NoError(t, n.Update(func(b *Batch) error {
		for i := range sealed*full + 1 { // the last one closes the last segment
			_, err := b.Do(Record{ID: fmt.Appendf(nil, "id-%d", i)}, nil)
			require.NoError(t, err)
		}
		return nil
	}))
	require.NoError(t, s.queue.drain())
	require.NoError(t, n.Update(func(b *Batch) error { // the tables take the place of runs
		return b.Pass(Record{}, nil)
	}))
	require.NoError(t, s.Close())

	s, n = begin() // nothing is cached
	defer func() { require.NoError(t, s.Close()) }()
	require.NoError(t, n.Load())
	x := n.index.(*segments)
	require.Len(t, x.list, sealed+1)
	wrong := 0
	require.NoError(t, n.Update(func(*Batch) error {
		var absent []ident
		for i := range 20_000 {
			id := keyed(appendIdent(nil, fmt.Appendf(nil, "absent-%d", i)), s.secret)
			maybe := false
			for _, g := range x.list[:sealed] {
				require.Nil(t, g.exact)
				maybe = maybe || g.table.filter.maybe(id.hash)
			}
			if maybe {
				wrong++
			} else {
				absent = append(absent, id)
			}
		}
		before := fs.reads.Load()
		x.prepare(absent)
		for i, id := range absent {
			for _, at := range []int{i, -1} {
				_, found, err := x.lookup(id, at)
				require.NoError(t, err)
				require.False(t, found)
			}
		}
		require.Equal(t, before, fs.reads.Load(), "reads for absent IDs")
		for i := range 100 {
			_, found, err := x.lookup(keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", i)), s.secret), -1)
			require.NoError(t, err)
			require.True(t, found)
		}
		require.Greater(t, fs.reads.Load(), before, "reads are counted")
		return nil
	}))
	require.Less(t, wrong, 2*sealed*20, "of 20,000 absent IDs, %d filters", sealed)
	t.Logf("%d of 20,000 absent IDs cost a read, %d filters", wrong, sealed)
}
