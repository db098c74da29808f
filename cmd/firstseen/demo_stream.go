package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// paymentID is the header that names a payment.
const paymentID = "payment-id"

// stream is what stands in the demo's topic.
type stream struct {
	payments int             // different ones
	chunk    int             // how many are written together
	balance  int64           // the sum of their cents, each counted once
	records  int64           // in the topic
	ends     map[int32]int64 // of the partitions

	retried, restarted, replayed uint64 // duplicates by their cause
}

func (s *stream) duplicates() uint64 { return s.retried + s.restarted + s.replayed }

// payment returns the n-th payment as a record. A copy of it is the same again.
func payment(n int) *kgo.Record {
	return &kgo.Record{
		Topic:   demoTopic,
		Key:     fmt.Appendf(nil, "account-%03d", n%1000),
		Value:   strconv.AppendInt(nil, cents(n), 10),
		Headers: []kgo.RecordHeader{{Key: paymentID, Value: fmt.Appendf(nil, "payment-%07d", n)}},
	}
}

func cents(n int) int64 { return 100 + int64(n)*7919%9900 }

// produceStream writes n payments, and duplicates in the three ways in which
// producers make them, in the order of time.
func produceStream(ctx context.Context, b *demoBroker, n int) (*stream, error) {
	s := &stream{payments: n}
	for i := range n {
		s.balance += cents(i)
	}
	// A producer without idempotence gets errors for writes that were kept. It
	// ends at six tenths, and remembers only up to a hundredth before.
	s.chunk = n / 100
	found := b.loseAnswers(20)
	err := s.produce(ctx, b, 0, n*6/10, kgo.DisableIdempotentWrite())
	found()
	if err != nil {
		return nil, err
	}
	// Its successor has another producer ID: the broker takes the overlap for
	// new records.
	if err := s.produce(ctx, b, n*59/100, n*8/10); err != nil {
		return nil, err
	}
	s.restarted = uint64(n*6/10 - n*59/100)
	// A system upstream replays a part of its history.
	if err := s.produce(ctx, b, n*50/100, n*55/100); err != nil {
		return nil, err
	}
	s.replayed = uint64(n*55/100 - n*50/100)
	if err := s.produce(ctx, b, n*8/10, n); err != nil {
		return nil, err
	}
	if err := s.measure(ctx, b); err != nil {
		return nil, err
	}
	s.retried = uint64(s.records) - uint64(n) - s.restarted - s.replayed
	return s, nil
}

// produce writes the payments from .. to-1 with a producer of its own.
func (s *stream) produce(
	ctx context.Context, b *demoBroker, from, to int, opts ...kgo.Opt,
) error {
	client, err := kgo.NewClient(append(opts,
		kgo.SeedBrokers(b.fake.ListenAddrs()...),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		// A chunk is sent whole as soon as it is there: which writes the broker
		// fails does not depend on how a busy machine cuts it.
		kgo.ProducerLinger(20*time.Millisecond),
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond }),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ; from < to; from += s.chunk {
		recs := make([]*kgo.Record, 0, s.chunk)
		for i := from; i < min(from+s.chunk, to); i++ {
			recs = append(recs, payment(i))
		}
		if err := client.ProduceSync(ctx, recs...).FirstErr(); err != nil {
			return fmt.Errorf("%w: produce payments: %w", errBroker, err)
		}
	}
	return nil
}

// measure asks the broker how much there is.
func (s *stream) measure(ctx context.Context, b *demoBroker) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.fake.ListenAddrs()...))
	if err != nil {
		return err
	}
	defer client.Close()
	s.ends, err = endOffsets(ctx, client)
	for _, end := range s.ends {
		s.records += end
	}
	return err
}

// endOffsets returns where the partitions of the demo's topic end.
func endOffsets(ctx context.Context, client *kgo.Client) (map[int32]int64, error) {
	listed, err := kadm.NewClient(client).ListEndOffsets(ctx, demoTopic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: list the end of %s: %w", errBroker, demoTopic, err)
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}
