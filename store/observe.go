package store

// Observe decides one record as Do does, and calls fn whatever the verdict is and
// whatever the policy does with it: Tx.Decision tells. Markers are those of Do: a
// duplicate, and an Unknown that would be dropped, leave none; what fn wrote and
// staged for them is kept. Failures and refusals are as for Do.
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
	d := decide(f.clock, t, s, found, m, f.cov, b.head.floor, b.n.rules.w)
	d.Coverage = f.cov.public()
	if d.Verdict == Unknown {
		d.Action = b.n.opts.Unknown.of(d.Reason)
	}
	if err := b.call(r.Origin, d, f.clock.seen(s), fn); err != nil {
		return d, err
	}
	b.settle(f, s, r.Origin)
	switch {
	case d.accepted():
		b.accept(id, r.Origin, s, older)
	case d.Verdict == Duplicate:
		b.ages.add(f.clock.age(m))
	}
	b.counts.add(&d, s)
	return d, nil
}
