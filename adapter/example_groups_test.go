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

// A group whose partitions are divided by the coordinator (KIP-848): what stays
// with a member flows on through a rebalance. The member is static; the store goes
// for good, and says so.
func ExampleConsumer_Leave() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "one", "two")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, pay, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Balancer: adapter.BalancerServerUniform,
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx), c.Stats().New)
	fmt.Println(c.Leave(ctx))
	// Output:
	// <nil> 2
	// <nil>
}

// One instance a disk, without a group: it reads the partitions that it is given.
func ExampleOptions_pinned() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "one", "two")

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, pay, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", ID: adapter.Key(),
		Pinned:   map[string][]int32{"payments": {0}},
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx), c.Stats().New)
	// Output: <nil> 2
}
