package adapter_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// A group that another program had read goes on at its offset. The store has not
// seen what lies below, so it cannot know whether a record is a copy of that:
// here such records are kept aside, with the reason.
func ExampleOptions_unknown() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments", "payments-dead"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	send(ctx, kafka.ListenAddrs(), "one", "two", "three")
	moveGroup(ctx, kafka.ListenAddrs(), "billing", "payments", 2)

	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	c, err := adapter.New(st, pay, &adapter.Options{
		Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
		Unknown: store.UnknownPolicy{Cold: store.DeadLetter}, DeadLetterTopic: "payments-dead",
		UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(ctx), c.Stats().DeadLetters)
	for _, rec := range receive(ctx, kafka.ListenAddrs(), "payments-dead", 1) {
		fmt.Println(string(rec.Value), headers(rec, adapter.HeaderReason))
	}
	// Output:
	// <nil> 1
	// three [cold]
}

// moveGroup sets a group's offset, as an operator does.
func moveGroup(ctx context.Context, brokers []string, group, topic string, to int64) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		panic(err)
	}
	defer cl.Close()
	var at kadm.Offsets
	at.AddOffset(topic, 0, to, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(ctx, group, at); err != nil {
		panic(err)
	}
}
