package store

// Observe decides one record as Do does, and calls fn whatever the verdict is and
// whatever the policy does with it: Tx.Decision tells. Markers are those of Do: a
// duplicate, and an Unknown that would be dropped, leave none; what fn wrote and
// staged for them is kept. Failures and refusals are as for Do.
//
// It is for those who want to see duplicates before they drop them, or to keep
// them elsewhere. The decisions are those of Do, and are counted alike.
func (b *Batch) Observe(r Record, fn func(*Tx) error) (Decision, error) { return b.do(&r, true, fn) }
