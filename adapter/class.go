package adapter

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Class says what to do about a record that could not be sent.
type Class uint8

// The classes. The zero Class is none: there is no error, or it is neither
// Kafka's nor its client's.
const (
	_ Class = iota
	// ClassExhausted: it might have gone well, and was tried until the time was
	// over: the network, a broker that is away, a leader that moves. Send the
	// record again, later. It may be in the log already; its ID is the same.
	ClassExhausted
	// ClassConditional: Kafka takes it once the cluster is mended: too few
	// replicas are in sync, or the topic does not exist. Mend that, then send
	// the record again.
	ClassConditional
	// ClassPermanent: this record never goes: it is too large, cannot be
	// serialized, or has a time that the topic refuses. Keep it aside.
	ClassPermanent
	// ClassFatal: no record goes, with this producer: it was fenced, is closed,
	// or may not write there. End it, and mend the cause.
	ClassFatal
)

// String returns the name of the class.
func (c Class) String() string {
	switch c {
	case ClassExhausted:
		return "retriable, exhausted"
	case ClassConditional:
		return "conditional"
	case ClassPermanent:
		return "permanent"
	case ClassFatal:
		return "fatal"
	default:
		return "none"
	}
}

var (
	permanent = []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord,
		kerr.CorruptMessage, kerr.UnsupportedForMessageFormat, kerr.InvalidTopicException,
		ErrSerialization, ErrOutputTooLarge, ErrOutputAhead, ErrLoop, ErrMissingID,
	}
	// Kafka calls some of these retriable, for what a client does inside; a
	// promise that ends in one of them is the end of the producer.
	fatal = []error{
		kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerIDMapping,
		kerr.InvalidProducerEpoch, kerr.ProducerFenced, kgo.ErrClientClosed, ErrProducerClosed,
	}
	conditional = []error{
		kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, ErrUnknownTopic,
	}
	exhausted = []error{
		kgo.ErrRecordTimeout, kgo.ErrRecordRetries, kgo.ErrMaxBuffered, kgo.ErrAborting,
		context.DeadlineExceeded, context.Canceled, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF,
	}
)

// ClassOf returns the class of an error with which a record failed to be sent.
// Each such error is final: the client has tried again whatever it could. Of
// several errors in one, the most specific counts.
func ClassOf(err error) Class {
	is := func(targets []error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	var answer *kerr.Error
	var network net.Error
	switch {
	case err == nil:
		return 0
	case is(permanent):
		return ClassPermanent
	case is(fatal):
		return ClassFatal
	case is(conditional):
		return ClassConditional
	case errors.As(err, &answer):
		if answer.Retriable {
			return ClassExhausted
		}
		return ClassFatal
	case is(exhausted), errors.As(err, &network):
		return ClassExhausted
	default:
		return 0
	}
}
