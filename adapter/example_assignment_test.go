package adapter_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// Which partitions has this instance now, how far is it, and which of them stand
// still? A status page shows it.
func ExampleConsumer_Partitions() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "one", "two", "three", "closed")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, pay, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		OnFailure: adapter.FailurePause, MaxAttempts: 1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- c.Run(running) }()
	until(ctx, func() bool { return c.Stats().New == 3 && c.Stats().Paused == 1 })
	for _, p := range c.Partitions() {
		fmt.Printf("%s/%d at %d, %d to go, paused: %v\n", p.Topic, p.Partition, p.Offset, p.Lag, p.Paused != nil)
	}
	stop()
	fmt.Println(<-done, len(c.Partitions()))
	// Output:
	// payments/0 at 2, 0 to go, paused: false
	// payments/1 at 1, 1 to go, paused: true
	// <nil> 0
}
