package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"log"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

func credit(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error { // state: same batch as marker and offset
	_, err := tx.Add(rec.Key, cents(rec.Value))
	return err
}
func charge(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error { // the outside world
	return gateway.Charge(ctx, rec.Token(), rec.Value)
}

//nolint:lll // as on the first page
func shout(ctx context.Context, tx *adapter.Tx, rec *adapter.Record) error { // transform; adapter.Forward("out") relays as is
	return tx.Produce(&kgo.Record{Topic: "loud", Key: rec.Key, Value: bytes.ToUpper(rec.Value)})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	st, err := store.Open("billing.firstseen", nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := adapter.New(st, credit, &adapter.Options{
		Brokers: []string{"localhost:9092"}, Group: "billing", Topics: []string{"payments"},
		ID: adapter.Header("payment-id"), Window: window.Week})
	if err == nil {
		err = c.Run(ctx) // nil when ctx ends: batch finished, offsets committed
	}
	if err = errors.Join(err, st.Close()); err != nil {
		log.Fatal(err)
	}
}

// Three handlers: for state in the store, for calls to other systems, and for
// outputs; and a program around the first.
func Example() {
	main()
	for _, handler := range []adapter.Handler{credit, charge, shout, adapter.Forward("out")} {
		_ = handler
	}
}

var gateway paymentGateway

type paymentGateway struct{}

func (paymentGateway) Charge(ctx context.Context, token string, amount []byte) error { return nil }

func cents(value []byte) int64 {
	n, _ := strconv.ParseInt(string(value), 10, 64)
	return n
}
