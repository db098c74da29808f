package adapter

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// OnFailure is what happens to a record whose handler fails again and again (R7).
type OnFailure uint8

// The policies for a record that fails.
const (
	FailureStop       OnFailure = iota // Run returns a RecordError, the default
	FailurePause                       // its partition pauses, the others go on; see Consumer.Resume
	FailureDeadLetter                  // it goes to Options.DeadLetterTopic, and the partition goes on
)

// failed is a record that failed, once it is clear that it is not tried again.
type failed struct {
	it       *item
	err      error // the handler's last one
	attempts int   // 0: it was not handled
	missing  bool  // it has no ID, and was not handled
}

// fate is what becomes of a record that failed.
type fate uint8

const (
	fateStop fate = iota
	fatePause
	fateDeadLetter
	fateDiscard
)

// fateOf says what becomes of a record, by what its handler returned and by the
// policies. It may add to the error why.
func (p *partition) fateOf(gone *failed) fate {
	o, kind := &p.s.c.opts, outcomeFailure
	if gone.attempts > 0 {
		kind = kindOf(gone.err)
	}
	switch {
	case kind == outcomeStop:
		return fateStop
	case kind == outcomeDiscard:
		return fateDiscard
	case p.repeating && !gone.missing:
		gone.err = fmt.Errorf("%w: %w", errHandledAgain, gone.err)
		return fateStop
	case kind == outcomeDeadLetter, gone.missing && o.MissingID == MissingIDDeadLetter,
		!gone.missing && o.OnFailure == FailureDeadLetter:
		return fateDeadLetter
	case !gone.missing && o.OnFailure == FailurePause:
		return fatePause
	default:
		return fateStop
	}
}

// handle decides one record and, when it is to be handled, has do done until it
// succeeds, its attempts or the batch's time are used up, or it says what is to
// become of the record (R7). When it is not done, p.stopped or p.failed say why,
// unless Run is to end. The error is one that undoes the batch.
func (w *work) handle(it *item, do func(*Tx) error) (staged []*kgo.Record, done bool, err error) {
	p := w.p
	if gone, ok := p.unfit(it); ok {
		return w.conclude(gone)
	}
	for attempts := 1; ; attempts++ {
		staged, failure, err := p.attempt(w.b, it, &w.count, do)
		var unknown *unknownError
		switch {
		case err != nil:
			return nil, false, err
		case errors.As(failure, &unknown):
			return nil, false, p.notStaged(failed{it: it, err: unknown}, unknown.refused)
		case failure == nil:
			return staged, true, nil
		}
		p.s.c.stats.failures.Add(1)
		if again, ended := w.again(failure, attempts, 0); ended {
			return nil, false, nil
		} else if !again {
			return w.conclude(failed{it: it, err: failure, attempts: attempts})
		}
	}
}

// again pauses before what failed is done again, unless that is in vain, or
// would end with less time than is to be spared. ended tells that Run is to end.
func (w *work) again(failure error, attempts int, spared time.Duration) (again, ended bool) {
	pause := pauseAfter(failure, attempts)
	if kindOf(failure) != outcomeFailure || lasting(failure) || attempts == w.p.s.c.opts.MaxAttempts ||
		w.left() < pause+spared {
		return false, false
	}
	if !wait(w.run, pause) {
		return false, true
	}
	return true, false
}

// unfit tells whether a record cannot be handled at all.
func (p *partition) unfit(it *item) (gone failed, unfit bool) {
	if it.err != nil {
		return failed{it: it, err: it.err}, true
	}
	if len(it.id) > 0 || p.s.c.opts.MissingID == MissingIDAccept {
		return failed{}, false
	}
	err := fmt.Errorf("%w: %s (extractor %s)", ErrMissingID, it.missing, p.s.c.opts.ID.Name())
	return failed{it: it, err: err, missing: true}, true
}

// conclude does with a record that failed what its fate is.
func (w *work) conclude(gone failed) (staged []*kgo.Record, done bool, err error) {
	p := w.p
	switch p.fateOf(&gone) {
	case fateDiscard:
		err := p.discard(w.b, gone.it, &w.count)
		return nil, err == nil, err
	case fateDeadLetter:
		return p.deadLetter(w.b, gone, &w.count)
	case fatePause:
		p.failed = p.recordError(gone.it.rec, gone.err)
	default:
		p.stop(gone.it.rec, gone.err)
	}
	return nil, false, nil
}

// discard accepts a record without what its handler did.
func (p *partition) discard(b *store.Batch, it *item, count *tally) error {
	r := p.recordOf(it)
	var err error
	if len(it.id) == 0 {
		err = b.Pass(r, nil)
	} else {
		_, err = b.Do(r, nil)
	}
	if err != nil {
		return p.storeError(it, err)
	}
	count.discarded++
	return nil
}

// deadLetter passes a record, and stages it for the dead-letter topic. It leaves
// no marker. A record that cannot be staged stops the partition.
func (p *partition) deadLetter(
	b *store.Batch, gone failed, count *tally,
) (staged []*kgo.Record, done bool, err error) {
	if p.s.c.opts.DeadLetterTopic == "" {
		p.stop(gone.it.rec, fmt.Errorf("%w: %w", gone.err, ErrNoDeadLetterTopic))
		return nil, false, nil
	}
	var refused error
	err = b.Pass(p.recordOf(gone.it), func(stx *store.Tx) error {
		tx := p.tx(stx, gone.it)
		refused = tx.deadLetter(gone)
		staged = tx.staged
		return refused
	})
	switch {
	case refused != nil:
		return nil, false, p.notStaged(gone, refused)
	case err != nil:
		return nil, false, p.storeError(gone.it, err)
	}
	count.deadLetters++
	return staged, true, nil
}

// notStaged is a dead letter that could not be staged. Nothing of its record
// remains. The error is one that undoes the batch.
func (p *partition) notStaged(gone failed, refused error) error {
	switch broken := p.s.c.st.Err(); {
	case broken != nil:
		return broken
	case !lasting(refused) && !errors.Is(refused, ErrUnknownTopic):
		// The brokers do not answer. A new session begins with the record.
		p.stopped = &again{refused}
	default:
		p.stop(gone.it.rec, fmt.Errorf("%w: %w", gone.err, refused))
	}
	return nil
}
