package store

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// An arena grows by chunks that never move, gives back what it is told to
// forget, and counts what it has allocated.
func TestArena_GrowsAndForgets(t *testing.T) {
	var a arena
	var places []uint32
	var marks []mark
	var all [][]byte
	var sizes []int64
	for i := range 3000 {
		marks, sizes = append(marks, a.mark()), append(sizes, a.size)
		entry := bytes.Repeat([]byte{byte(i)}, 1+i%1000)
		tail, place, ok := a.room(len(entry))
		require.True(t, ok)
		first := a.at(place)
		a.fill(append(tail, entry...))
		require.Empty(t, first)
		all, places = append(all, entry), append(places, place)
	}
	require.Greater(t, len(a.chunks), 5)
	for i, p := range places {
		require.True(t, bytes.HasPrefix(a.at(p), all[i]), i)
	}
	for _, from := range []int{2999, 1500, 700, 1, 0} {
		require.Equal(t, bytes.Join(all[from:], nil), a.appendSince(nil, marks[from]))
		a.truncate(marks[from])
		require.Empty(t, a.appendSince(nil, marks[from]))
		if from > 0 {
			require.Equal(t, marks[from], a.mark())
			require.Equal(t, sizes[from], a.size)
			require.True(t, bytes.HasPrefix(a.at(places[from-1]), all[from-1]))
		}
		all, places = all[:from], places[:from]
	}
}

// A segment whose table is rolled back at any point of its growth answers as it
// did then, and takes the same markers again.
func TestExact_ResetAtEveryGrowth(t *testing.T) {
	const secret = 9
	b := base{origin: Position{TopicID: ID{1}}}
	put := func(x *exact, i, offset int) {
		m := marker{origin: Position{TopicID: ID{1}, Offset: int64(offset)}}
		_, ok := x.put(hashedIdent(i, secret), b, m)
		require.True(t, ok)
	}
	for _, kept := range []int{0, 1, 10, 11, 20, 21, 41, 83, 166, 332} {
		x := newExact(0)
		for i := range kept {
			put(x, i, i)
		}
		m := x.arena.mark()
		for i := range 400 { // replaces what is there, too
			put(x, i, 1000+i)
		}
		x.reset(m, b, secret)
		require.Equal(t, kept, x.table.n)
		g := &segment{facts: facts{base: b}, exact: x}
		for i := range 400 {
			got, ok := g.find(hashedIdent(i, secret))
			require.Equal(t, i < kept, ok)
			if ok {
				require.EqualValues(t, i, got.origin.Offset, "the older entry stands again")
			}
		}
		for i := range 400 {
			put(x, i, 2000+i)
		}
		require.Equal(t, 400, x.table.n)
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
	g := &segment{facts: facts{base: b}, exact: x}
	for i := range tableSpare + 1 {
		m, ok := g.find(id(i))
		require.True(t, ok)
		require.EqualValues(t, i, m.origin.Offset)
	}
}

func hashedIdent(i int, secret uint64) ident {
	return keyed(appendIdent(nil, []byte{byte(i >> 8), byte(i), 'x'}), secret)
}
