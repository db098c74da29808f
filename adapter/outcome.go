package adapter

import "errors"

// DeadLetter returns an error with which a Handler says that a record is never
// to be handled: it goes to Options.DeadLetterTopic at once, without another
// attempt, and leaves no marker (R7). A nil err is replaced by one that says so.
func DeadLetter(err error) error { return outcomeOf(err, outcomeDeadLetter) }

// Discard returns an error with which a Handler says that a record is done with:
// it leaves its marker, as if it had been handled, while what the handler wrote
// and produced for it is dropped. It is counted, and err goes nowhere.
func Discard(err error) error { return outcomeOf(err, outcomeDiscard) }

// Stop returns an error with which a Handler stops the consumer: Run returns a
// *RecordError with err, without another attempt, whatever Options.OnFailure
// says. The record comes first in the next Run.
func Stop(err error) error { return outcomeOf(err, outcomeStop) }

type outcomeKind uint8

const (
	outcomeFailure outcomeKind = iota // it failed, and is tried again
	outcomeDeadLetter
	outcomeDiscard
	outcomeStop
)

// outcomeError is a failure with what is to become of its record.
type outcomeError struct {
	kind outcomeKind
	err  error
}

func (o *outcomeError) Error() string { return o.err.Error() }
func (o *outcomeError) Unwrap() error { return o.err }

var errNoReason = errors.New("adapter: the handler gave no reason")

func outcomeOf(err error, kind outcomeKind) error {
	if err == nil {
		err = errNoReason
	}
	return &outcomeError{kind, err}
}

// kindOf returns what a handler's error asks for. The outermost one counts.
func kindOf(err error) outcomeKind {
	var o *outcomeError
	if errors.As(err, &o) {
		return o.kind
	}
	return outcomeFailure
}
