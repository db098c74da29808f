package adapter

import (
	"errors"
	"fmt"
)

// Errors of a Consumer. The errors that the plan of a partition's start ends in
// (R11), such as ErrGap, stand beside it; those of the store, such as
// store.ErrPoisoned, come through as they are.
var (
	// ErrBrokersAway is returned by Run when no broker answers for 30 s at its
	// start, and by Redrive and Leave when none does. Later outages of a Run are
	// ridden out.
	ErrBrokersAway = errors.New("adapter: no broker answers")

	// ErrCommitRefused is returned by Run when Kafka refuses an offset for a
	// reason that does not end by itself, such as a missing permission. What
	// was handled is safe in the store.
	ErrCommitRefused = errors.New("adapter: kafka refuses the offset")

	// ErrConsumeRefused is returned by Run when Kafka refuses the group or a
	// fetch for a reason that does not end by itself, such as a missing
	// permission or a damaged batch; and by Redrive for a damaged batch.
	ErrConsumeRefused = errors.New("adapter: kafka refuses to be read")

	// ErrHandlerHangs is returned by Run when it ends and leaves a handler behind
	// that did not return though its context had ended, and is why a partition is
	// paused in which one hangs. Nothing of its batch is kept.
	ErrHandlerHangs = errors.New("adapter: a handler does not return")

	// ErrInUse is returned by Run when another Run in this process has the same
	// store and group.
	ErrInUse = errors.New("adapter: the store and the group are in use by another Run")

	// ErrLoop is returned by New and by Tx.Produce for an output whose topic is
	// one that is consumed.
	ErrLoop = errors.New("adapter: an output would go to a topic that is consumed")

	// ErrMissingID is wrapped by the RecordError of a record without an ID,
	// unless the policy is to accept it.
	ErrMissingID = errors.New("adapter: record has no ID")

	// ErrNoDeadLetterTopic is wrapped by the RecordError of a record that is to
	// be dead-lettered, when Options.DeadLetterTopic is empty.
	ErrNoDeadLetterTopic = errors.New("adapter: no dead-letter topic is set; set Options.DeadLetterTopic")

	// ErrNoState is wrapped by the RecordError of a record whose handler asked for
	// state under Options.Concurrency: handlers that run side by side have none.
	ErrNoState = errors.New("adapter: handlers that run side by side have no state")

	// ErrNoTopicID is returned by Run when the brokers give topics no IDs: a
	// topic that is deleted and recreated could not be told from the old one.
	ErrNoTopicID = errors.New("adapter: the brokers give topics no IDs")

	// ErrNotDeadLetter is returned by Redrive for a record that lacks what a dead
	// letter says of itself.
	ErrNotDeadLetter = errors.New("adapter: the record is no dead letter")

	// ErrNotOfBatch is returned by BatchTx.Produce for a record that is none of the
	// call, or when the call has ended.
	ErrNotOfBatch = errors.New("adapter: the record of an output is none of the batch in hand")

	// ErrOutputAhead is returned by Tx.Produce for a time so far ahead of the
	// wall clock that Kafka would refuse the record.
	ErrOutputAhead = errors.New("adapter: the time of an output lies too far ahead")

	// ErrOutputRefused is returned by Run, or is why a partition is paused, when
	// Kafka refuses a staged output for good: see Options.OnFailure. The output stays
	// pending, and the offset of its record is not committed. Tx.Produce returns it
	// for a topic that may not be written, before anything is staged.
	ErrOutputRefused = errors.New("adapter: kafka refuses an output")

	// ErrOutputTooLarge is returned by Tx.Produce for a record that is larger
	// than its topic allows.
	ErrOutputTooLarge = errors.New("adapter: output is larger than its topic allows")

	// ErrOutputsPending is why a partition is paused whose outputs Kafka does not
	// acknowledge; it goes on by itself when it has.
	ErrOutputsPending = errors.New("adapter: outputs wait for kafka; mend their topic")

	// ErrPinnedTwice is returned by Run in pinned mode when somebody else consumes
	// a partition for the group, too: another store has committed its offset, or
	// the group has members.
	ErrPinnedTwice = errors.New("adapter: somebody else consumes a pinned partition")

	// ErrProducerClosed is returned by a Producer that is closed, or about to be.
	ErrProducerClosed = errors.New("adapter: the producer is closed")

	// ErrSerialization is for those who make records: an error of an encoder or a
	// decoder that wraps it is of ClassPermanent, and is not tried again.
	ErrSerialization = errors.New("adapter: key or value cannot be serialized")

	// ErrScattered is returned by Repartition.Run when the topic between its stages has
	// another number of partitions than are used, and the store does not know that
	// number from before; and it is wrapped by the RecordError of a record that lies in
	// another partition there than its ID belongs to: it was spread over another
	// number, or came from somebody else.
	ErrScattered = errors.New("adapter: copies of a message may lie in different partitions")

	// ErrStage is returned by Tx.Stage: outputs of a handler are Kafka records.
	ErrStage = errors.New("adapter: outputs are staged by Tx.Produce, not by Tx.Stage")

	// ErrTransactionRefused is returned by Run when Kafka refuses transactions for
	// a reason that does not end by itself, such as a missing permission. What was
	// handled is safe in the store, its outputs pending.
	ErrTransactionRefused = errors.New("adapter: kafka refuses the transaction")

	// ErrUncommitted is why a partition is paused whose offsets Kafka does not take;
	// it goes on by itself when it has them.
	ErrUncommitted = errors.New("adapter: kafka takes no offsets; mend the coordinator of the group")

	// ErrUnknownTopic is returned by Run when a topic to be consumed does not
	// exist, and by Tx.Produce for an output to one that does not.
	ErrUnknownTopic = errors.New("adapter: the topic does not exist")
)

// A RecordError says which record ended a Run. Nothing of it remains; the
// records before it are handled and committed.
type RecordError struct {
	// Topic, Partition and Offset are where the record stands.
	Topic     string
	Partition int32
	Offset    int64
	// Err is what the handler returned last, a *PanicError, or why the record
	// has no ID.
	Err error
}

// Error names the record, the reason and the way out.
func (e *RecordError) Error() string {
	return fmt.Sprintf("adapter: record at %s/%d@%d was not handled: %v; "+
		"mend its cause and run again, the record comes first",
		e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// A PanicError is a panic of a handler or of an ID extractor, caught.
type PanicError struct {
	// Value is what panic was called with.
	Value any
	// Stack is the stack of the goroutine at that moment, as text.
	Stack []byte
}

// Error returns the value and the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// Unwrap returns Value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
