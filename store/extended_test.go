package store

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An extended entry stands in the place of the plain one of its ID, and of no
// other; its proof covers its flags.
func TestExtended(t *testing.T) {
	b := base{origin: Position{TopicID: ID{1}, Offset: 5}, first: 7}
	ids := []string{"a", "b", "0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2b", strings.Repeat("x", 256), strings.Repeat("x", 257)}
	m := marker{first: math.MaxInt64, origin: b.origin}
	for i, id := range ids {
		text := appendIdent(nil, []byte(id))
		for _, flags := range []byte{flagRestored, flagTombstone, flagRestored | flagTombstone} {
			long := appendExtended(nil, text, flags)
			e := b.appendEntry(nil, long, m)
			n, got, size := b.parse(append(bytes.Clone(e), 1, 2, 3))
			require.Equal(t, len(long), n)
			require.Equal(t, m, got)
			require.Equal(t, len(e), size)
			require.LessOrEqual(t, size, len(long)+20, "what the arena makes room for")
			require.Equal(t, text, plainText(long))
			require.Equal(t, flags, flagsOf(e))
			for k, other := range ids {
				o := appendIdent(nil, []byte(other))
				require.Equal(t, i == k, startsWith(e, o))
				require.Equal(t, i == k, startsWith(b.appendEntry(nil, o, m), long))
				require.Equal(t, i == k, startsWith(e, appendExtended(nil, o, flagRestored)))
				found, ok, whole := b.find(e, o)
				require.True(t, whole)
				require.Equal(t, i == k, ok)
				if ok && flags == flagRestored {
					require.True(t, found.restored)
					found.restored = false
					require.Equal(t, m, found)
				} else if ok {
					require.EqualValues(t, forgotten, found.first)
				}
			}
			for cut := range len(long) {
				require.Zero(t, textLen(long[:cut]))
			}
			hash := hashText(text, 3)
			proofs := map[ledger]bool{proof(hash, m.first, m.origin.Offset, 9): true}
			for f := range byte(4) {
				proofs[proofAs(appendExtended(nil, text, f), hash, m, 9)] = true
			}
			require.Len(t, proofs, 5)
			require.Equal(t, proofAs(e, hash, m, 9), b.proofOf(e, hash, 9))
		}
	}
	e := appendExtended(nil, appendIdent(nil, []byte("a")), 1<<2)
	require.Zero(t, textLen(e), "flags that nobody knows")
	e = appendExtended(nil, appendIdent(nil, []byte("a")), flagTombstone)
	e[2] = kindExtended
	require.Zero(t, textLen(e), "extended twice")
}

// Sweeps are read back as they were.
func FuzzSweeps(f *testing.F) {
	all := []sweep{
		{num: 1, below: 2, what: sweepAll},
		{num: 2, below: 2, what: sweepOrigins, topic: ID{3}, partition: -1, from: 0, to: math.MaxInt64},
		{num: math.MaxUint64, below: math.MaxUint64, what: sweepTimes, from: math.MinInt64, to: 5, first: -6},
	}
	stored := appendSweeps(nil, all)
	got, ok := parseSweeps(stored)
	require.True(f, ok)
	require.Equal(f, all, got)
	f.Add(stored)
	f.Add(stored[:len(stored)-1])
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, ok := parseSweeps(b); ok {
			again, ok := parseSweeps(appendSweeps(nil, all))
			require.True(t, ok)
			require.Equal(t, all, again)
		}
	})
}
