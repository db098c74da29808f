package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// VerifyOptions of Verify and VerifyDir. Nil and the zero value work.
type VerifyOptions struct {
	// Progress is called now and then, on the caller's goroutine.
	Progress func(VerifyProgress)
}

// VerifyProgress is how far Verify has come.
type VerifyProgress struct {
	// Namespace that is being read, and how many there are, and were read.
	Namespace        string
	Namespaces, Done int
	// Markers that were read, of about so many in all.
	Markers, Of uint64
}

// Verify reads everything that the store has on disk and proves it (R16): the
// store's own record, the registry, and of every namespace its head, the markers
// of its row, its runs and its tables against their ledgers and their sum, every
// entry against its page and its filter, outputs, and state. It goes by what is
// on disk and believes nothing that is in memory.
//
// Batches go on beside it; each namespace is read as of one moment, and space
// that it gives up meanwhile comes back after that. Memory: one filter, 2.5
// bytes for each marker of the largest segment.
//
// The report names what is wrong and where, and Verify mends nothing. If any of
// it could make an answer wrong (Report.Err), the store has stopped after that,
// as it would when a look-up meets it. A store that stopped for damage can be
// verified, one that is poisoned cannot. The error is about the verifying alone.
func (s *Store) Verify(ctx context.Context, opts *VerifyOptions) (*Report, error) {
	if err := s.enterDamaged(); err != nil {
		return nil, err
	}
	defer s.leave()
	e := newExamination(ctx, s, opts)
	if err := e.run(nil); err != nil {
		return nil, err
	}
	_ = s.fault.found(e.report.Err())
	return e.report, nil
}

// VerifyDir does what Verify does for the directory of a store, or a checkpoint,
// that nobody has open (ErrLocked), also one that is mounted for reading only. It
// changes nothing in it; only a lock file may come into it. It returns ErrCorrupt,
// and no report, when the storage engine cannot open what is there.
func VerifyDir(ctx context.Context, dir string, opts *VerifyOptions) (*Report, error) {
	return verifyDir(ctx, dir, opts, seams{})
}

