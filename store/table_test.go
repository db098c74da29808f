package store

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// An arena takes the entries of another one, whole, at places that it tells, and
// moves nothing that it holds.
func TestArena_TakesAnother(t *testing.T) {
	b := base{origin: Position{TopicID: ID{1}}}
	var a arena
	var all [][]byte
	var places []uint32
	for n := range 40 {
		var from arena
		var at []uint32
		for i := range []int{0, 1, 7, 500, 6000}[n%5] {
			text := appendIdent(nil, bytes.Repeat([]byte{byte(i + 1)}, 1+(n*i)%256))
			m := marker{first: int64(i), origin: Position{TopicID: ID{1}, Offset: int64(n)}}
			tail, place, ok := from.room(len(text) + 20)
			require.True(t, ok)
			tail = b.appendEntry(tail, text, m)
			from.fill(tail)
			at, all = append(at, place), append(all, from.at(place))
		}
		moves, ok := a.take(&from, nil)
		require.True(t, ok)
		for _, place := range at {
			i := slices.IndexFunc(moves, func(m moved) bool { return place < m.end })
			places = append(places, place+moves[i].by)
		}
	}
	require.Greater(t, len(a.chunks), 5)
	size := int64(0)
	for _, c := range a.chunks {
		size += int64(cap(c))
	}
	require.Equal(t, size, a.size)
	for i, p := range places {
		require.True(t, bytes.HasPrefix(a.at(p), all[i]), i)
	}
	require.Equal(t, bytes.Join(all, nil), a.appendTo(nil))
	a.clear()
	require.Empty(t, a.appendTo(nil))
	require.Len(t, a.chunks, 1)
}

// A segment that absorbs runs answers as one that took their markers one by one,
// at every growth; what a newer entry of the same ID replaces is told.
func TestExact_AbsorbsRuns(t *testing.T) {
	const secret = 9
	b := base{origin: Position{TopicID: ID{1}}}
	put := func(x *exact, i, offset int) {
		m := marker{origin: Position{TopicID: ID{1}, Offset: int64(offset)}}
		_, ok := x.put(hashedIdent(i, secret), b, m)
		require.True(t, ok)
	}
	x, run := newExact(0), newExact(0)
	newest := map[int]int{}
	offset := 0
	for _, n := range []int{0, 1, 10, 11, 20, 21, 41, 83, 166, 332, 2000, 1} {
		run.clear()
		replaced := map[int64]bool{}
		for i := range n {
			id := i * 7 % 500
			if was, ok := newest[id]; ok && was < offset-i {
				replaced[int64(was)] = true
			}
			put(run, id, offset)
			newest[id] = offset
			offset++
		}
		require.True(t, x.absorb(run, func(e []byte) {
			m, _ := b.parseMarker(e[textLen(e):])
			require.True(t, replaced[m.origin.Offset], m.origin.Offset)
			delete(replaced, m.origin.Offset)
		}))
		require.Empty(t, replaced)
		require.Equal(t, len(newest), x.table.n)
		g := &segment{facts: facts{bases: []base{b}}, exact: x}
		for i := range 500 {
			got, ok := g.find(hashedIdent(i, secret))
			want, there := newest[i]
			require.Equal(t, there, ok)
			require.EqualValues(t, want, got.origin.Offset)
		}
	}
}

// As many IDs with one hash as there are slots behind the last home: they fit,
// and none is lost.
func TestExact_FullNeighbourhood(t *testing.T) {
	b := base{origin: Position{TopicID: ID{1}}}
	x := newExact(0)
	id := func(i int) ident { // the last home of every table
		v := hashedIdent(i, 1)
		v.hash.Hi = 0xffff_ffff_ffff_ffff
		return v
	}
	for i := range tableSpare + 1 {
		_, ok := x.put(id(i), b, marker{origin: Position{TopicID: ID{1}, Offset: int64(i)}})
		require.True(t, ok)
	}
	g := &segment{facts: facts{bases: []base{b}}, exact: x}
	for i := range tableSpare + 1 {
		m, ok := g.find(id(i))
		require.True(t, ok)
		require.EqualValues(t, i, m.origin.Offset)
	}
}

func hashedIdent(i int, secret uint64) ident {
	return keyed(appendIdent(nil, []byte{byte(i >> 8), byte(i), 'x'}), secret)
}
