package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// RepairOptions of Repair. Nil and the zero value work.
type RepairOptions struct {
	// Quarantine is the directory that gets what is set aside. It is made when
	// it is needed. Defaults to the store's path with ".quarantine" appended.
	Quarantine string
	// Logger receives what is set aside. Defaults to slog.Default().
	Logger *slog.Logger
	// Progress is called now and then while the store is read.
	Progress func(VerifyProgress)
}

// SetAside is a segment that Repair took out of a store.
type SetAside struct {
	Namespace string
	// Segment is its number.
	Segment uint64
	// Markers it had accepted, as far as that is known.
	Markers uint64
	// File holds what of it could be read, "" if nothing could.
	File string
}

// Mended is what Repair did to a namespace.
type Mended struct {
	Namespace string
	// Before and After are its coverage: it can no longer vouch for the time in
	// which what it lost was seen.
	Before, After Coverage
	// Markers that are left.
	Markers uint64
}

// RepairReport is what Repair found and did.
type RepairReport struct {
	// Found is what was found to be damaged.
	Found *Report
	// SetAside are the segments that are no longer in the store.
	SetAside []SetAside
	// Mended are the namespaces that were changed.
	Mended []Mended
}

// Repair makes a damaged store usable again, at the price of what it can no
// longer vouch for. It reads all of it, as Verify does. Segments whose markers do
// not prove are taken out of the store and, as far as they can be read, copied
// into files; the others stay. The coverage of their namespace moves to where
// none of the lost markers would count any more or, where that is not known, is
// open: so the store never takes an ID for new that it had accepted, without
// saying that it cannot know (Unknown, with reason Lost). Forgotten IDs are
// remembered again, if what forgot them was lost.
//
// Only markers can be given up like this. Where anything else is damaged, Repair
// changes nothing and returns the report with ErrBeyondRepair. Damaged filters
// need no repair.
//
// Nobody may have the store open (ErrLocked). A Repair that was cut short may be
// run again; it then finds less that is known, and opens coverage.
func Repair(ctx context.Context, dir string, opts *RepairOptions) (*RepairReport, error) {
	return repair(ctx, dir, opts, seams{})
}

