package adapter

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerOptions returns the settings of a producer that loses nothing: all
// in-sync replicas acknowledge, a record is tried again every 100 ms without a
// limit inside 120 s, a request may take 30 s, nothing lingers. Idempotence is
// on, as kgo has it by default, and with it at most 5 requests in flight, in
// order (KIP-98). Each call returns a slice of its own, to append to; of two
// settings of one thing the later counts.
//
// The 120 s do not end a record of which the client cannot tell whether Kafka
// has written it: that would let the next attempt double it. It waits for
// Kafka's answer.
//
// A client of kgo counts them from the record's Timestamp: one that is older
// fails before it is sent, and so does one that is sent again, since the first
// attempt has set it. A Producer counts from the call.
func ProducerOptions() []kgo.Opt {
	const backOff = 100 * time.Millisecond
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordRetries(math.MaxInt64),
		kgo.RecordDeliveryTimeout(120 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return backOff }),
		kgo.MetadataMinAge(backOff), // a leader that moved, or too few replicas, wait for metadata
		kgo.ProduceRequestTimeout(20 * time.Second),
		kgo.RequestTimeoutOverhead(10 * time.Second), // on top of that: 30 s
		kgo.ProducerLinger(0),
	}
}

// StrictOrderOptions returns the settings of a producer that never goes on
// behind a record that Kafka may yet take: those of ProducerOptions without the
// 120 s, after which a record is given up and those behind it go ahead; and a
// producer stops when Kafka has lost what it acknowledged, rather than begin a
// new sequence. One request in flight is not needed for it: idempotence keeps
// five in order. Records of one partition only have an order: give a key.
func StrictOrderOptions() []kgo.Opt {
	return append(ProducerOptions(),
		kgo.RecordDeliveryTimeout(0),
		kgo.StopProducerOnDataLossDetected(),
	)
}

// deliveryTimeout returns what RecordDeliveryTimeout says among these options.
func deliveryTimeout(opts []kgo.Opt) (time.Duration, error) {
	set, err := settings(opts)
	if err != nil {
		return 0, err
	}
	return set["RecordDeliveryTimeout"][0].(time.Duration), nil
}
