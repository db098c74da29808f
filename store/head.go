package store

import (
	"encoding/binary"
	"math"
	"slices"
)

// head is what a namespace knows of itself besides its markers. It is written
// whole with every batch, so it is true for exactly the markers of that batch.
type head struct {
	flow

	committed *Committed // K; never changed in place

	lastOffset  int64 // the record remembered; -1: none
	fingerprint uint64

	rewind   uint64
	forgets  uint64
	sequence uint64 // of the newest batch
	hasState bool

	settings uint64 // hash of the registry's entry, which could otherwise go back alone

	floor int64 // in C: a marker with F up to here had left a window before it changed

	next uint64 // the next segment's number
	sum  ledger // of every live marker, those of the row included
	row  ledger // of the row's markers

	sweeps uint64 // their checksum; 0: none

	note []byte // the caller's; never changed in place

	restore restoring // zero: none is under way
}

// flow is the part of a head that every record may move.
type flow struct {
	hasPos bool
	pos    Position // L
	clock  clock
	cov    coverage
	ended  rowEnd
}

func newHead() head {
	return head{flow: flow{cov: fromBeginning}, lastOffset: -1, floor: math.MinInt64}
}

const headFormat = 1

const (
	headHasPos = 1 << iota
	headOpen
	headCommitted
	headHasState
	headNote
	headRestoring
	headRowEnded
)

func (h *head) append(dst []byte) []byte {
	var flags byte
	for flag, on := range map[byte]bool{
		headHasPos: h.hasPos, headOpen: h.cov.open,
		headCommitted: h.committed != nil, headHasState: h.hasState, headNote: len(h.note) > 0,
		headRestoring: h.restore.on, headRowEnded: h.ended != (rowEnd{}),
	} {
		if on {
			flags |= flag
		}
	}
	dst = append(dst, headFormat, flags, byte(h.cov.reason), byte(h.clock.times))
	dst = appendPosition(dst, h.pos)
	for _, v := range []int64{
		h.clock.now, h.clock.first, int64(h.clock.jumps), h.clock.low, h.clock.high,
		h.cov.since, h.lastOffset, h.floor,
	} {
		dst = binary.AppendVarint(dst, v)
	}
	for _, v := range []uint64{h.settings, h.fingerprint, h.rewind, h.forgets, h.sequence, h.next, h.sweeps} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = h.row.append(h.sum.append(dst))
	if h.committed != nil {
		dst = binary.AppendVarint(dst, h.committed.Offset)
		dst = binary.AppendVarint(dst, int64(h.committed.LeaderEpoch))
		dst = appendPrefixed(dst, []byte(h.committed.Tag))
	}
	if len(h.note) > 0 {
		dst = appendPrefixed(dst, h.note)
	}
	if h.restore.on {
		dst = h.restore.append(dst)
	}
	if h.ended != (rowEnd{}) {
		dst = binary.AppendVarint(binary.AppendVarint(dst, h.ended.before), h.ended.first)
	}
	return dst
}

func parseHead(b []byte) (head, bool) {
	d := decoder{b: b}
	if d.byte() != headFormat {
		return head{}, false
	}
	flags := d.byte()
	var h head
	h.hasPos, h.cov.open, h.hasState = flags&headHasPos != 0, flags&headOpen != 0, flags&headHasState != 0
	h.cov.reason, h.clock.times = Reason(d.byte()), int(d.byte())
	h.pos = d.position()
	h.clock.now, h.clock.first, h.clock.jumps = d.varint(), d.varint(), int(d.varint())
	h.clock.low, h.clock.high, h.cov.since, h.lastOffset = d.varint(), d.varint(), d.varint(), d.varint()
	h.floor = d.varint()
	h.settings, h.fingerprint, h.rewind, h.forgets = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	h.sequence, h.next, h.sweeps = d.uvarint(), d.uvarint(), d.uvarint()
	h.sum, h.row = d.ledger(), d.ledger()
	if flags&headCommitted != 0 {
		h.committed = &Committed{Offset: d.varint(), LeaderEpoch: int32(d.varint()), Tag: string(d.prefixed())}
	}
	if flags&headNote != 0 {
		h.note = slices.Clone(d.prefixed())
		d.bad = d.bad || len(h.note) == 0
	}
	if flags&headRestoring != 0 {
		h.restore = parseRestoring(&d)
	}
	if flags&headRowEnded != 0 {
		h.ended = rowEnd{d.varint(), d.varint()}
		d.bad = d.bad || h.ended == (rowEnd{})
	}
	return h, !d.bad && len(d.b) == 0
}

// startAt sets the position of a namespace that had none in this log. Anything
// but the beginning of the log is a hole.
func (f *flow) startAt(p Position) {
	if p.Offset != 0 {
		f.cov = f.cov.opened(Cold)
	}
	f.hasPos, f.pos = true, p
}

// pass moves L behind a record.
func (f *flow) pass(origin Position) {
	if !origin.IsZero() {
		f.pos = origin
		f.pos.Offset++
	}
}
