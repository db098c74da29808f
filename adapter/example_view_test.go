package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// How is the state served that the handler makes? From a View of the partition's
// namespace, from any goroutine, while the consumer runs. An account's payments lie
// in one partition, if they have its name as key; which one is not asked here.
func Example_view() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "500", "250") // of the accounts "0" and "1"

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, credit, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Header("message-id"),
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx))
	fmt.Println(balance(st, "1"))
	// Output:
	// <nil>
	// 250 <nil>
}

// balance adds up what the partitions have of an account.
func balance(st *store.Store, account string) (sum int64, err error) {
	for name := range st.Namespaces() { // those that there are: to ask for another one would make it
		if !strings.HasPrefix(name, "billing/payments/") {
			continue
		}
		ns, err := st.Namespace(name, nil)
		if err != nil {
			return 0, err
		}
		err = ns.View(func(v *store.View) error {
			n, err := v.Int([]byte(account))
			sum += n
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// A panic of a handler is a failure like another one, with its stack kept.
func ExamplePanicError() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "500")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, func(context.Context, *adapter.Tx, *adapter.Record) error {
		panic("no such account")
	}, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Header("message-id"),
		MaxAttempts: 1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	var record *adapter.RecordError
	var panicked *adapter.PanicError
	if err := c.Run(ctx); errors.As(err, &record) && errors.As(err, &panicked) {
		fmt.Println(record.Topic, record.Partition, record.Offset, panicked.Value, len(panicked.Stack) > 0)
	}
	// Output: payments 0 0 no such account true
}
