package adapter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/firstseen/firstseen/window"
)

// note is what the adapter keeps with a position, in the store's own batch
// (store.Batch.SetNote): what policies did to it, and who gave the times below it.
// The zero value is an empty one.
//
//	format | flags | count | count times: from, length, clock
type note struct {
	skipped []skip // in order and apart
	merged  bool   // skipped covers more than was skipped

	broken    bool // the state misses records that were passed over
	stateless bool // the group came with an offset and without state (row 5)

	stamp stamp // of the newest record that has a time
}

// skip is a range that a policy skipped: it has no markers and is not restored.
type skip struct {
	offsetRange
	clock int64 // of the namespace when it was skipped, Unix milliseconds
}

const (
	noteFormat    = 1
	noteMerged    = 1
	noteBroken    = 2
	noteStateless = 4
	noteStamp     = 8 // and 16: who gave the times

	// noteMost is how many ranges a note keeps. It is written with every batch.
	noteMost = 200
)

var errNote = errors.New("adapter: what is kept with a position cannot be read; " +
	"it was written by a newer release, run that one")

func (n note) encode() []byte {
	if len(n.skipped) == 0 && !n.merged && !n.broken && !n.stateless && n.stamp == unstamped {
		return nil
	}
	flags := byte(n.stamp) * noteStamp
	for flag, on := range map[byte]bool{noteMerged: n.merged, noteBroken: n.broken, noteStateless: n.stateless} {
		if on {
			flags |= flag
		}
	}
	b := binary.AppendUvarint([]byte{noteFormat, flags}, uint64(len(n.skipped)))
	last := int64(0)
	for _, s := range n.skipped {
		b = binary.AppendUvarint(b, uint64(s.From-last))
		b = binary.AppendUvarint(b, uint64(s.To-s.From))
		b = binary.AppendVarint(b, s.clock)
		last = s.To
	}
	return b
}

func decodeNote(b []byte) (n note, err error) {
	if len(b) == 0 {
		return n, nil
	}
	if len(b) < 2 || b[0] != noteFormat {
		return n, errNote
	}
	n.merged, n.broken, n.stateless = b[1]&noteMerged != 0, b[1]&noteBroken != 0, b[1]&noteStateless != 0
	n.stamp = stamp(b[1] / noteStamp)
	if n.stamp > byBroker {
		return note{}, errNote
	}
	r := numbers{rest: b[2:]}
	last := int64(0)
	for count := r.uvarint(); count > 0 && !r.bad; count-- {
		s := skip{}
		s.From = last + int64(r.uvarint())
		s.To = s.From + int64(r.uvarint())
		s.clock = r.varint()
		if s.From < last || s.To <= s.From {
			return note{}, errNote
		}
		n.skipped = append(n.skipped, s)
		last = s.To
	}
	if r.bad || len(r.rest) > 0 {
		return note{}, errNote
	}
	return n, nil
}

// skip returns the note with more ranges skipped, at this clock. Ranges that
// touch become one, with the later clock; and where there are too many, those
// with the smallest gaps between them.
func (n note) skip(clock int64, ranges ...offsetRange) note {
	all := slices.Clone(n.skipped)
	for _, r := range ranges {
		if r.From < r.To {
			all = append(all, skip{r, clock})
		}
	}
	slices.SortFunc(all, func(a, b skip) int { return cmp.Compare(a.From, b.From) })
	n.skipped = nil
	for _, s := range all {
		if last := len(n.skipped) - 1; last >= 0 && s.From <= n.skipped[last].To {
			n.fuse(last, s)
		} else {
			n.skipped = append(n.skipped, s)
		}
	}
	for len(n.skipped) > noteMost {
		least := 1
		for i := range n.skipped[1:] {
			if n.gap(i+1) < n.gap(least) {
				least = i + 1
			}
		}
		n.fuse(least-1, n.skipped[least])
		n.skipped = slices.Delete(n.skipped, least, least+1)
		n.merged = true
	}
	return n
}

func (n note) fuse(i int, s skip) {
	n.skipped[i].To = max(n.skipped[i].To, s.To)
	n.skipped[i].clock = max(n.skipped[i].clock, s.clock)
}

// gap is what lies between a range and the one before it.
func (n note) gap(i int) int64 { return n.skipped[i].From - n.skipped[i-1].To }

// within returns the note without the ranges that have left the window.
func (n note) within(w window.Window, clock int64) note {
	n.skipped = slices.DeleteFunc(slices.Clone(n.skipped), func(s skip) bool {
		return !w.ContainsMillis(s.clock, clock)
	})
	n.merged = n.merged && len(n.skipped) > 0
	return n
}

// ranges are those for the tag.
func (n note) ranges() []offsetRange {
	var all []offsetRange
	for _, s := range n.skipped {
		all = append(all, s.offsetRange)
	}
	return all
}
