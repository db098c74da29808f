package store

import (
	"cmp"
	"slices"
)

// What namespaces do for each other: the one budget, and what the queue tells.

// settle lets an idle namespace let go of what the queue has put into a table.
// A busy one does so itself, when its next batch begins.
func (s *Store) settle(ns uint32) {
	s.mu.Lock()
	n := s.byNumber[ns]
	s.mu.Unlock()
	if n != nil && n.tryOwn() {
		if n.loaded {
			n.index.adopt()
		}
		n.giveBack()
	}
}

func (s *Store) excised(ns uint32, seg uint64) {
	s.mu.Lock()
	n := s.byNumber[ns]
	s.mu.Unlock()
	if n == nil {
		return // deleted, and the dead record with it
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaving[seg] = true
}

// relieve keeps the budgets after a batch of n, whose owner calls it.
//
// Markers: what is in memory beside a table goes first; then namespaces that are
// idle put their segments into shared tables, and are unloaded, those idle longest
// first; then tables are written. Filters: they are halved, then dropped. Each time
// n gives up first, then the namespaces that nobody owns just now: none is waited
// for.
func (s *Store) relieve(n *Namespace) {
	s.ask(n, s.makeRoom(n, true), (*Namespace).relieve)
}

// makeRoom keeps the budgets as far as a batch may be held up by it; unless writes,
// as far as that takes no writing, which is all that n may ask for whose markers
// were only read. It returns what is still too much of markers.
func (s *Store) makeRoom(n *Namespace, writes bool) (excess int64) {
	excess = s.ask(n, s.memory.Load()-s.opts.Memory, (*Namespace).release)
	if excess > 0 {
		excess = s.makeMuch(n, excess, writes)
	}
	filters := s.ask(n, s.filters.Load()-s.opts.FilterMemory, (*Namespace).squeeze)
	s.ask(n, filters, (*Namespace).strip)
	return excess
}

// makeMuch makes more room than is needed, so that not every batch has to ask: a
// full batch of shared tables, or an eighth of the budget.
func (s *Store) makeMuch(n *Namespace, excess int64, writes bool) (left int64) {
	more := s.opts.Memory / 8
	full := writes
	for full && excess > 0 {
		left, batch := s.share(n, excess+more)
		excess, full = left-more, batch
	}
	if full {
		return excess
	}
	return s.ask(nil, excess+more, (*Namespace).unload) - more
}

// ask has namespaces give up memory until excess bytes are gone, n, which the
// caller owns, first. It returns what is left of excess.
func (s *Store) ask(n *Namespace, excess int64, give func(*Namespace, int64) int64) int64 {
	if excess > 0 && n != nil {
		excess = give(n, excess)
	}
	if excess <= 0 {
		return excess
	}
	for _, o := range s.resting(n) {
		if excess <= 0 {
			break
		}
		if o.tryOwn() {
			if o.loaded {
				excess = give(o, excess)
			}
			o.giveBack()
		}
	}
	return excess
}

// resting returns the loaded namespaces but n, those idle longest first. They may be
// owned all the same.
func (s *Store) resting(n *Namespace) []*Namespace {
	var all []*Namespace
	s.mu.Lock()
	for _, o := range s.byNumber {
		if o != n && o.picture.Load().index != nil {
			all = append(all, o)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Namespace) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	return all
}

func (n *Namespace) release(excess int64) int64 { return n.index.release(excess) }
func (n *Namespace) relieve(excess int64) int64 { return n.index.relieve(excess) }
func (n *Namespace) squeeze(excess int64) int64 { return n.index.squeeze(excess) }
func (n *Namespace) strip(excess int64) int64   { return n.index.strip(excess) }

// unload lets the next use read the markers back.
func (n *Namespace) unload(excess int64) int64 {
	freed, done := n.index.unload()
	if done {
		n.index, n.loaded = nil, false
		n.show()
	}
	return excess - freed
}
