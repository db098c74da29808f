package adapter

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"
	"strings"

	"github.com/firstseen/firstseen/store"
)

// ErrTag is returned when the metadata of a committed offset is a firstseen tag
// that cannot be read: damaged, or written by a newer release.
var ErrTag = errors.New("adapter: the tag of a committed offset cannot be read")

const (
	tagPrefix = "fs1."
	tagMax    = 4096 // characters; Kafka's default offset.metadata.max.bytes
)

// An offsetRange is the offsets from From up to, not including, To.
type offsetRange struct{ From, To int64 }

// An offsetTag is what firstseen puts into the metadata of every offset it commits, so
// that the next start, of this store or another, knows who committed it (R11).
type offsetTag struct {
	// StoreID is the store's identity; OpenID that of its opening.
	StoreID, OpenID [16]byte
	// TopicID is the log that the offset counts in.
	TopicID [16]byte
	// Rewind is raised by every reset of the offset that was honoured.
	Rewind uint64
	// Sequence is the newest batch of which, and of all before it, the outputs
	// are acknowledged, or are in the transaction of this commit.
	Sequence uint64
	// Clock is the namespace's clock, in Unix milliseconds.
	Clock int64
	// Timeline is what the clock holds beside it.
	Timeline store.Timeline
	// Forgets counts the forgets of the namespace.
	Forgets uint64
	// Skipped are the ranges that a policy skipped within the window, in order
	// and apart.
	Skipped []offsetRange
	// Merged says that Skipped covers more than was skipped: ranges were joined
	// over their gaps so that they fit. encode sets it when it does that.
	Merged bool
	// HasState says that the namespace holds user state.
	HasState bool
}

