package store

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is stored is read back as it was, and no bytes make a parser panic or
// read past its end.

func FuzzEntry(f *testing.F) {
	f.Add([]byte("id"), int64(1), int64(2), int64(3), int64(4), []byte{})
	f.Add([]byte("0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2b"), int64(math.MaxInt64), int64(math.MinInt64),
		int64(-1), int64(math.MaxInt64), []byte{0x80})
	f.Add(bytes.Repeat([]byte{0}, 300), int64(0), int64(0), int64(0), int64(0),
		bytes.Repeat([]byte{0xff}, 30))
	f.Fuzz(func(t *testing.T, id []byte, first, offset, baseFirst, baseOffset int64, rest []byte) {
		b := base{origin: Position{TopicID: ID{1}, Partition: 2, Offset: baseOffset, LeaderEpoch: 3},
			first: baseFirst}
		if len(id) > 0 {
			text := appendIdent(nil, id)
			m := marker{first: first, origin: b.origin}
			m.origin.Offset = offset
			entry := b.appendEntry(nil, text, m)
			n, got, size := b.parse(append(bytes.Clone(entry), rest...))
			require.Equal(t, len(text), n)
			require.Equal(t, m, got)
			require.Equal(t, len(entry), size)
			require.LessOrEqual(t, size, len(text)+20, "what the arena makes room for")
			found, ok, whole := b.find(entry, text)
			require.True(t, ok && whole)
			require.Equal(t, m, found)
		}
		if n, _, size := b.parse(rest); size != 0 {
			require.LessOrEqual(t, size, len(rest))
			require.Less(t, n, size)
		}
		b.find(rest, []byte{1})
		if v, tail, ok := parseBase(rest); ok {
			require.Equal(t, rest, append(v.append(nil), tail...))
		}
	})
}

// R14: two IDs have one text if and only if they are equal.
func FuzzIdent(f *testing.F) {
	uuid := "0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2b"
	raw, _ := hex.DecodeString("0189d7a45b2f7c3e8d4a9b6c5e4f3a2b")
	f.Add([]byte(uuid), raw)
	f.Add([]byte(uuid), []byte("0189D7A4-5B2F-7C3E-8D4A-9B6C5E4F3A2B"))
	f.Add([]byte(uuid), []byte("0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2c"))
	f.Add([]byte("0189d7a4_5b2f-7c3e-8d4a-9b6c5e4f3a2b"),
		[]byte("0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a-b"))
	f.Add(bytes.Repeat([]byte("x"), 256), bytes.Repeat([]byte("x"), 257))
	f.Add([]byte{0}, []byte{0, 0})
	f.Add([]byte("a\xff\x00"), []byte("a\xff"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(b) == 0 {
			t.Skip("an ID is not empty")
		}
		x, y := appendIdent(nil, a), appendIdent(nil, b)
		require.Equal(t, bytes.Equal(a, b), bytes.Equal(x, y))
		require.False(t, len(x) < len(y) && bytes.HasPrefix(y, x),
			"an entry begins with its own text only")
		require.Equal(t, len(x), textLen(append(x, b...)), "the text tells its length")
		require.LessOrEqual(t, len(x), maxRaw+2)
		require.LessOrEqual(t, textLen(a), len(a))
		if len(a) != 36 {
			return
		}
		if u, ok := parseUUID(a); ok {
			h := hex.EncodeToString(u[:])
			require.Equal(t, string(a), h[:8]+"-"+h[8:12]+"-"+h[12:16]+"-"+h[16:20]+"-"+h[20:])
		}
	})
}

