package store

// Observe decides one record as Do does, and calls fn whatever the verdict is:
// Tx.Decision tells. A duplicate leaves no marker, and moves none; what fn wrote
// and staged for it is kept. Failures and refusals are as for Do.
//
// It is for those who want to see duplicates before they drop them, or to keep
// them elsewhere. The decisions are those of Do, and are counted alike.
func (b *Batch) Observe(r Record, fn func(*Tx) error) (Decision, error) {
	switch {
	case b.ended.Load():
		return Decision{}, ErrTxDone
	case len(r.ID) == 0:
		return Decision{}, ErrNoID
	}
	id, at := b.ident(r.ID)
	if err := b.check(r.Origin); err != nil {
		return Decision{}, err
	}
	t := millis(r.At)
	f, s := b.move(t, r.Origin)
	m, older, found, err := b.find(id, at, f.clock, s)
	if err != nil {
		return Decision{}, err
	}
	d := decide(f.clock, t, s, found, m, f.cov, b.n.rules.w)
	if err := b.call(r.Origin, d, f.clock.seen(s), fn); err != nil {
		return d, err
	}
	b.settle(f, s, r.Origin)
	if d.Verdict != Duplicate {
		b.accept(id, r.Origin, s, older)
	}
	b.counts.add(d, s)
	return d, nil
}
