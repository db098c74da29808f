package adapter_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// Everything that is wrong with the options is said at once.
func ExampleNew() {
	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	_, err = adapter.New(st, adapter.Forward("payments"), &adapter.Options{
		Brokers: []string{"localhost:9092"}, Group: "billing", Topics: []string{"payments"},
		ID:     adapter.Header("payment-id"),
		Client: []kgo.Opt{kgo.AutoCommitInterval(1e9), kgo.InstanceID("one")},
	})
	fmt.Println(err)
	// Output:
	// adapter: an output would go to a topic that is consumed: "payments"; give the outputs a topic of their own
	// adapter: Client options set what the adapter sets: InstanceID, AutoCommitInterval; leave them out
}

// The error of a record names it, and keeps what the handler returned.
func ExampleRecordError() {
	broke := errors.New("account is closed")
	var err error = &adapter.RecordError{Topic: "payments", Partition: 3, Offset: 1207, Err: broke}

	var record *adapter.RecordError
	if errors.As(err, &record) {
		fmt.Println(record.Topic, record.Partition, record.Offset, errors.Is(err, broke))
	}
	// Output: payments 3 1207 true
}

// A token is the same for every copy of a message, wherever it stands.
func ExampleRecord_Token() {
	handler := func(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		fmt.Println(len(rec.Token()))
		return nil
	}
	rec := &adapter.Record{Record: &kgo.Record{Topic: "payments"}, ID: []byte("p-1")}
	_ = handler(context.Background(), nil, rec)
	// Output: 36
}
