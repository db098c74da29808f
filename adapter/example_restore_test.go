package adapter_test

import (
	"context"
	"errors"
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

// What happens to the duplicates of a partition when it moves to an instance with an
// empty disk? Its markers are read back from the log first, and its state, as the
// handler is pure.
func ExampleRestoreProgress() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	count := func(_ context.Context, tx *adapter.Tx, _ *adapter.Record) error {
		_, err := tx.Add([]byte("payments"), 1)
		return err
	}
	for _, news := range [][]string{{"one", "two", "three"}, {"one", "two", "three", "four"}} {
		send(ctx, kafka.ListenAddrs(), news...)
		st, err := store.Open("", &store.Options{InMemory: true}) // a new disk each time
		if err != nil {
			panic(err)
		}
		c, err := adapter.New(st, count, &adapter.Options{
			Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
			Pure: true,
			OnRestore: func(p adapter.RestoreProgress) {
				if p.Done {
					fmt.Printf("restored: %d records, up to offset %d\n", p.Records, p.To)
				}
			},
			UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			panic(err)
		}
		if err := c.Run(ctx); err != nil {
			panic(err)
		}
		ns, err := st.Namespace("billing/payments/0", nil)
		if err != nil {
			panic(err)
		}
		_ = ns.View(func(v *store.View) error {
			n, err := v.Int([]byte("payments"))
			fmt.Println(n, "payments,", c.Stats().Duplicates, "duplicates")
			return err
		})
		leave(ctx, kafka.ListenAddrs(), "billing", st.ID())
		_ = st.Close()
	}
	// Output:
	// 3 payments, 0 duplicates
	// restored: 3 records, up to offset 3
	// 4 payments, 3 duplicates
}

// leave takes a static member out of its group: it does not come back.
func leave(ctx context.Context, brokers []string, group string, instance store.ID) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		panic(err)
	}
	defer cl.Close()
	left, err := kadm.NewClient(cl).LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(instance.String()))
	if err = errors.Join(err, left.Error()); err != nil {
		panic(err)
	}
}

// How long would a takeover take? An instance that stands by says how far its store
// follows the group.
func ExampleStanding() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "payments"))
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nothing := func(context.Context, *adapter.Tx, *adapter.Record) error { return nil }
	var both []*adapter.Consumer
	ended := make(chan error, 2)
	running, stop := context.WithCancel(ctx)
	for range 2 {
		st, err := store.Open("", &store.Options{InMemory: true})
		if err != nil {
			panic(err)
		}
		defer func() { _ = st.Close() }()
		c, err := adapter.New(st, nothing, &adapter.Options{
			Brokers: kafka.ListenAddrs(), Group: "billing", Topics: []string{"payments"}, ID: adapter.Key(),
			Standby: map[string][]int32{"payments": {0, 1}},
			Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			panic(err)
		}
		both = append(both, c)
		go func() { ended <- c.Run(running) }()
	}
	until(ctx, func() bool { return both[0].Stats().Partitions == 1 && both[1].Stats().Partitions == 1 })
	send(ctx, kafka.ListenAddrs(), "one", "two", "three", "four", "five", "six")
	var behind int64
	until(ctx, func() bool {
		met := 0
		behind = 0
		for _, c := range both {
			for _, s := range c.Standbys() {
				behind, met = behind+s.Group-s.Offset, met+1
			}
		}
		return met == 2 && behind == 0
	})
	stop()
	fmt.Println(<-ended, <-ended, behind)
	// Output: <nil> <nil> 0
}

// until looks again and again, as who scrapes figures does, until done says so.
func until(ctx context.Context, done func() bool) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !done() {
		select {
		case <-look.C:
		case <-ctx.Done():
			panic(ctx.Err())
		}
	}
}
