package store

// stored is an entry as it stands in a run or in a page: a marker, or a
// tombstone.
type stored struct {
	ident         // its plain text
	marker        // a tombstone's says only when it was entered
	entry  []byte // its bytes, and those behind it
	base   int    // among the segment's
}

func (e *stored) proof(seeds []uint64) ledger {
	return proofAs(e.entry, e.hash, e.marker, seeds[e.base])
}

// tombstone reports whether the entry says that its ID is forgotten.
func (e *stored) tombstone() bool { return flagsOf(e.entry)&flagTombstone != 0 }

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
			m.restored = flagsOf(entries)&flagRestored != 0
			e = stored{keyed(plainText(entries[:n:n]), secret), m, entries, i}
			fn(&e)
			entries = entries[size:]
		}
		return true
	})
}
