package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// keptStore has one segment of 200,000 markers, which is more than three slabs.
func keptStore(t *testing.T, memory int64) (*Store, *Namespace, *segment) {
	s := openMem(t, Options{Memory: memory}, limits{full: 200_000, small: 50_000, merge: mergeAbove})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	accept(t, n, 0, 200_000, 0)
	accept(t, n, 200_000, 1, 0)
	require.NoError(t, s.queue.drain())
	accept(t, n, 200_001, 1, 0)
	g := indexOf(n).list[0]
	require.NotNil(t, g.table)
	return s, n, g
}

// isDuplicate asks for some IDs of the segment and some that are absent.
func isDuplicate(t *testing.T, n *Namespace) {
	rng := rand.New(rand.NewPCG(1, 2))
	var ids [][]byte
	for range 1000 {
		ids = append(ids, fmt.Appendf(nil, "id-%d", rng.IntN(200_000)), fmt.Appendf(nil, "absent-%d", rng.Int()))
	}
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		b.Prepare(ids)
		for i, id := range ids {
			d, err := b.Do(Record{ID: id}, nil)
			require.NoError(t, err)
			require.Equal(t, i%2 == 0, d.Verdict == Duplicate, "%s", id)
		}
		return errNotKept
	}), errNotKept)
}

// What is kept of a table are its pages, byte for byte. They answer without a
// read, are given up slab by slab, and what is left of them and the table always
// answer the same.
func TestKept_IsGivenUpInParts(t *testing.T) {
	s, n, g := keptStore(t, 64<<20)
	k := g.table.kept
	require.Len(t, k.at, int(g.pages))
	require.Greater(t, len(k.slabs), 2)
	it, err := (&prober{}).over(indexOf(n), g)
	require.NoError(t, err)
	for i := range g.pages {
		require.True(t, it.SeekGE(g.key(nil, n.num, partPage, i)))
		page, ok := k.page(i)
		require.True(t, ok)
		require.True(t, bytes.Equal(it.Value(), page), "page %d", i)
	}
	require.NoError(t, it.Close())

	reads := func() (read int) {
		for i := range 100 {
			w, err := n.Why(fmt.Appendf(nil, "id-%d", i*2000))
			require.NoError(t, err)
			require.Equal(t, Duplicate, w.Decision.Verdict)
			require.Equal(t, w.Read == 0, w.Place.State == SegmentKept && k.has(w.Place.Page))
			read += w.Read
		}
		return read
	}
	last := -1
	for left := len(k.slabs); left >= 0; left-- {
		isDuplicate(t, n)
		read := reads()
		require.Greater(t, read, last)
		require.Equal(t, left == 0, read == 100)
		last = read
		before := s.memory.Load()
		require.NoError(t, n.own())
		excess := n.index.release(1)
		n.disown()
		if left > 0 {
			require.LessOrEqual(t, excess, int64(0))
			require.Equal(t, 1-excess, before-s.memory.Load())
		} else {
			require.Equal(t, int64(1), excess)
			require.Nil(t, g.table.kept)
		}
	}
	isDuplicate(t, n)
}

func (k *kept) has(page uint32) bool { _, ok := k.page(page); return ok }

// A kept page that does not parse is no answer: the table on disk has it.
func TestKept_DamagedPageIsReadFromDisk(t *testing.T) {
	_, n, g := keptStore(t, 64<<20)
	for _, slab := range g.table.kept.slabs {
		slab[len(slab)-1] = 0x80 // the last number of the last page has no end
	}
	content, ok := g.table.kept.page(g.pages - 1)
	require.True(t, ok)
	require.NoError(t, n.own())
	read := 0
	g.facts.blocks(content, func(_ int, entries []byte) bool {
		for len(entries) > 0 && entryLen(entries) > 0 {
			id, _ := readText(entries[:textLen(entries)])
			entries = entries[entryLen(entries):]
			w, err := n.Why(id)
			require.NoError(t, err)
			require.Equal(t, Duplicate, w.Decision.Verdict)
			require.Positive(t, w.Read)
			read++
		}
		return true
	})
	n.disown()
	require.Positive(t, read)
	isDuplicate(t, n)
}

// Nothing is kept for which something would have to go that is in no table.
func TestKept_NeverCostsWhatIsInNoTable(t *testing.T) {
	_, n, g := keptStore(t, 5<<20)
	if k := g.table.kept; k != nil {
		t.Logf("%d of %d bytes were kept", k.bytes, g.live()*16)
		require.Less(t, len(k.slabs), 2)
	}
	isDuplicate(t, n)
}

// Pages of any size lie where they are looked for: empty ones, one that fills its
// slab, one that is larger than any.
func TestKept_PagesOfAnySize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var pages [][]byte
	total := int64(0)
	for _, size := range []int{
		0, 10, 0, slabMax - 10, 0, 0, slabMax, 0, 2*slabMax + 1, 0, 5, slabMax/2 + 1, slabMax / 2, 7, 0,
	} {
		page := make([]byte, size)
		for i := range page {
			page[i] = byte(rng.Uint32())
		}
		pages, total = append(pages, page), total+int64(size)
	}
	for refused := range len(pages) {
		asked := 0
		k := newKept(uint32(len(pages)), total, func(int64) bool { asked++; return asked != refused })
		for _, page := range pages {
			k.add(page)
		}
		for i, want := range pages {
			got, ok := k.page(uint32(i))
			if !ok {
				require.True(t, k.full)
				require.Equal(t, i, len(k.at), "those before it are all there")
				break
			}
			require.True(t, bytes.Equal(want, got), "page %d", i)
		}
		require.Equal(t, k.full, refused > 0 && asked == refused)
		slabs := k.bytes - int64(len(pages)*4)
		require.Equal(t, 1<<40-slabs, k.release(1<<40))
		require.Equal(t, int64(len(pages)*4), k.bytes)
	}
}
