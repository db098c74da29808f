package store

import (
	"math/bits"

	"github.com/bits-and-blooms/bloom/v3"
	"github.com/zeebo/xxh3"
)

// filter answers "never seen" for a sealed segment without a read: a Bloom
// filter of bits-and-blooms/bloom/v3 whose eight locations all lie in one block
// of 512 bits, one in each word, so a probe costs one cache line. The locations
// come from the ID's keyed hash: nobody can craft IDs that hit.
//
// (Blocks: Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom
// Filters", 2007; one bit a word: the split block filter of Apache Parquet.)
type filter struct {
	bloom *bloom.BloomFilter
	words []uint64 // the bloom filter's own
}

const (
	filterBits   = 16 // per marker: a false "maybe" for about 0.1 % of absent IDs
	filterHashes = 8
	blockWords   = 8
)

// filterWords returns how many words the filter of n markers has: an even number
// of blocks, so that it can be folded.
func filterWords(n uint64) int {
	blocks := (n*filterBits + 2*blockWords*64 - 1) / (2 * blockWords * 64)
	return int(max(blocks, 1)) * 2 * blockWords
}

// newFilter returns a filter over words, empty ones or those of a stored filter.
func newFilter(words []uint64) *filter {
	b := bloom.FromWithM(words, uint(len(words)*64), filterHashes)
	return &filter{bloom: b, words: b.BitSet().Words()}
}

// block returns the first word of the hash's block. Pages are ranges of the same
// half of the hash, so a spill fills the filter from front to back.
func (f *filter) block(h xxh3.Uint128) int {
	b, _ := bits.Mul64(h.Hi, uint64(len(f.words)/blockWords))
	return int(b) * blockWords
}

// touch loads a word of the hash's block, so that maybe finds it near.
func (f *filter) touch(h xxh3.Uint128) uint64 {
	if len(f.words) == 0 {
		return 0
	}
	return f.words[f.block(h)]
}

// bytes returns what the filter takes in memory.
func (f *filter) bytes() int64 { return int64(len(f.words)) * 8 }

// add enters a hash. Not safe beside any other use.
func (f *filter) add(h xxh3.Uint128) {
	w := f.words[f.block(h):][:blockWords]
	for i := range w {
		w[i] |= 1 << (h.Lo >> (6 * i) & 63)
	}
}

// folded returns a filter of half the size over the same markers: since a block
// is a range of the hash, two neighbours become one by a bitwise or. It says
// "maybe" more often and never forgets.
func (f *filter) folded() *filter {
	words := make([]uint64, len(f.words)/2)
	for i := range words {
		at := i/blockWords*2*blockWords + i%blockWords
		words[i] = f.words[at] | f.words[at+blockWords]
	}
	return newFilter(words)
}

// maybe reports whether the hash may have been added. The filter that was given
// up, the zero one, says so of every hash.
func (f *filter) maybe(h xxh3.Uint128) bool {
	if len(f.words) == 0 {
		return true
	}
	w := f.words[f.block(h):][:blockWords]
	x := h.Lo
	all := (w[0] >> (x & 63)) & (w[1] >> (x >> 6 & 63)) &
		(w[2] >> (x >> 12 & 63)) & (w[3] >> (x >> 18 & 63)) &
		(w[4] >> (x >> 24 & 63)) & (w[5] >> (x >> 30 & 63)) &
		(w[6] >> (x >> 36 & 63)) & (w[7] >> (x >> 42 & 63))
	return all&1 != 0
}
