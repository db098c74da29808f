package store

import (
	"fmt"
	"strings"
)

// Part is a part of a store, as Verify names it.
type Part string

// The parts. A namespace's markers are in its row, its runs and its tables: pages
// with a filter and a header, which the catalogue repeats; the sum is the one of
// all of them that its head holds.
const (
	PartRecord    Part = "store record"
	PartOpens     Part = "openings"
	PartRegistry  Part = "registry"
	PartKeys      Part = "keys"
	PartHead      Part = "head"
	PartRow       Part = "row"
	PartSum       Part = "sum"
	PartSweeps    Part = "forgotten ranges"
	PartCatalogue Part = "catalogue"
	PartDead      Part = "dead records"
	PartRun       Part = "run"
	PartHeader    Part = "header"
	PartPage      Part = "page"
	PartFilter    Part = "filter"
	PartTable     Part = "table"
	PartState     Part = "state"
	PartOutputs   Part = "outputs"
	PartAges      Part = "ages of duplicates"
)

// Damage is one thing that is not as it was written, and where.
type Damage struct {
	// Namespace is its name, "" for what belongs to none.
	Namespace string
	// Segment is its number, -1 for what belongs to none.
	Segment int64
	// Page of the segment's table, -1 for what belongs to none.
	Page int64
	// Part that is damaged.
	Part Part
	// What is wrong with it.
	What string
}

// String returns where the damage is, and what it is.
func (d Damage) String() string {
	at := string(d.Part)
	if d.Page >= 0 {
		at = fmt.Sprintf("page %d", d.Page)
	}
	if d.Segment >= 0 {
		at = fmt.Sprintf("segment %d, %s", d.Segment, at)
	}
	if d.Namespace != "" {
		at = fmt.Sprintf("namespace %q, %s", d.Namespace, at)
	}
	return at + ": " + d.What
}

// Harmless reports whether the store answers right in spite of the damage: a
// filter is made anew from its pages whenever it is read.
func (d Damage) Harmless() bool { return d.Part == PartFilter }

// Report is what Verify has read, and what it found.
type Report struct {
	// Namespaces, Segments, Runs, Pages and Markers are what was read: markers
	// as often as they stand in runs and in tables.
	Namespaces, Segments int
	Runs, Pages, Markers uint64
	StateKeys, Outputs   uint64
	// Bytes of keys and values that were read.
	Bytes uint64
	// Damage is what was found, in the order of reading; at most the first
	// thousand. Damages is how many there were.
	Damage  []Damage
	Damages int

	harm bool
}

const damagesKept = 1000

func (r *Report) add(d Damage) {
	r.Damages++
	r.harm = r.harm || !d.Harmless()
	if len(r.Damage) < damagesKept {
		r.Damage = append(r.Damage, d)
	}
}

// Err returns nil when nothing was found that could make an answer wrong, and
// otherwise an error that is ErrCorrupt and names the first of it.
func (r *Report) Err() error {
	if !r.harm {
		return nil
	}
	for _, d := range r.Damage {
		if !d.Harmless() {
			return fmt.Errorf("%w: %v (damages found: %d); Repair sets damaged markers aside, or restore a backup",
				ErrCorrupt, d, r.Damages)
		}
	}
	return fmt.Errorf("%w: damages found: %d; Repair sets damaged markers aside, or restore a backup",
		ErrCorrupt, r.Damages)
}

// told formats what is wrong in one line: the storage engine's errors about
// damage have a second one that says nothing.
func told(format string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(format, args...), "\n<corruption detail carrier>", "")
}
