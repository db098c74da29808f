package fuzz

import (
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/firstseen/firstseen/store"
)

// passedRow says up to where the row's markers stood that was given up just now.
func (l *law) passedRow() {
	if l.ended.before < 0 {
		l.ended.before = l.pos.Offset
	}
}

// timeline returns what Status must say beside the clock. The text is a promise: outputs
// and offsets carry it.
func (l *law) timeline() store.Timeline {
	if l.largest == 0 && l.ended.at == 0 {
		return store.Timeline{}
	}
	low := int64(0)
	if len(l.jumps) > 0 {
		low = slices.Min(l.jumps)
	}
	text := []byte{0, byte(len(l.firsts))} // of no record; the times that were seen
	for _, n := range []int64{
		l.clock, l.clock - slices.Min(l.firsts), int64(len(l.jumps)), low - l.clock, l.largest - l.clock,
		l.ended.before, l.ended.at - l.clock,
	} {
		text = binary.AppendVarint(text, n)
	}
	t, err := store.ParseTimeline(base64.RawURLEncoding.EncodeToString(text))
	if err != nil {
		panic(err)
	}
	return t
}
