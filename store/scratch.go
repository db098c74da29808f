package store

import "sync"

// scratch is the memory that batches work in. The store lends it for as long as a
// batch runs: a namespace that rests holds none, and the next batch, of whatever
// namespace, finds it warm in the processor's caches. What nobody has borrowed
// for a while goes to the garbage collector.
type scratch struct {
	ids     sync.Pool // of *idScratch
	indexes sync.Pool // of *indexScratch
}

// idScratch holds the IDs of a batch as they are stored.
type idScratch struct {
	raw    [][]byte // as they were given to Prepare
	idents []ident
	texts  []byte
	text   []byte
	ends   []int
}

// indexScratch is what segments need beside what they keep.
type indexScratch struct {
	found []found
	maybe [2][]maybe // of the owner and its scout
	spare []*run     // empty ones
	value []byte
	text  []byte // of an extended entry
}

func (b *batchIndex) borrow(from *scratch) {
	b.indexScratch = borrow[indexScratch](&from.indexes)
	b.ready.found = b.found
	for i, q := range b.probers() {
		q.maybe = b.maybe[i]
	}
}

func (b *batchIndex) probers() [2]*prober {
	return [...]*prober{&b.near, &b.ready.scout}
}

// giveBack gives everything back: nobody looks up any more.
func (b *batchIndex) giveBack(to *scratch) {
	b.keep(b.runs)
	b.found, b.ready.found = b.ready.found, nil
	for i, q := range b.probers() {
		clear(q.maybe[:cap(q.maybe)]) // a segment that is gone must not hang on
		b.maybe[i], q.maybe = q.maybe, nil
	}
	giveBack(&to.indexes, b.indexScratch)
	b.indexScratch = indexScratch{}
}

// spareBytes is how much memory of runs is kept for the batches that follow;
// one run is kept whatever its size.
const spareBytes = 1 << 20

// keep keeps the runs of a batch that has ended, as far as they fit.
func (s *indexScratch) keep(runs []*run) {
	size := int64(0)
	for _, r := range s.spare {
		size += r.bytes()
	}
	for _, r := range runs {
		if size += r.bytes(); len(s.spare) > 0 && size > spareBytes {
			return
		}
		r.g = nil
		s.spare = append(s.spare, r)
	}
}

func borrow[T any](from *sync.Pool) T {
	if v, ok := from.Get().(*T); ok {
		return *v
	}
	var none T
	return none
}

func giveBack[T any](to *sync.Pool, v T) { to.Put(&v) }
