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

// Balances in the store and receipts in Kafka, both exactly once: the receipts go in
// one Kafka transaction with the group's offset. Who reads them with the isolation
// level read_committed sees each once, whatever crashes in between.
func ExampleOptions_transactional() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments", "receipts"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "100", "250", "17")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	book := func(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		balance, err := tx.Add([]byte("balance"), cents(rec.Value))
		return errors.Join(err, tx.Produce(&kgo.Record{Topic: "receipts", Value: fmt.Append(nil, balance)}))
	}
	c, err := adapter.New(st, book, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Transactional: true, UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx), c.Stats().Outputs)
	for _, rec := range receive(ctx, kafka.ListenAddrs(), "receipts", 3) {
		fmt.Println(string(rec.Value))
	}
	// Output:
	// <nil> 3
	// 100
	// 350
	// 367
}
