package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// insert writes the rows of a batch to a database, in one go, and keeps a sum of
// them in the state.
func insert(_ context.Context, tx *adapter.BatchTx, recs []*adapter.Record) error {
	for _, rec := range recs {
		if string(rec.Value) == "garbled" {
			return errors.New("the database refuses the rows")
		}
	}
	_, err := tx.Add([]byte("rows"), int64(len(recs)))
	return err
}

// The new records of a poll in one call, all accepted or none. A record that makes
// its batch fail is found by halving it, and goes to the dead letters alone.
func ExampleNewBatch() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments", "payments-dead"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "10", "20", "30", "garbled", "40", "50")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.NewBatch(st, insert, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		OnFailure: adapter.FailureDeadLetter, MaxAttempts: 2, DeadLetterTopic: "payments-dead",
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx))
	fmt.Println(c.Stats().New, c.Stats().DeadLetters)
	fed, err := adapter.Redrive(ctx, &adapter.RedriveConfig{
		Brokers: kafka.ListenAddrs(), DeadLetterTopic: "payments-dead",
	})
	fmt.Println(fed, err)
	// Output:
	// <nil>
	// 5 1
	// 1 <nil>
}

// Slow calls to another system, a hundred at the same time, those of one customer
// one after the other.
func ExampleOptions_concurrency() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "10", "20", "30", "40")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	call := func(_ context.Context, rec *adapter.Record) error { return nil } // to the gateway, with rec.Token()
	c, err := adapter.New(st, func(ctx context.Context, _ *adapter.Tx, rec *adapter.Record) error {
		return call(ctx, rec)
	}, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Concurrency: 100, Commit: adapter.CommitAsync(),
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx), c.Stats().New)
	// Output:
	// <nil> 4
}

// Kafka hears of the positions every 10,000 records, or every five seconds.
func ExampleCommitStrategy() {
	opts := adapter.Options{
		Commit: adapter.CommitEvery(10_000, 5*time.Second),
		// and a partition of which it hears nothing goes on this far
		MaxUncommitted: 50_000,
	}
	fmt.Println(opts.Commit == adapter.CommitPerPoll())
	// Output:
	// false
}
