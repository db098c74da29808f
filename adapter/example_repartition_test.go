package adapter_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// A payment that was sent twice, to two partitions: its copies meet in the topic
// between, and it is booked once.
func ExampleRepartition() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "payments"), kfake.SeedTopics(4, "by-id"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		panic(err)
	}
	defer cl.Close()
	for partition := range int32(2) {
		err := cl.ProduceSync(ctx, &kgo.Record{
			Topic: "payments", Partition: partition, Key: []byte("payment-1"), Value: []byte("100"),
		}).FirstErr()
		if err != nil {
			panic(err)
		}
	}

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	book := func(_ context.Context, _ *adapter.Tx, rec *adapter.Record) error {
		fmt.Printf("%s: %s\n", rec.ID, rec.Value)
		return nil
	}
	r, err := adapter.NewRepartition(st, book, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Transactional: true, UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, "by-id", 4)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Run(ctx), r.Stats().New, r.Stats().Duplicates)
	// Output:
	// payment-1: 100
	// <nil> 1 1
}

// The same for a database that takes the rows of a batch in one go.
func ExampleNewBatchRepartition() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"), kfake.SeedTopics(4, "by-id"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "10", "20", "30")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	r, err := adapter.NewBatchRepartition(st, insert, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Transactional: true, UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, "by-id", 4)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Run(ctx), r.Stats().New)
	// Output:
	// <nil> 3
}
