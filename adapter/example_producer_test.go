package adapter_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
)

// A producer gives each message an ID, by which a consumer knows its copies.
// What cannot be sent comes back in bursts, to be kept elsewhere.
func ExampleProducer() {
	kafka := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "payments", "payments-dead"))
	defer kafka.Close()
	ctx := context.Background()

	var p *adapter.Producer
	p, err := adapter.NewProducer(&adapter.ProducerConfig{
		Brokers: kafka.ListenAddrs(), IDHeader: "payment-id",
		DeadLetter: func(ctx context.Context, failed []adapter.FailedRecord) {
			for _, f := range failed {
				err := p.Send(ctx, &kgo.Record{Topic: "payments-dead", Value: f.Record.Key, Headers: f.Record.Headers})
				fmt.Println("kept aside:", string(f.Record.Key), err)
			}
		},
	})
	if err != nil {
		panic(err)
	}
	rec := &kgo.Record{Topic: "payments", Key: []byte("alice"), Value: []byte("1250")}
	fmt.Println(p.Send(ctx, rec), rec.Headers[0].Key, len(rec.Headers[0].Value))

	p.SendAsync(ctx, &kgo.Record{Topic: "payments", Key: []byte("bob"), Value: make([]byte, 2_000_000)}, nil)
	fmt.Println(p.Close(ctx))
	// Output:
	// <nil> payment-id 36
	// kept aside: bob <nil>
	// <nil>
}

// What to do about a record that could not be sent is said by its class.
func ExampleClassOf() {
	for _, err := range []error{
		kgo.ErrRecordTimeout,
		fmt.Errorf("encode: %w: %w", adapter.ErrSerialization, errors.New("no such field")),
		adapter.ErrProducerClosed,
	} {
		switch adapter.ClassOf(err) {
		case adapter.ClassExhausted:
			fmt.Println("send it again, later")
		case adapter.ClassConditional:
			fmt.Println("mend the cluster, then send it again")
		case adapter.ClassPermanent:
			fmt.Println("keep it aside")
		case adapter.ClassFatal:
			fmt.Println("end the producer")
		}
	}
	// Output:
	// send it again, later
	// keep it aside
	// end the producer
}

// The settings of the at-least-once producer, for a client of one's own.
func ExampleProducerOptions() {
	cl, err := kgo.NewClient(append(adapter.ProducerOptions(), kgo.SeedBrokers("localhost:9092"))...)
	if err != nil {
		panic(err)
	}
	defer cl.Close()
	fmt.Println(cl.OptValue(kgo.RecordDeliveryTimeout), cl.OptValue(kgo.DisableIdempotentWrite))
	// Output: 2m0s false
}

// A producer that never lets a later record of a partition go ahead.
func ExampleStrictOrderOptions() {
	p, err := adapter.NewProducer(&adapter.ProducerConfig{
		Brokers: []string{"localhost:9092"}, Client: adapter.StrictOrderOptions(),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Close(context.Background()))
	// Output: <nil>
}
