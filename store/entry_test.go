package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
)

func TestFault_D04_D05_StoredIDs(t *testing.T) {
	uuid := "0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2b"
	long := strings.Repeat("x", 257)
	tests := []struct {
		name, id string
		kind     byte
		size     int // of the bytes behind the first number
	}{
		{"raw", "a", kindRaw, 1},
		{"raw, the longest", strings.Repeat("x", 256), kindRaw, 256},
		{"canonical UUID", uuid, kindUUID, 16},
		{"UUID in capitals", strings.ToUpper(uuid), kindRaw, 36},
		{"UUID with another dash", strings.Replace(uuid, "-", "_", 1), kindRaw, 36},
		{"36 digits", strings.Repeat("a", 36), kindRaw, 36},
		{"D04: long", long, kindDigest, sha256.Size},
		{"D04: a megabyte", strings.Repeat("x", 1<<20), kindDigest, sha256.Size},
		{"D05: NUL", "\x00", kindRaw, 1},
		{"D05: 0xFF", "\xff\xff", kindRaw, 2},
		{"D05: invalid UTF-8", "a\xc3(", kindRaw, 3},
	}
	seen := map[string]string{}
	for _, tt := range tests {
		text := string(appendIdent(nil, []byte(tt.id)))
		require.Equal(t, tt.kind, text[0]&7, tt.name)
		require.True(t, strings.HasSuffix(tt.id, text[len(text)-tt.size:]) == (tt.kind == kindRaw),
			tt.name)
		require.Empty(t, seen[text], tt.name)
		seen[text] = tt.name
	}
	sum := sha256.Sum256([]byte(long))
	require.NotContains(t, seen, string(appendIdent(nil, sum[:])),
		"a digest is never equal to a raw ID")
}

// Hashes only find a place: IDs whose whole hash is the same stay two IDs, in
// memory and in a page.
func TestFault_D07_SameHashTwoIDs(t *testing.T) {
	hash := xxh3.Uint128{Hi: 1 << 40, Lo: 5}
	b := base{origin: Position{TopicID: ID{1}}}
	x := newExact(0)
	ident := func(i int) ident {
		return ident{text: appendIdent(nil, fmt.Appendf(nil, "id-%d", i)), hash: hash}
	}
	var page []byte
	for i := range 40 {
		m := marker{first: int64(i), origin: Position{TopicID: ID{1}, Offset: int64(i)}}
		require.Less(t, x.slot(ident(i)), 0)
		before, ok := x.put(ident(i), b, m)
		require.True(t, ok)
		require.Nil(t, before)
		page = b.appendEntry(page, ident(i).text, m)
	}
	g := &segment{facts: facts{bases: []base{b}}, exact: x}
	for i := range 40 {
		m, ok := g.find(ident(i))
		require.True(t, ok)
		require.Equal(t, int64(i), m.origin.Offset)
		m, ok, whole := b.find(page, ident(i).text)
		require.True(t, ok && whole)
		require.Equal(t, int64(i), m.origin.Offset)
	}
}

// The last entry of a page is the last accepted, and a page that does not parse
// to its end is damage, even behind a hit.
func TestBase_Find(t *testing.T) {
	b := base{origin: Position{TopicID: ID{1}, Offset: 100}, first: 1000}
	text := appendIdent(nil, []byte("x"))
	var page []byte
	for i := range 3 {
		origin := Position{TopicID: ID{1}, Offset: 50 + int64(i)}
		page = b.appendEntry(page, text, marker{first: 1000 - int64(i), origin: origin})
	}
	m, found, whole := b.find(page, text)
	require.True(t, found && whole)
	require.Equal(t, marker{first: 998, origin: Position{TopicID: ID{1}, Offset: 52}}, m)
	_, found, whole = b.find(page, appendIdent(nil, []byte("y")))
	require.True(t, !found && whole)
	_, _, whole = b.find(page[:len(page)-1], text)
	require.False(t, whole)
	_, found, whole = b.find(nil, text)
	require.True(t, !found && whole)
}

func TestTable_GrowsAndFinds(t *testing.T) {
	b := base{origin: Position{TopicID: ID{1}}}
	x := newExact(0)
	id := func(i int) ident { return keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", i)), 3) }
	for i := range 20_000 {
		_, ok := x.put(id(i), b, marker{origin: Position{TopicID: ID{1}, Offset: int64(i)}})
		require.True(t, ok)
	}
	require.Equal(t, 20_000, x.table.n)
	require.False(t, overloaded(x.table.n, x.table.bits))
	before, ok := x.put(id(5), b, marker{origin: Position{TopicID: ID{1}, Offset: 99}})
	require.True(t, ok)
	require.True(t, bytes.HasPrefix(before, id(5).text))

	g := &segment{facts: facts{bases: []base{b}}, exact: x}
	for i := range 20_000 {
		m, ok := g.find(id(i))
		require.True(t, ok, i)
		if i != 5 {
			require.Equal(t, int64(i), m.origin.Offset)
		} else {
			require.EqualValues(t, 99, m.origin.Offset)
		}
	}
	n := 0
	require.True(t, x.each(b, 3, func(got ident, m marker, place uint32) {
		if n < 20_000 {
			require.Equal(t, id(n), got)
		}
		require.True(t, bytes.HasPrefix(x.arena.at(place), got.text))
		n++
	}))
	require.Equal(t, 20_001, n)
}

// A neighbourhood that is full is told, and a larger table cures it.
func TestTable_NeighbourhoodIsFull(t *testing.T) {
	tab := newTable(8)
	n := 0
	for tab.insert(slotOf(math.MaxUint32, uint32(n))) {
		n++
	}
	require.Equal(t, tableSpare+1, n, "the last home and the spare slots")
	g := tab.grown()
	require.Equal(t, n, g.n)
	require.Greater(t, g.bits, tab.bits)
}

// The length of an entry's numbers is that of the numbers as they are read,
// whatever follows them.
func TestMarkerLen(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	b := base{origin: Position{Offset: 1 << 40}, first: 1 << 41}
	for range 100_000 {
		m := marker{first: b.first + int64(rng.Uint64()>>rng.IntN(64))}
		m.origin.Offset = b.origin.Offset - int64(rng.Uint64()>>rng.IntN(64))
		e := b.appendEntry(nil, nil, m)
		n := len(e)
		for range rng.IntN(12) {
			e = append(e, byte(rng.Uint32()))
		}
		require.Equal(t, n, markerLen(e), "%x", e)
		require.Zero(t, markerLen(e[:n-1]), "%x", e[:n-1])
		got, size := b.parseMarker(e)
		require.Equal(t, n, size)
		require.Equal(t, m, got)
	}
	require.Zero(t, markerLen(nil))
	require.Zero(t, markerLen([]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}))
}
