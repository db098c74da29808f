package store

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// MarkerEntry is a marker with its ID.
type MarkerEntry struct {
	// ID as it was given; for an IDDigest the SHA-256 of it.
	ID []byte
	// Kind says how the ID is stored.
	Kind IDKind
	Marker
}

// Markers calls fn for every marker that counts, once for each ID, in no order
// that means anything: all of one moment, the newest durable batch's. Batches go
// on beside it, and so may calls of fn to the store; space that is given up
// meanwhile comes back when Markers returns. The slices are valid until fn
// returns. It ends early with the error of fn.
//
// Everything is read from disk, a range of hashes at a time, so that it takes
// about 64 MB of memory however many markers there are. Markers that are in no
// table yet are read once for each 131,072 of them. What is read is proved; if
// it is not what was accepted, ErrCorrupt is returned, and what fn was told may
// be wrong.
func (n *Namespace) Markers(fn func(MarkerEntry) error) error {
	return n.markers(fn, looseMost, pieceMost)
}

func (n *Namespace) markers(fn func(MarkerEntry) error, looseMost, pieceMost uint64) error {
	if err := n.s.enter(); err != nil {
		return err
	}
	defer n.s.leave()
	p := n.picture.Load()
	v, err := n.s.newSurvey(n.name, n.num, &Report{})
	if err != nil {
		return err
	}
	defer v.close()
	if err := n.durable(); err != nil {
		return err
	}
	v.layout()
	w := &census{survey: v, fn: fn, looseMost: looseMost, pieceMost: pieceMost}
	w.public, w.counts = v.public(p.rules)
	if err = v.damage(); err == nil {
		err = w.run()
	}
	if w.ended != nil {
		return w.ended
	}
	if deleted := n.there(); deleted != nil {
		return deleted
	}
	return n.s.fault.read("list markers", func() error { return err })
}

// damage returns the first damage as an error, nil when there is none.
func (v *survey) damage() error {
	for _, d := range v.found {
		if !d.Harmless() {
			return corruptf("%v", d)
		}
	}
	return nil
}

// public returns how a marker is shown, and whether it counts.
func (v *survey) public(r rules) (show func(marker) Marker, counts func(marker) bool) {
	p := &picture{rules: r, head: v.head}
	counts = func(m marker) bool {
		f := inquiry{picture: p, marker: m, found: true}
		return f.counts()
	}
	return p.public, counts
}

const (
	looseMost = 1 << 17 // markers that are in no table, at once in memory
	pieceMost = 1 << 15 // markers of tables, at once in memory
)

// census reads the markers of a survey. Hashes are cut into even ranges, as
// pages are: so tables are read side by side, each from its first page to its
// last, and the newest marker of an ID is found among those of its range.
type census struct {
	*survey
	fn     func(MarkerEntry) error
	public func(marker) Marker
	counts func(marker) bool
	ended  error // of fn

	looseMost, pieceMost uint64

	tables []*censusTable
	loose  []placed // in no table, of the range that is read, by hash
	piece  []placed
}

// placed is a marker and how new it is.
type placed struct {
	ident
	marker
	num  uint64 // its segment's
	gone bool   // it is a tombstone, or swept
}

func (v *survey) placed(e *stored, num uint64) placed {
	return placed{e.ident, e.marker, num, e.tombstone() || swept(v.sweeps, e.marker, placeOfNum(num))}
}

// newestLast orders markers by their ID, and those of one ID by their age.
func newestLast(a, b placed) int {
	return cmp.Or(
		cmp.Compare(a.hash.Hi, b.hash.Hi), cmp.Compare(a.hash.Lo, b.hash.Lo),
		bytes.Compare(a.text, b.text), cmp.Compare(a.num, b.num),
	)
}

func (w *census) run() error {
	defer w.closeTables()
	loose, sealed := uint64(len(w.row.list)), uint64(0)
	for _, num := range w.numbers() {
		g := w.segments[num]
		if !g.table {
			loose += g.all.n
			continue
		}
		sealed += g.live()
		t := &censusTable{v: w.survey, g: g}
		if err := t.open(); err != nil {
			return err
		}
		w.tables = append(w.tables, t)
	}
	outer := ranges(loose, w.looseMost)
	inner := max(ranges(sealed, w.pieceMost), outer) / outer
	for i := range outer {
		if err := w.readLoose(i, outer); err != nil {
			return err
		}
		for j := range inner {
			if err := w.list(i*inner+j, outer*inner); err != nil {
				return err
			}
		}
	}
	for _, t := range w.tables {
		if t.sum.add(t.g.superseded); t.sum != t.g.all {
			return corruptf("namespace %q, segment %d: its table does not hold what it accepted", w.name, t.g.num)
		}
	}
	return nil
}

