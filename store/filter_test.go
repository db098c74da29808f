package store

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeebo/xxh3"
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