func repair(ctx context.Context, dir string, opts *RepairOptions, sm seams) (_ *RepairReport, err error) {
	var o RepairOptions
	if opts != nil {
		o = *opts
	}
	o.Quarantine = cmp.Or(o.Quarantine, dir+".quarantine")
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: repair %s: %w", dir, trimmed(explained(err)))
		}
	}()
	so := (&Options{Logger: o.Logger}).withDefaults()
	s, err := openOffline(dir, so, sm, false)
	if errors.Is(err, ErrCorrupt) {
		return nil, fmt.Errorf("%w: it cannot be opened: %w", ErrBeyondRepair, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r := &repairs{s: s, opts: o, report: &RepairReport{}}
	return r.report, r.run(ctx)
}

// repairs is one repair. Its steps:
//
//	1 read and prove everything; decide what goes
//	2 copy what goes into files, synced
//	3 remove the runs and the shared tables that go, and a damaged row
//	4 one synced batch a namespace: head with coverage and sum, the catalogue,
//	  and dead records for the tables that go
//	5 remove those tables, and then their dead records
//
// A crash before 3 leaves what there was. Between 3 and 4 markers are missing
// that the sum still counts, which is damage, and the next repair opens coverage
// for it. After 4 the store is whole: what is left of 5 is done by whoever loads
// the namespace.
//
// Runs are excised and not deleted: deleting them would leave the damaged blocks
// to the next compaction.
type repairs struct {
	s      *Store
	opts   RepairOptions
	report *RepairReport
	plans  []*plan
	beyond []Damage
}

// plan is what is to be done to a namespace.
type plan struct {
	name     string
	num      uint32
	aside    []*surveyed
	all      bool // everything goes, known or not
	head     head
	before   coverage
	rowGoes  bool
	merged   []*surveyed // their entries are missing in the catalogue
	tables   []uint64
	runs     []uint64
	shared   []uint64 // tables
	inFile   map[uint64]string
	survivor uint64
}

func (r *repairs) run(ctx context.Context) error {
	found, err := r.examine(ctx, r.judge)
	r.report.Found = found
	if err != nil {
		return err
	}
	for _, d := range found.Damage {
		if d.Namespace == "" {
			r.beyond = append(r.beyond, d)
		}
	}
	if len(r.beyond) > 0 {
		return fmt.Errorf("%w: %v (%d such)", ErrBeyondRepair, r.beyond[0], len(r.beyond))
	}
	for _, p := range r.plans {
		if err := r.mend(p); err != nil {
			return fmt.Errorf("namespace %q: %w", p.name, err)
		}
	}
	if len(r.plans) == 0 {
		return nil
	}
	left, err := r.examine(ctx, nil)
	if err == nil {
		err = left.Err()
	}
	if err != nil {
		return fmt.Errorf("after the repair: %w", err)
	}
	return nil
}

func (r *repairs) examine(ctx context.Context, each func(*survey) error) (*Report, error) {
	e := newExamination(ctx, r.s, &VerifyOptions{Progress: r.opts.Progress})
	return e.report, e.run(each)
}

// judge decides what becomes of a namespace.
func (r *repairs) judge(v *survey) error {
	p := &plan{name: v.name, num: v.num, head: v.head, before: v.head.cov, rowGoes: v.rowIsBad}
	harmed := false
	for _, d := range v.found {
		switch d.Part {
		case PartFilter:
			continue
		case PartHead, PartState, PartOutputs, PartAges, PartSweeps:
			r.beyond = append(r.beyond, d)
		case PartRow, PartSum:
		default:
			p.all = p.all || d.Segment < 0
		}
		harmed = true
	}
	if !harmed {
		return nil
	}
	r.plans = append(r.plans, p)
	v.plan(p)
	return nil
}

// plan decides which segments go, and what is left to vouch for.
func (v *survey) plan(p *plan) {
	open := p.all || p.rowGoes || v.isLost
	sum := v.row.ledger(v.s.secret)
	if p.rowGoes {
		p.head.row = ledger{}
	}
	next := p.head.next
	for _, num := range v.numbers() {
		g := v.segments[num]
		next = max(next, placeOfNum(num)+1)
		newer := placeOfNum(num) >= v.head.next
		if !p.all && !g.bad && !newer && !v.suspect(g) {
			sum.add(g.all)
			p.finish(g)
			continue
		}
		p.aside = append(p.aside, g)
		if g.spare {
			p.tables = append(p.tables, num)
			continue // what it holds is in others
		}
		latest := max(v.head.clock.other(), v.head.reached().now)
		open = open || newer || !g.catalogue || !g.known || g.doubt || g.high > latest
		p.head.cov = p.head.cov.lost(max(g.high, v.head.clock.first))
		p.remove(g)
	}
	if open {
		p.head.cov = p.before.opened(Lost)
	}
	p.head.next, p.head.sum, p.survivor = next, sum, sum.n
}

// finish ends a merge that stands, so that nothing of the segments that it
// replaces, damaged ones too, matters any more.
func (p *plan) finish(g *surveyed) {
	if len(g.olds) > 0 {
		p.merged = append(p.merged, g)
	}
	for _, old := range g.olds {
		p.remove(old)
	}
}

// remove plans the end of what there is of a segment.
func (p *plan) remove(g *surveyed) {
	switch {
	case g.shared:
		p.shared = append(p.shared, g.num)
	case g.table:
		p.tables = append(p.tables, g.num)
	}
	if g.strayed {
		p.shared = append(p.shared, g.num)
	}
	if g.runs > 0 {
		p.runs = append(p.runs, g.num)
	}
}

// suspect reports whether a segment that proves as far as it can may be what the
// sum does not agree with. A table proves itself; runs do only by the sum. A
// marker too many, or another one than was accepted, would make a record that
// was never handled a duplicate: so runs are believed only where what is missing
// explains the sum, and no segment that is ahead of the position.
func (v *survey) suspect(g *surveyed) bool {
	return v.isLost && (g.beyond || !g.table && v.sum.n >= v.head.sum.n)
}

// lost returns the coverage after markers were lost, of which the newest had F =
// high: when C - W has come to it, none of them would count.
func (c coverage) lost(high int64) coverage {
	if c.open {
		return c.opened(Lost)
	}
	if high > c.since {
		c.since, c.reason = high, Lost
	}
	return c
}

func (r *repairs) mend(p *plan) error {
	s := r.s
	p.inFile = map[uint64]string{}
	if err := r.keep(p); err != nil {
		return fmt.Errorf("set aside: %w", err)
	}
	var spans []pebble.KeyRange
	for _, num := range p.runs {
		spans = append(spans, span(segKey(kindRun, p.num, num)))
	}
	for _, num := range p.shared {
		spans = append(spans, span(segKey(kindShared, p.num, num)))
	}
	if p.rowGoes {
		spans = append(spans, span(nsKey(kindRow, p.num)))
	}
	if p.all {
		for _, kind := range []byte{kindRun, kindCat, kindDead, kindShared} {
			spans = append(spans, span(nsKey(kind, p.num)))
		}
	}
	if err := s.exciseAll(spans); err != nil {
		return err
	}
	err := s.fault.write("write what is left", s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		for _, g := range p.aside {
			must(w.Delete(segKey(kindCat, p.num, g.num), nil))
		}
		for _, g := range p.merged {
			must(w.Set(segKey(kindCat, p.num, g.num), g.facts.append(nil), nil))
			for _, old := range g.olds {
				must(w.Delete(segKey(kindCat, p.num, old.num), nil))
			}
		}
		for _, num := range p.tables {
			must(w.Set(segKey(kindDead, p.num, num), nil, nil))
		}
		must(w.Set(nsKey(kindHead, p.num), p.head.append(nil), nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err == nil {
		err = r.removeTables(p)
	}
	if err == nil {
		r.tell(p)
	}
	return err
}

func (r *repairs) removeTables(p *plan) error {
	s := r.s
	var spans []pebble.KeyRange
	for _, num := range p.tables {
		spans = append(spans, span(segKey(kindPage, p.num, num)))
	}
	if p.all {
		spans = []pebble.KeyRange{span(nsKey(kindPage, p.num))}
	}
	if err := s.exciseAll(spans); err != nil {
		return err
	}
	return s.fault.write("forget removed tables", s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		for _, num := range p.tables {
			must(w.Delete(segKey(kindDead, p.num, num), nil))
		}
		for _, g := range p.aside {
			must(w.Delete(segKey(kindDead, p.num, g.num), nil))
		}
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
}

func span(prefix []byte) pebble.KeyRange { return pebble.KeyRange{Start: prefix, End: after(prefix)} }

func (s *Store) exciseAll(spans []pebble.KeyRange) error {
	for _, k := range spans {
		err := s.fault.write("remove what is damaged", s.opts.CommitTimeout, func() error {
			return s.db.Excise(context.Background(), k)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tell reports what was done to a namespace.
func (r *repairs) tell(p *plan) {
	m := Mended{
		Namespace: p.name, Before: p.before.public(), After: p.head.cov.public(), Markers: p.survivor,
	}
	r.report.Mended = append(r.report.Mended, m)
	for _, g := range p.aside {
		a := SetAside{Namespace: p.name, Segment: g.num, Markers: g.all.n, File: p.inFile[g.num]}
		r.report.SetAside = append(r.report.SetAside, a)
		r.s.opts.Logger.Warn("a damaged segment was set aside",
			"namespace", a.Namespace, "segment", a.Segment, "markers", a.Markers, "file", a.File)
	}
	r.s.opts.Logger.Warn("a namespace was repaired",
		"namespace", m.Namespace, "markers left", m.Markers, "coverage", m.After.String(), "was", m.Before.String())
}