// Keys are equal exactly if their parts are, and lie in the order of their parts.
func FuzzKey(f *testing.F) {
	f.Add(uint32(1), uint64(2), byte(0), uint32(3), uint32(1), uint64(2), byte(1), uint32(0),
		[]byte("k"), []byte{})
	f.Add(uint32(math.MaxUint32), uint64(math.MaxUint64), byte(255), uint32(math.MaxUint32),
		uint32(0), uint64(0), byte(0), uint32(0), []byte{0xff}, []byte{0xff, 0xff})
	f.Fuzz(func(t *testing.T, ns uint32, seg uint64, part byte, i uint32,
		ns2 uint32, seg2 uint64, part2 byte, i2 uint32, user, user2 []byte) {
		parts := cmp.Or(cmp.Compare(ns, ns2), cmp.Compare(seg, seg2))
		require.Equal(t, cmp.Or(parts, cmp.Compare(part, part2), cmp.Compare(i, i2)),
			bytes.Compare(tableKey(nil, ns, seg, part, i), tableKey(nil, ns2, seg2, part2, i2)))
		require.Equal(t, cmp.Or(parts, cmp.Compare(part, part2)),
			bytes.Compare(runKey(ns, seg, uint64(part)), runKey(ns2, seg2, uint64(part2))))
		require.Equal(t, cmp.Or(parts, cmp.Compare(i, i2)),
			bytes.Compare(outKey(ns, seg, i), outKey(ns2, seg2, i2)))
		require.Equal(t, cmp.Or(cmp.Compare(ns, ns2), bytes.Compare(user, user2)),
			bytes.Compare(stateKey(ns, user), stateKey(ns2, user2)), "D05, D06")
		require.Equal(t, bytes.Compare(user, user2),
			bytes.Compare(nameKey(string(user)), nameKey(string(user2))))
		num, ok := segOf(runKey(ns, seg, 1))
		require.True(t, ok)
		require.Equal(t, seg, num)
		segOf(user)

		end := after(user) // above exactly the keys that begin with user
		inside := end == nil || bytes.Compare(user2, end) < 0
		require.Equal(t, bytes.HasPrefix(user2, user), bytes.Compare(user2, user) >= 0 && inside)
	})
}

func FuzzHead(f *testing.F) {
	h := newHead()
	f.Add(h.append(nil))
	h.flow = flow{hasPos: true, pos: Position{TopicID: ID{1}, Partition: 2, Offset: 3,
		LeaderEpoch: -1},
		clock: clock{now: 4, first: 5, times: 8, jumps: 6, low: 7, high: 8},
		cov:   coverage{since: 9, reason: Cold}}
	h.committed = &Committed{Offset: 10, LeaderEpoch: -1, Tag: "tag"}
	f.Add(h.append(nil))
	f.Add([]byte{headFormat, 0xff, 9, 200})
	f.Add([]byte{headFormat + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHead(b)
		if ok {
			again, ok := parseHead(h.append(nil))
			require.True(t, ok)
			require.Equal(t, h, again)
		}
		if r, ok := parseStoreRecord(b); ok {
			require.Equal(t, b, r.append(nil))
		}
	})
}

// A row is read back with its markers in order, and proves to be the same.
func FuzzRow(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), int64(1), int64(2), int64(3), []byte{})
	f.Add([]byte("a"), []byte("a"), int64(math.MinInt64), int64(math.MaxInt64), int64(-1),
		make([]byte, baseSize+3))
	f.Add([]byte{0xff}, bytes.Repeat([]byte{0}, 300), int64(0), int64(0), int64(0), []byte{0x80})
	f.Fuzz(func(t *testing.T, a, b []byte, first, offset, older int64, rest []byte) {
		const secret = 5
		var r row
		for i, id := range [][]byte{a, b} {
			if len(id) > 0 {
				o := Position{TopicID: ID{1}, Partition: 2, Offset: offset + int64(i), LeaderEpoch: -1}
				r.add(rowMarker{keyed(appendIdent(nil, id), secret), marker{first: first, origin: o}, older})
			}
		}
		if len(a) > 0 && bytes.Equal(a, b) {
			require.Len(t, r.list, 1, "the only one of its ID")
		}
		stored := r.append(nil)
		got, ok := parseRow(stored, secret)
		require.True(t, ok)
		require.Equal(t, r.list, got.list)
		require.Equal(t, r.ledger(secret), got.ledger(secret))
		if len(stored) > 0 {
			_, ok = parseRow(stored[:len(stored)-1], secret)
			require.False(t, ok, "a row that ends early")
		}
		if r, ok := parseRow(rest, secret); ok {
			again, ok := parseRow(r.append(nil), secret)
			require.True(t, ok)
			require.Equal(t, r.list, again.list)
		}
	})
}

// The facts of a segment have one form only.
func FuzzFacts(f *testing.F) {
	v := facts{
		num: 7 << generationBits, from: 6, opened: 3, low: 4, high: math.MaxInt64,
		all: ledger{5, 6, 7}, superseded: ledger{8, 9, 10},
		bases: []base{
			{Position{TopicID: ID{1}, Partition: 2, Offset: 3, LeaderEpoch: -1}, math.MinInt64},
			{Position{TopicID: ID{2}, Offset: math.MaxInt64}, 5},
		},
		pages: 11, words: 12, filterSum: math.MaxUint64,
	}
	f.Add(v.append(nil))
	f.Add(v.append(nil)[1:])
	f.Add(append(v.append(nil), 0))
	f.Add(v.append(nil)[:len(v.append(nil))-baseSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := parseFacts(b)
		if ok {
			require.Equal(t, b, v.append(nil))
			require.NotEmpty(t, v.bases)
		}
	})
}