const (
	tagHasState = 1 << iota
	tagMerged
	tagTimeline
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the tag as ASCII text of at most 4,096 characters, always the
// same for the same tag. Skipped is put in order; when it does not fit, the
// neighbours with the smallest gaps between them are joined, no more than
// needed, and the text says that they are. The tag itself stays as it is. The
// error is for a range that is empty, reversed or negative.
func (t offsetTag) encode() (string, error) {
	for _, r := range t.Skipped {
		if r.From < 0 || r.To <= r.From {
			return "", fmt.Errorf("adapter: the skipped range [%d, %d) is not one; "+
				"give offsets from 0 on, the lower one first", r.From, r.To)
		}
	}
	t.Skipped = union(t.Skipped)
	text := t.text()
	if len(text) <= tagMax {
		return text, nil
	}
	// gaps[i] is the place of a gap: between ranges i and i+1. Joining over it
	// always makes the text shorter, so the fewest joins can be searched for.
	gaps := make([]int, len(t.Skipped)-1)
	for i := range gaps {
		gaps[i] = i
	}
	ranges := t.Skipped
	size := func(i int) int64 { return ranges[i+1].From - ranges[i].To }
	slices.SortStableFunc(gaps, func(a, b int) int { return cmp.Compare(size(a), size(b)) })
	t.Merged = true
	n := sort.Search(len(gaps), func(n int) bool {
		t.Skipped = join(ranges, gaps[:n])
		return len(t.text()) <= tagMax
	})
	t.Skipped = join(ranges, gaps[:n])
	return t.text(), nil
}

// text returns the tag as it is, however long: the prefix and, in base64, flags,
// the three IDs, the numbers, the timeline if it is any, the count and the ranges (each as its distance
// from the one before and its length), and a CRC-32C of all that.
func (t offsetTag) text() string {
	var flags byte
	if t.HasState {
		flags |= tagHasState
	}
	if t.Merged {
		flags |= tagMerged
	}
	if t.Timeline != (store.Timeline{}) {
		flags |= tagTimeline
	}
	b := append(make([]byte, 0, 128), flags)
	b = append(b, t.StoreID[:]...)
	b = append(b, t.OpenID[:]...)
	b = append(b, t.TopicID[:]...)
	b = binary.AppendUvarint(b, t.Rewind)
	b = binary.AppendUvarint(b, t.Sequence)
	b = binary.AppendVarint(b, t.Clock)
	b = binary.AppendUvarint(b, t.Forgets)
	if told := t.Timeline.String(); told != "" {
		b = append(binary.AppendUvarint(b, uint64(len(told))), told...)
	}
	b = binary.AppendUvarint(b, uint64(len(t.Skipped)))
	last := int64(0)
	for _, r := range t.Skipped {
		b = binary.AppendUvarint(b, uint64(r.From-last))
		b = binary.AppendUvarint(b, uint64(r.To-r.From))
		last = r.To
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return tagPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// decodeTag reads the metadata of a committed offset. Text that firstseen did
// not write is not ours, which is no error. ErrTag says that it is ours and
// cannot be read.
func decodeTag(s string) (t offsetTag, ours bool, err error) {
	version, payload, dot := strings.Cut(s, ".")
	digits, fs := strings.CutPrefix(version, "fs")
	if !dot || !fs || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return offsetTag{}, false, nil
	}
	if version+"." != tagPrefix {
		return offsetTag{}, true, fmt.Errorf("%w: it is of format %.20s, this release reads fs1; "+
			"run the release that committed it, or a newer one", ErrTag, version)
	}
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || len(s) > tagMax || !t.parse(b) || t.text() != s {
		return offsetTag{}, true, fmt.Errorf("%w: it is damaged; commit the offset again "+
			"with a store that knows it", ErrTag)
	}
	return t, true, nil
}

// parse fills the tag from the bytes that text encodes, and reports whether
// they can be read. The checksum, and that nothing else encodes the same tag,
// are checked by comparing with text.
func (t *offsetTag) parse(b []byte) bool {
	const fixed = 1 + 3*16
	if len(b) < fixed+4 {
		return false
	}
	body := b[:len(b)-4]
	t.HasState = body[0]&tagHasState != 0
	t.Merged = body[0]&tagMerged != 0
	copy(t.StoreID[:], body[1:])
	copy(t.OpenID[:], body[17:])
	copy(t.TopicID[:], body[33:])
	r := numbers{rest: body[fixed:]}
	t.Rewind = r.uvarint()
	t.Sequence = r.uvarint()
	t.Clock = r.varint()
	t.Forgets = r.uvarint()
	if body[0]&tagTimeline != 0 {
		var err error
		if t.Timeline, err = store.ParseTimeline(r.text()); err != nil {
			return false
		}
	}
	last := int64(0)
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		from := last + int64(r.uvarint())
		to := from + int64(r.uvarint())
		touches := len(t.Skipped) > 0 && from == last
		if from < last || to <= from || touches {
			return false
		}
		t.Skipped = append(t.Skipped, offsetRange{from, to})
		last = to
	}
	return !r.bad && len(r.rest) == 0
}

// numbers reads varints, and text; bad once there was none to read.
type numbers struct {
	rest []byte
	bad  bool
}

func (r *numbers) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	r.advance(size)
	return n
}

func (r *numbers) varint() int64 {
	n, size := binary.Varint(r.rest)
	r.advance(size)
	return n
}

func (r *numbers) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return string(text)
}

func (r *numbers) advance(size int) {
	if size <= 0 {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[size:]
}

// union returns the ranges in order, those that touch or overlap as one.
func union(ranges []offsetRange) []offsetRange {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b offsetRange) int { return cmp.Compare(a.From, b.From) })
	var out []offsetRange
	for _, r := range sorted {
		if n := len(out); n > 0 && r.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, r.To)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// join returns the ranges, joined over the gaps at these places.
func join(ranges []offsetRange, gaps []int) []offsetRange {
	over := make([]bool, len(ranges))
	for _, i := range gaps {
		over[i+1] = true
	}
	var out []offsetRange
	for i, r := range ranges {
		if over[i] {
			out[len(out)-1].To = r.To
		} else {
			out = append(out, r)
		}
	}
	return out
}
