package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The table of what may befall a record: what is retried inside and comes back
// only when exhausted, what depends on the cluster, what never goes, and what
// ends the producer.
func TestClassOf(t *testing.T) {
	for class, errs := range map[Class][]error{
		0: {nil, errors.New("anything else")},
		ClassExhausted: {
			kgo.ErrRecordTimeout, kgo.ErrRecordRetries, kgo.ErrMaxBuffered, kgo.ErrAborting,
			kerr.RequestTimedOut, kerr.NetworkException, kerr.NotLeaderForPartition,
			kerr.LeaderNotAvailable, kerr.KafkaStorageError, kerr.CoordinatorNotAvailable,
			&net.OpError{Op: "dial", Err: errors.New("refused")}, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
			context.DeadlineExceeded, context.Canceled,
		},
		ClassConditional: {
			kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend,
			kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, ErrUnknownTopic,
			fmt.Errorf("%w, last err: %w", kgo.ErrRecordTimeout, kerr.UnknownTopicOrPartition),
		},
		ClassPermanent: {
			kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord,
			kerr.CorruptMessage, kerr.InvalidTopicException, ErrSerialization, ErrOutputTooLarge, ErrMissingID,
		},
		ClassFatal: {
			kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID,
			kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed,
			kerr.TransactionalIDAuthorizationFailed, kerr.UnsupportedVersion,
			kgo.ErrClientClosed, ErrProducerClosed,
		},
	} {
		for _, err := range errs {
			if err != nil {
				err = fmt.Errorf("wrapped: %w", err)
			}
			require.Equal(t, class, ClassOf(err), "%v", err)
		}
	}
}

// Whatever Kafka answers has a class.
func TestClassOf_EveryAnswer(t *testing.T) {
	n := 0
	for code := int16(-1); code < 200; code++ {
		err := kerr.ErrorForCode(code)
		if err == nil {
			continue
		}
		n++
		require.NotZero(t, ClassOf(err), "%v", err)
	}
	require.Greater(t, n, 100)
}

func TestClass_String(t *testing.T) {
	seen := make(map[string]bool)
	for c := range ClassFatal + 2 {
		seen[c.String()] = true
	}
	require.Len(t, seen, 5, "each has its name, and what is no class has that of the zero Class")
}
