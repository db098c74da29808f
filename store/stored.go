package store

// stored is a marker as it stands in a run or in a page.
type stored struct {
	ident // its text is within the run or page
	marker
	base int // among the segment's
}

func (e *stored) proof(seeds []uint64) ledger {
	return proof(e.hash, e.first, e.origin.Offset, seeds[e.base])
}

// eachIn calls fn for every entry of a page, or of a run of a segment that was
// never merged, in order of arrival for each base. It reports false where they
// are damaged.
func (f *facts) eachIn(page []byte, secret uint64, fn func(*stored)) bool {
	var e stored
	return f.blocks(page, func(i int, entries []byte) bool {
		for len(entries) > 0 {
			n, m, size := f.bases[i].parse(entries)
			if size == 0 {
				return false
			}
			e = stored{keyed(entries[:n:n], secret), m, i}
			fn(&e)
			entries = entries[size:]
		}
		return true
	})
}
