package store

import (
	"errors"
	"time"
)

// SegmentState says what answers for a segment, and what may still come into it.
type SegmentState uint8

// The states of a segment, in the order of its life. The zero SegmentState is
// none.
const (
	_             SegmentState = iota
	SegmentOpen                // new markers come in; memory answers
	SegmentFrozen              // nothing comes in any more; memory answers
	SegmentKept                // its table is on disk; filter and memory answer for some of its pages
	SegmentSealed              // filter and table answer
)

// String returns the state's name in lower case.
func (s SegmentState) String() string {
	switch s {
	case SegmentOpen:
		return "open"
	case SegmentFrozen:
		return "frozen"
	case SegmentKept:
		return "kept"
	case SegmentSealed:
		return "sealed"
	default:
		return "none"
	}
}

// SegmentStats are figures of one segment: a slice of a namespace's time whose
// markers are stored, and dropped, together.
type SegmentStats struct {
	// Number of the segment; numbers are in order of acceptance.
	Number uint64
	// Places is how many segments it was merged from, itself included: 1 when
	// it was never merged.
	Places uint64
	// State of the segment.
	State SegmentState
	// Shared tells that its table lies among those of other namespaces.
	Shared bool
	// Markers it accepted. Superseded of them were replaced by a newer one of
	// the same ID, in the same segment.
	Markers, Superseded uint64
	// Opened is the clock when it was opened; Low and High are the lowest and
	// the highest First of its markers. It is dropped when High has left the
	// window.
	Opened, Low, High time.Time
	// Pages of its table, FilterBytes of its filter as it is in memory now,
	// TableBytes of the table on disk, as an estimate. Zero without a table.
	Pages       uint32
	FilterBytes int64
	TableBytes  uint64
	// MemoryBytes is what its markers take in memory: all of them, or those of the pages
	// that are kept.
	MemoryBytes int64
}

// Segments returns figures of the namespace's segments, oldest first, and nil
// while its markers are not in memory: before its first use, and after it was
// idle for so long that others needed the memory. It reads no marker.
func (n *Namespace) Segments() ([]SegmentStats, error) {
	if err := n.s.enter(); err != nil {
		return nil, err
	}
	defer n.s.leave()
	x := n.picture.Load().index
	if x == nil {
		return nil, nil
	}
	all := x.stats()
	err := n.s.fault.read("measure tables", func() error {
		for i := range all {
			if all[i].Pages == 0 {
				continue
			}
			f := facts{num: all[i].Number, shared: all[i].Shared}
			from := f.prefix(n.num)
			bytes, err := n.s.db.EstimateDiskUsage(from, after(from))
			if err != nil {
				return err
			}
			all[i].TableBytes = bytes
		}
		return nil
	})
	return all, errors.Join(err, n.there())
}

func (x *segments) stats() []SegmentStats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var all []SegmentStats
	for _, g := range x.list {
		st := SegmentStats{
			Number: g.num, Places: placeOfNum(g.num) - g.from + 1, State: x.stateOf(g), Shared: g.shared,
			Markers: g.all.n, Superseded: g.superseded.n,
			Opened: timeOf(g.opened), Low: timeOf(g.low), High: timeOf(g.high),
		}
		if g.table == nil {
			st.MemoryBytes = g.exact.bytes()
		} else {
			st.Pages, st.FilterBytes = g.pages, g.table.filter.bytes()
			if k := g.table.kept; k != nil {
				st.MemoryBytes = k.bytes
			}
		}
		all = append(all, st)
	}
	return all
}

// stateOf returns the state of a segment. Only with mu held, or by the owner.
func (x *segments) stateOf(g *segment) SegmentState {
	switch {
	case g.table != nil && g.table.kept == nil:
		return SegmentSealed
	case g.table != nil:
		return SegmentKept
	case g == x.open:
		return SegmentOpen
	default:
		return SegmentFrozen
	}
}