// ranges returns into how many ranges n markers are cut, a power of two.
func ranges(n, most uint64) uint64 {
	count := uint64(1)
	for count < 1<<31 && n/count > most {
		count *= 2
	}
	return count
}

// rangeOf returns in which of count ranges a hash lies.
func rangeOf(hi, count uint64) uint64 { return hi >> 32 * count >> 32 }

// readLoose reads the markers of a range that are in no table. The survey has
// found that they parse.
func (w *census) readLoose(i, count uint64) error {
	w.loose = w.loose[:0]
	err := w.walk(nsKey(kindRun, w.num), func(key, value []byte) {
		num, _ := segOf(key)
		g := w.segments[num]
		if g == nil || g.table {
			return // its table stands for it, or a merged one
		}
		_, entries, _, _, _ := parseRun(value)
		g.eachIn(entries, w.s.secret, func(e *stored) {
			if rangeOf(e.hash.Hi, count) == i {
				e.text = slices.Clone(e.text)
				w.loose = append(w.loose, w.placed(e, num))
			}
		})
	})
	if err != nil {
		return err
	}
	for _, v := range w.row.list {
		if rangeOf(v.id.hash.Hi, count) == i {
			w.loose = append(w.loose, placed{v.id, v.m, math.MaxUint64, false})
		}
	}
	slices.SortStableFunc(w.loose, newestLast)
	return nil
}

// list tells the markers of a range.
func (w *census) list(i, count uint64) error {
	w.piece = w.piece[:0]
	n := 0
	for n < len(w.loose) && rangeOf(w.loose[n].hash.Hi, count) <= i {
		n++
	}
	w.piece, w.loose = append(w.piece, w.loose[:n]...), w.loose[n:]
	for _, t := range w.tables {
		var err error
		if w.piece, err = t.take(w.piece, i, count); err != nil {
			return err
		}
	}
	slices.SortStableFunc(w.piece, newestLast)
	for k, m := range w.piece {
		if k+1 < len(w.piece) && bytes.Equal(m.text, w.piece[k+1].text) || m.gone || !w.counts(m.marker) {
			continue
		}
		id, kind := readText(m.text)
		if w.ended = w.fn(MarkerEntry{ID: id, Kind: kind, Marker: w.public(m.marker)}); w.ended != nil {
			return w.ended
		}
	}
	return nil
}

func (w *census) closeTables() {
	for _, t := range w.tables {
		if t.it != nil {
			_ = guarded(t.it.Close) // its error was met by the step that met it
		}
	}
}

// censusTable is a table that is being listed.
type censusTable struct {
	v    *survey
	g    *surveyed
	it   *pebble.Iterator
	page uint32   // the next
	rest []placed // of pages that reach beyond the range
	sum  ledger
}

func (t *censusTable) open() error {
	return guarded(func() (err error) {
		t.it, err = t.v.clone(t.g.key(nil, t.v.num, partPage, 0), t.g.key(nil, t.v.num, partFilter, 0))
		if err == nil {
			t.it.First()
		}
		return err
	})
}

// take appends the markers of a range.
func (t *censusTable) take(dst []placed, i, count uint64) ([]placed, error) {
	err := guarded(func() error {
		for t.page < t.g.pages && uint64(t.page)*count/uint64(t.g.pages) <= i {
			if err := t.read(); err != nil {
				return err
			}
		}
		return nil
	})
	rest := t.rest[:0]
	for _, m := range t.rest {
		if rangeOf(m.hash.Hi, count) <= i {
			dst = append(dst, m)
		} else {
			rest = append(rest, m)
		}
	}
	t.rest = rest
	return dst, err
}

// read reads the next page.
func (t *censusTable) read() error {
	key := t.g.key(nil, t.v.num, partPage, t.page)
	if !t.it.Valid() || !bytes.Equal(t.it.Key(), key) {
		return errors.Join(t.it.Error(), corruptf("namespace %q, segment %d: page %d is missing",
			t.v.name, t.g.num, t.page))
	}
	content, err := t.it.ValueAndErr()
	if err != nil {
		return err
	}
	var texts []byte // of the page, in one piece
	whole := t.g.eachIn(content, t.v.s.secret, func(e *stored) {
		from := len(texts)
		texts = append(texts, e.text...)
		e.text = texts[from:len(texts):len(texts)]
		t.sum.add(e.proof(t.g.seeds))
		t.rest = append(t.rest, t.v.placed(e, t.g.num))
	})
	if !whole {
		return corruptf("namespace %q, segment %d: page %d is damaged", t.v.name, t.g.num, t.page)
	}
	t.page++
	t.it.Next() // its error is met by the next read
	return nil
}
