package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

var errClosed = errors.New("account is closed")

// pay says by the error it returns what is to become of a payment.
func pay(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
	switch string(rec.Value) {
	case "refund": // not ours: as good as handled
		return adapter.Discard(errors.New("refunds are paid elsewhere"))
	case "garbled": // no attempt will mend it
		return adapter.DeadLetter(errors.New("no amount"))
	case "closed": // perhaps later: tried again, then what OnFailure says
		return errClosed
	}
	_, err := tx.Add([]byte("paid"), 1)
	return err
}

// Records that cannot be handled go to a topic of their own, and the partition
// goes on.
func ExampleDeadLetter() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments", "payments-dead"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "ok", "garbled", "closed", "refund", "ok")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, pay, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		OnFailure: adapter.FailureDeadLetter, MaxAttempts: 2, DeadLetterTopic: "payments-dead",
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx))
	fmt.Println(c.Stats().New, c.Stats().Discarded, c.Stats().DeadLetters)
	for _, rec := range receive(ctx, kafka.ListenAddrs(), "payments-dead", 2) {
		fmt.Println(string(rec.Value), headers(rec, adapter.HeaderError, adapter.HeaderAttempts))
	}
	// Output:
	// <nil>
	// 2 1 2
	// garbled [no amount 1]
	// closed [account is closed 2]
}

// A partition pauses at a record that fails, while the others go on, until the
// cause is mended.
func ExampleConsumer_Resume() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "ok", "closed")
	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()

	mended, handled := make(chan struct{}), make(chan struct{}, 1)
	paused := alert{make(chan struct{}, 1)}
	c, err := adapter.New(st, func(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		select {
		case <-mended:
			handled <- struct{}{}
			return nil
		default:
			return pay(ctx, tx, rec)
		}
	}, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		OnFailure: adapter.FailurePause, MaxAttempts: 1, Logger: slog.New(paused),
	})
	if err != nil {
		panic(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- c.Run(running) }()
	paused.wait(ctx)
	at := c.Paused()[0]
	fmt.Println(at.Topic, at.Partition, at.Offset, errors.Is(at.Err, errClosed))
	close(mended)
	fmt.Println(c.Resume(at.Topic, at.Partition))
	select {
	case <-handled:
	case <-ctx.Done():
	}
	stop()
	fmt.Println(<-done, c.Stats().New)
	// Output:
	// payments 0 1 true
	// true
	// <nil> 2
}

// alert is a log that calls somebody when a partition pauses.
type alert struct{ raised chan struct{} }

func (a alert) Enabled(context.Context, slog.Level) bool { return true }
func (a alert) WithAttrs([]slog.Attr) slog.Handler       { return a }
func (a alert) WithGroup(string) slog.Handler            { return a }

func (a alert) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "partition paused" {
		a.raised <- struct{}{}
	}
	return nil
}

func (a alert) wait(ctx context.Context) {
	select {
	case <-a.raised:
	case <-ctx.Done():
	}
}

// Before anything is dropped: every record is handled, and told apart.
func ExampleOptions_observe() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "10", "20")
	send(ctx, kafka.ListenAddrs(), "10") // with the key of the first

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, func(_ context.Context, _ *adapter.Tx, rec *adapter.Record) error {
		fmt.Println(string(rec.Value), rec.Decision.Verdict)
		return nil
	}, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Observe: true, UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx))
	// Output:
	// 10 new
	// 20 new
	// 10 duplicate
	// <nil>
}

// send produces payments, each with a key of its own.
func send(ctx context.Context, brokers []string, values ...string) {
	p, err := adapter.NewProducer(&adapter.ProducerConfig{Brokers: brokers})
	if err != nil {
		panic(err)
	}
	for i, value := range values {
		err := p.Send(ctx, &kgo.Record{Topic: "payments", Key: fmt.Append(nil, i), Value: []byte(value)})
		if err != nil {
			panic(err)
		}
	}
	_ = p.Close(ctx)
}

// receive reads the first records of a topic of one partition.
func receive(ctx context.Context, brokers []string, topic string, n int) (recs []*kgo.Record) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic))
	if err != nil {
		panic(err)
	}
	defer cl.Close()
	for len(recs) < n && ctx.Err() == nil {
		recs = append(recs, cl.PollFetches(ctx).Records()...)
	}
	return recs
}

func headers(rec *kgo.Record, names ...string) (values []string) {
	for _, name := range names {
		for _, h := range rec.Headers {
			if h.Key == name {
				values = append(values, string(h.Value))
			}
		}
	}
	return values
}
