package store

import (
	"encoding/binary"
	"maps"
	"slices"
)

// row holds the markers that were accepted with a time of a row of jumps, or of
// the namespace's first 8 times (R1): at most 1,000. They stand apart, in order
// of acceptance, until the clock has decided what their times are worth; then
// they join the index. One small value on disk, rewritten when it changes.
type row struct {
	list []rowMarker
	at   map[string]int // ID text -> place in list
}

type rowMarker struct {
	id    ident
	m     marker
	older int64 // F of the ID's marker in the index, 0 when none
}

func (r *row) find(id ident) (rowMarker, bool) {
	if len(r.list) == 0 {
		return rowMarker{}, false
	}
	i, ok := r.at[string(id.text)]
	if !ok {
		return rowMarker{}, false
	}
	return r.list[i], true
}

// remove takes an ID out: it was accepted anew.
func (r *row) remove(id ident) bool {
	i, ok := r.at[string(id.text)]
	if !ok {
		return false
	}
	r.list = slices.Delete(r.list, i, i+1)
	r.index()
	return true
}

// removeIf takes out what gone says, and reports whether that was anything.
func (r *row) removeIf(gone func(rowMarker) bool) bool {
	n := len(r.list)
	if r.list = slices.DeleteFunc(r.list, gone); len(r.list) == n {
		return false
	}
	r.index()
	return true
}

// add appends a marker, the only one of its ID.
func (r *row) add(v rowMarker) {
	r.remove(v.id)
	v.id.text = slices.Clone(v.id.text)
	if r.at == nil {
		r.at = make(map[string]int)
	}
	r.at[string(v.id.text)] = len(r.list)
	r.list = append(r.list, v)
}

func (r *row) index() {
	r.at = make(map[string]int, len(r.list))
	for i, v := range r.list {
		r.at[string(v.id.text)] = i
	}
}

func (r *row) clear() { *r = row{} }

// clone returns a row that shares nothing with r; an empty one costs nothing.
func (r *row) clone() row {
	if len(r.list) == 0 {
		return row{}
	}
	return row{slices.Clone(r.list), maps.Clone(r.at)}
}

func (r *row) ledger(secret uint64) ledger {
	var sum ledger
	for _, v := range r.list {
		b := base{origin: v.m.origin, first: v.m.first}
		sum.add(proofAs(v.m.appendText(nil, v.id.text), v.id.hash, v.m, b.seed(secret)))
	}
	return sum
}

// append writes the row, for each marker:
//
//	base (origin and F, 40 B) | F of the older marker (zigzag) | ID text, extended
//	for a restored one
func (r *row) append(dst []byte) []byte {
	for _, v := range r.list {
		dst = base{origin: v.m.origin, first: v.m.first}.append(dst)
		dst = binary.AppendVarint(dst, v.older)
		dst = v.m.appendText(dst, v.id.text)
	}
	return dst
}

func parseRow(b []byte, secret uint64) (row, bool) {
	var r row
	for len(b) > 0 {
		v, rest, ok := parseBase(b)
		if !ok {
			return row{}, false
		}
		d := decoder{b: rest}
		older := d.varint()
		n := textLen(d.b)
		if d.bad || n == 0 {
			return row{}, false
		}
		m := marker{first: v.first, origin: v.origin, restored: flagsOf(d.b)&flagRestored != 0}
		r.add(rowMarker{keyed(plainText(d.b[:n]), secret), m, older})
		b = d.b[n:]
	}
	return r, true
}
