package store

import "github.com/cockroachdb/pebble/v2"

// A filter is a shortcut: all that it says is in the pages. So one that is
// damaged is no reason to stop, it is made anew, in memory, from pages that prove
// that they are whole. The next merge writes it to disk.

// filter returns the filter of a table. it may be anywhere in the tables.
func (l *loader) filter(it *pebble.Iterator, f *facts) (*filter, error) {
	raw, err := l.filterBytes(it, f)
	if err == nil {
		var words []uint64
		if words, err = f.wordsOf(raw); err == nil {
			return newFilter(words), nil
		}
	}
	made, failed := l.filterOfPages(it, f)
	if failed != nil {
		return nil, failed
	}
	s := l.n.s
	s.refilled.Add(1)
	s.opts.Logger.Warn("a damaged filter was made anew", "namespace", l.n.name, "segment", f.num, "err", err)
	return made, nil
}

// filterBytes reads a filter as it was stored. Damage is met by whoever reads,
// and does not stop the store.
func (l *loader) filterBytes(it *pebble.Iterator, f *facts) ([]byte, error) {
	l.n.s.fault.sparing.Add(1)
	defer l.n.s.fault.sparing.Add(-1)
	raw := make([]byte, 0, int(f.words)*8)
	for i := uint32(0); len(raw) < int(f.words)*8; i++ {
		key := f.key(nil, l.n.num, partFilter, i)
		if !it.SeekGE(key) || string(it.Key()) != string(key) {
			return raw, it.Error() // too short, if it is not an error
		}
		chunk, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		raw = append(raw, chunk...)
	}
	return raw, nil
}

// filterOfPages makes the filter of a table anew.
func (l *loader) filterOfPages(it *pebble.Iterator, f *facts) (*filter, error) {
	damaged := func(page uint32) error {
		return corruptf("namespace %q, segment %d: its filter and its page %d are damaged", l.n.name, f.num, page)
	}
	made := newFilter(make([]uint64, filterWords(f.live())))
	seeds := f.seedsOf(l.n.s.secret)
	var sum ledger
	it.SeekGE(f.key(nil, l.n.num, partPage, 0))
	for p := range f.pages {
		if !it.Valid() || string(it.Key()) != string(f.key(nil, l.n.num, partPage, p)) {
			if err := it.Error(); err != nil {
				return nil, err
			}
			return nil, damaged(p)
		}
		page, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		if !f.eachIn(page, l.n.s.secret, func(e *stored) {
			made.add(e.hash)
			sum.add(e.proof(seeds))
		}) {
			return nil, damaged(p)
		}
		if p+1 < f.pages { // behind the last page is what is damaged
			it.Next() // its error is met by the next page
		}
	}
	if sum.add(f.superseded); sum != f.all {
		return nil, corruptf("namespace %q, segment %d: its filter is damaged, and its table does not hold what it accepted",
			l.n.name, f.num)
	}
	return made, nil
}
