package adapter

import (
	"errors"
	"fmt"
	"iter"

	"github.com/firstseen/firstseen/store"
)

// ErrUnknown is what the dead letter of a record says of which the store cannot
// know whether a copy was handled (R4).
var ErrUnknown = errors.New("adapter: the store cannot know whether a copy was handled")

// unknowns are the actions of a policy, by the names of its reasons.
func unknowns(p store.UnknownPolicy) iter.Seq2[string, store.Action] {
	return func(yield func(string, store.Action) bool) {
		_ = yield("Late", p.Late) && yield("Clock", p.Clock) && yield("Cold", p.Cold) &&
			yield("Evicted", p.Evicted) && yield("Lost", p.Lost)
	}
}

// unknownPolicy is what the store is asked to do. A handler that observes gets
// what would be dead-lettered and may write state for it, as for a duplicate.
func (o *Options) unknownPolicy() store.UnknownPolicy {
	p := o.Unknown
	if o.Observe {
		for _, action := range []*store.Action{&p.Late, &p.Clock, &p.Cold, &p.Evicted, &p.Lost} {
			if *action == store.DeadLetter {
				*action = store.Drop
			}
		}
	}
	return p
}

// deadLetters tells whether a policy asks for dead letters.
func (o *Options) deadLetters() bool {
	for _, action := range unknowns(o.Unknown) {
		if action == store.DeadLetter {
			return true
		}
	}
	return o.OnFailure == FailureDeadLetter || o.MissingID == MissingIDDeadLetter
}

// unknownError says that a record is Unknown and that its dead letter could not
// be staged.
type unknownError struct {
	err     error // what it is
	refused error // why it was not staged
}

func (u *unknownError) Error() string { return u.err.Error() }
func (u *unknownError) Unwrap() error { return u.err }

// unknown stages a record that is Unknown for the dead-letter topic. It is not
// handled, and leaves no marker.
func (p *partition) unknown(tx *Tx) error {
	d := tx.rec.Decision
	err := fmt.Errorf("%w: %v, coverage %v", ErrUnknown, d.Reason, d.Coverage)
	if refused := tx.deadLetter(failed{err: err}); refused != nil {
		return &unknownError{err, refused}
	}
	return nil
}
