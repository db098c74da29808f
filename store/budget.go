package store

import (
	"maps"
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
		<-n.owner
	}
}

func (s *Store) excised(ns uint32, seg uint64) {
	s.mu.Lock()
	n := s.byNumber[ns]
	s.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = append(n.gone, seg)
}

// relieve keeps the budget after a batch of n, whose owner calls it: first what
// is in memory beside a table goes, then tables are written. n itself gives up
// first, then namespaces that nobody owns just now.
func (s *Store) relieve(n *Namespace) {
	excess := s.memory.Load() - s.opts.Memory
	for _, give := range []func(index, int64) int64{index.release, index.relieve} {
		if excess <= 0 {
			return
		}
		if excess = give(n.index, excess); excess <= 0 {
			return
		}
		s.mu.Lock()
		others := slices.Collect(maps.Values(s.byNumber))
		s.mu.Unlock()
		for _, o := range others {
			if excess <= 0 {
				return
			}
			if o != n && o.tryOwn() {
				if o.loaded {
					excess = give(o.index, excess)
				}
				<-o.owner
			}
		}
	}
}
