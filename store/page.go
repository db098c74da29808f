package store

import (
	"encoding/binary"
)

// A page holds the entries of one range of the hash. In a segment of one base
// it is nothing but entries, in order of arrival. A merged segment has several
// bases, and its pages are blocks of entries, the oldest base first:
//
//	+----------------+------------------+---------+
//	| uvarint(base)  | uvarint(length)  | entries |   again and again
//	+----------------+------------------+---------+
//
// So a merge copies entries as they are.

// find returns the last entry of an ID in a page. A page that does not parse to
// its end is damaged.
func (f *facts) find(page, text []byte) (m marker, found, ok bool) {
	ok = f.blocks(page, func(i int, entries []byte) bool {
		v, hit, whole := f.bases[i].find(entries, text)
		if hit {
			m, found = v, true
		}
		return whole
	})
	return m, found, ok
}

// blocks calls fn for the entries of each base in a page. It reports false where
// the page is damaged, or when fn does.
func (f *facts) blocks(page []byte, fn func(base int, entries []byte) bool) bool {
	if len(f.bases) == 1 {
		return fn(0, page)
	}
	for len(page) > 0 {
		i, n := binary.Uvarint(page)
		if n <= 0 || i >= uint64(len(f.bases)) {
			return false
		}
		size, k := binary.Uvarint(page[n:])
		if k <= 0 || size > uint64(len(page)-n-k) {
			return false
		}
		page = page[n+k:]
		if !fn(int(i), page[:size]) {
			return false
		}
		page = page[size:]
	}
	return true
}

// appendBlock appends a block of entries of a merged segment's page.
func appendBlock(dst []byte, base int, entries []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(base))
	return appendPrefixed(dst, entries)
}