func verifyDir(ctx context.Context, dir string, opts *VerifyOptions, sm seams) (_ *Report, err error) {
	s, err := openOffline(dir, (*Options)(nil).withDefaults(), sm, true)
	if err != nil {
		return nil, fmt.Errorf("store: verify %s: %w", dir, trimmed(explained(err)))
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	e := newExamination(ctx, s, opts)
	if err := e.run(nil); err != nil {
		return nil, fmt.Errorf("store: verify %s: %w", dir, trimmed(explained(err)))
	}
	return e.report, nil
}

// enterDamaged is enter for a call that is also of use on a store that stopped
// for damage.
func (s *Store) enterDamaged() error {
	if err := s.fault.get(); err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.calls++
	return nil
}

// examination is one reading of a whole store.
type examination struct {
	ctx      context.Context
	s        *Store
	progress func(VerifyProgress)
	at       VerifyProgress
	told     uint64 // markers, when progress was called last
	report   *Report
	registry map[string]uint32
	names    []string
}

func newExamination(ctx context.Context, s *Store, opts *VerifyOptions) *examination {
	e := &examination{ctx: ctx, s: s, report: &Report{}, registry: map[string]uint32{}}
	if opts != nil {
		e.progress = opts.Progress
	}
	return e
}

// run reads the store's own part and then namespace after namespace. each, which
// may be nil, gets what was found in each of them.
func (e *examination) run(each func(*survey) error) error {
	e.s.fault.sparing.Add(1) // what is met is told; it is no news that stops the store
	defer e.s.fault.sparing.Add(-1)
	if err := e.whole(); err != nil {
		return err
	}
	e.at.Namespaces = len(e.names)
	for _, name := range e.names {
		e.at.Namespace = name
		e.tell()
		if err := e.one(name, each); err != nil {
			return err
		}
		e.at.Done++
		e.report.Namespaces++
	}
	e.tell()
	return nil
}

func (e *examination) one(name string, each func(*survey) error) error {
	v, err := e.s.newSurvey(name, e.registry[name], e.report)
	if err != nil {
		return err
	}
	defer v.close()
	entry, err := v.value(nameKey(name))
	if err != nil {
		v.wrong(PartHead, -1, -1, "its settings cannot be read: %v", err)
	} else if num, _, ok := parseSettings(entry); ok && num != v.num || entry == nil {
		return nil // deleted meanwhile
	}
	if err := v.prove(e.more); err != nil {
		return err
	}
	if err == nil {
		v.proveSettings(entry)
	}
	if each == nil {
		return nil
	}
	return each(v)
}

// proveSettings holds the entry of the registry against the head, which keeps
// the sum of the settings that it was written under. They are written together,
// so either of them may be the one that went back.
func (v *survey) proveSettings(entry []byte) {
	if v.hasHead && !v.headless && v.head.settings != settingsSum(entry, v.s.secret) {
		v.wrong(PartHead, -1, -1, "it was written under other settings than those in the registry")
	}
}

// more ends the reading when nobody waits for it any more.
func (e *examination) more() error {
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if err := e.s.fault.get(); errors.Is(err, ErrPoisoned) {
		return err
	}
	select {
	case <-e.s.closing:
		return ErrClosed
	default:
	}
	if e.report.Markers-e.told >= 1<<18 {
		e.tell()
	}
	return nil
}

func (e *examination) tell() {
	e.told = e.report.Markers
	if e.progress != nil {
		e.at.Markers = e.report.Markers
		e.progress(e.at)
	}
}

// whole proves what belongs to no namespace.
func (e *examination) whole() error {
	v, err := e.s.newSurvey("", 0, e.report)
	if err != nil {
		return err
	}
	defer v.close()
	r, ok := e.record(v)
	if !ok {
		return nil // without its secret nothing can be proved
	}
	e.registered(v, r)
	e.openings(v)
	e.strays(v)
	e.count(v)
	return nil
}

func (e *examination) record(v *survey) (storeRecord, bool) {
	value, err := v.value([]byte{kindStore})
	r, ok := parseStoreRecord(value)
	switch {
	case err != nil:
		v.wrong(PartRecord, -1, -1, "it cannot be read: %v", err)
	case value == nil:
		v.wrong(PartRecord, -1, -1, "it is gone")
	case !ok:
		v.wrong(PartRecord, -1, -1, "it does not parse")
	case r.id != e.s.id:
		v.wrong(PartRecord, -1, -1, "it says %v, %s says %v", r.id, identityFile, e.s.id)
	}
	return r, ok
}

// registered reads the registry.
func (e *examination) registered(v *survey, r storeRecord) {
	var sum ledger
	numbers := map[uint32]string{}
	err := v.walk([]byte{kindName}, func(key, value []byte) {
		sum.add(r.entryProof(key, value))
		name := string(key[1:])
		num, _, ok := parseSettings(value)
		switch {
		case !ok:
			v.wrong(PartRegistry, -1, -1, "the entry of namespace %q does not parse", name)
			return
		case numbers[num] != "":
			v.wrong(PartRegistry, -1, -1, "namespaces %q and %q have one number, %d", numbers[num], name, num)
			return
		case num >= r.nextNS:
			v.wrong(PartRegistry, -1, -1, "namespace %q has number %d, the next one is %d", name, num, r.nextNS)
		}
		numbers[num] = name
		e.registry[name] = num
		e.names = append(e.names, name)
	})
	switch {
	case err != nil:
		v.wrong(PartRegistry, -1, -1, "it cannot be read to its end: %v", err)
	case sum != r.namespaces:
		v.wrong(PartRegistry, -1, -1, "%d namespaces are there, %d were made, or they are others", sum.n, r.namespaces.n)
	}
}

func (e *examination) openings(v *survey) {
	value, err := v.value([]byte{kindOpens})
	switch {
	case err != nil:
		v.wrong(PartOpens, -1, -1, "they cannot be read: %v", err)
	case (&Store{}).loadOpenings(value) != nil:
		v.wrong(PartOpens, -1, -1, "they do not parse")
	}
}

// spaced are the kinds of key that belong to a namespace.
var spaced = slices.Concat(tableKinds, spaceKinds, []byte{kindDead})

// strays finds keys that belong to nothing: of no namespace, or of no kind. It
// goes from one namespace to the next and skips what is in them. The tables of
// those that there are it does not touch at all: a damaged one is its segment's.
func (e *examination) strays(v *survey) {
	numbers := map[uint32]bool{}
	for _, num := range e.registry {
		numbers[num] = true
	}
	err := v.walk([]byte{kindDead}, func(key, _ []byte) {
		if d := (decoder{b: key[1:]}); len(key) == 5 {
			numbers[d.uint32()] = true // deleted; its tables go
		}
	})
	if err != nil {
		v.wrong(PartDead, -1, -1, "they cannot be read to their end: %v", err)
	}
	from := []byte{0}
	for _, kind := range tableKinds {
		for _, num := range slices.Sorted(maps.Keys(numbers)) {
			pages := nsKey(kind, num)
			if !e.straysIn(v, from, pages, numbers) {
				return
			}
			from = after(pages)
		}
	}
	e.straysIn(v, from, nil, numbers)
}

// straysIn finds strays in a range of keys, and reports whether it could be read.
func (e *examination) straysIn(v *survey, from, to []byte, numbers map[uint32]bool) bool {
	for from != nil && (to == nil || bytes.Compare(from, to) < 0) {
		key, err := v.first(from, to)
		if err != nil {
			v.wrong(PartKeys, -1, -1, "they cannot be read from %x on: %v", from, err)
			return false
		}
		if key == nil {
			return true
		}
		from = e.stray(v, key, numbers)
	}
	return true
}

// stray judges the first key of its kind and namespace, and returns where the
// next ones may begin.
func (e *examination) stray(v *survey, key []byte, numbers map[uint32]bool) []byte {
	switch kind := key[:1]; {
	case kind[0] == kindStore || kind[0] == kindName || kind[0] == kindOpens:
		return after(kind)
	case !slices.Contains(spaced, kind[0]):
		v.wrong(PartKeys, -1, -1, "there are some of the unknown kind %x", kind)
		return after(kind)
	case len(key) < 5:
		v.wrong(PartKeys, -1, -1, "%x does not parse", key)
		return append(key, 0)
	}
	d := decoder{b: key[1:]}
	if num := d.uint32(); !numbers[num] {
		v.wrong(PartKeys, -1, -1, "there are some of kind %x in namespace %d, which is not in the registry", key[:1], num)
	}
	return after(key[:5])
}

// count tells how many markers there will be to read. What is damaged is told
// when it is read.
func (e *examination) count(v *survey) {
	_ = v.walk([]byte{kindHead}, func(_, value []byte) {
		if h, ok := parseHead(value); ok {
			e.at.Of += h.sum.n
		}
	})
}

// openOffline opens the directory of a store to read it, or to mend it: without
// signing an opening, and without any work in the background. Close it.
func openOffline(dir string, o Options, sm seams, readOnly bool) (_ *Store, err error) {
	s := newStore(dir, o, sm)
	s.readOnly, s.still = readOnly, true
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	id, err := s.present()
	if err != nil {
		return nil, err
	}
	if !readOnly {
		if err := admit(s.fs, s.dir); err != nil {
			return nil, err
		}
	}
	if err := s.lockThere(); err != nil {
		return nil, err
	}
	s.fault.sparing.Add(1)
	if err := s.openDB(true); err != nil {
		return nil, err
	}
	s.id = id.id
	v, err := s.get([]byte{kindStore})
	if err != nil {
		return nil, err
	}
	if r, ok := parseStoreRecord(v); ok { // the examination tells if it does not
		s.record, s.secret = r, r.secret
	}
	return s, nil
}
