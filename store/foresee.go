package store

// Foresee decides records in order, as Do and Pass will decide them, and leaves
// the batch as it was. It is for those who have to know what is to be handled
// before anything is: to handle several records together, or side by side.
//
// A record that Do would accept is taken to leave its marker, so that a copy
// behind it is a duplicate. Where leaves is not nil, and returns false for the
// place of a record in rs, it leaves none: its handling failed, say, and a copy
// is to be decided anew. A record without an ID is passed.
//
// The answers are one for each record, as a Tx that has ended: Tx.Decision,
// Tx.Clock and Tx.Timeline are what Do's function would find, and all else is ErrTxDone. From
// then on the batch judges future times (R1) by the wall clock of this moment,
// so that Do decides what was foreseen however long the handling took.
func (b *Batch) Foresee(rs []Record, leaves func(i int) bool) ([]*Tx, error) {
	if b.ended.Load() {
		return nil, ErrTxDone
	}
	if !b.foreseen {
		b.wall, b.foreseen = b.n.s.opts.Now().UnixMilli(), true
	}
	head, row, rowChanged, ages := b.head, b.row, b.rowChanged, b.ages
	failed, dirty, size, counts, next := b.failed, b.dirty, b.size, b.counts, b.next
	b.row, b.over = row.clone(), make(overlay)
	defer func() {
		b.head, b.row, b.rowChanged, b.ages = head, row, rowChanged, ages
		b.failed, b.dirty, b.size, b.counts, b.next = failed, dirty, size, counts, next
		b.over = nil
	}()
	txs := make([]*Tx, len(rs))
	for i, r := range rs {
		var j judged
		var err error
		if len(r.ID) == 0 {
			err = b.check(r.Origin)
			j.step = b.move(millis(r.At), r.Origin)
		} else {
			err = b.judge(&r, &j)
		}
		if err != nil {
			return nil, err
		}
		txs[i] = &Tx{b: b, origin: r.Origin, decision: j.decision, clock: b.head.clock.seen(j.step),
			timeline: b.timeline(j.step, r.Origin)}
		txs[i].ended.Store(true)
		b.settle(j.step, r.Origin)
		if j.decision.accepted() && (leaves == nil || leaves(i)) {
			b.accept(j.id, r.Origin, j.step, j.older)
		}
	}
	return txs, nil
}

// overlay holds markers that are only foreseen, over those of the index.
type overlay map[string]marker

// give gives a marker to the index, or to the overlay while there is one.
func (b *Batch) give(id ident, m marker, older, now int64) {
	if b.over != nil {
		b.over[string(id.text)] = m
		return
	}
	b.n.index.accept(id, m, older, now)
}

// Alter calls fn with a Tx that belongs to no record: what it writes to the
// state is kept with the batch, unless fn returns an error or panics, when
// nothing of it remains. Outputs belong to a record: Stage is ErrNoOrigin.
func (b *Batch) Alter(fn func(*Tx) error) error {
	if err := b.check(Position{}); err != nil {
		return err
	}
	tx := &Tx{b: b, clock: b.head.clock.now, outs: len(b.outs), size: b.size, alters: true}
	defer func() {
		tx.ended.Store(true)
		if !tx.kept {
			tx.undo()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	tx.kept = true
	b.dirty = b.dirty || len(tx.writes) > 0
	return nil
}

// known looks an ID up among what the batch only foresees, and in the index.
func (b *Batch) known(id ident, at int) (m marker, found bool, err error) {
	if m, found = b.over[string(id.text)]; found {
		return m, true, nil
	}
	return b.n.index.lookup(id, at)
}
