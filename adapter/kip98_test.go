package adapter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What Kafka's idempotent producer (KIP-98) covers, and what it does not. Each
// of these runs on the embedded broker, and on a real one.
var kip98 = map[string]func(*testing.T, *world){
	"one session":       kip98OneSession,
	"restart":           kip98Restart,
	"two producers":     kip98TwoProducers,
	"another partition": kip98AnotherPartition,
}

// D02, E18: a copy from another session of a producer, or in another partition.
func TestFault_D02_E18_WhatKIP98DoesNotCover(t *testing.T) {
	for name, fn := range kip98 {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 4, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 4, nil)
				fn(t, w)
			})
		})
	}
}

// One session: Kafka has written the record, and its answer is lost. The client
// tries again, and Kafka knows the sequence number.
func kip98OneSession(t *testing.T, w *world) {
	p, answers := w.producer()
	require.NoError(t, p.Send(t.Context(), record(0, "first")))
	answers.lose.Store(1)
	require.NoError(t, p.Send(t.Context(), record(0, "a")))
	require.Zero(t, answers.lose.Load(), "it was lost")
	require.Equal(t, []string{"first", "a"}, w.logged(0))
	require.NoError(t, w.run())
	require.Equal(t, []string{"first", "a"}, w.calls.order)
}

// A restart: Kafka has written the record, its answer is lost, and the process
// dies. The next one has another producer ID, and Kafka writes it again. The
// consumer's marker knows the message.
func kip98Restart(t *testing.T, w *world) {
	rec := record(0, "a")
	died, answers := w.producer()
	answers.lose.Store(1 << 30)
	sent := make(chan error, 1)
	died.SendAsync(t.Context(), rec, func(err error) { sent <- err })
	w.until(func() bool { return len(w.logged(0)) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, died.Close(ctx), context.Canceled)
	require.ErrorIs(t, <-sent, kgo.ErrClientClosed)

	p, _ := w.producer()
	require.NoError(t, p.Send(t.Context(), rec))
	require.Equal(t, []string{"a", "a"}, w.logged(0))
	require.NoError(t, w.run())
	require.Equal(t, []string{"a"}, w.calls.order)
}

// Two producers send one message: each has a producer ID of its own.
func kip98TwoProducers(t *testing.T, w *world) {
	for range 2 {
		p, _ := w.producer()
		require.NoError(t, p.Send(t.Context(), record(0, "a")))
	}
	require.Equal(t, []string{"a", "a"}, w.logged(0))
	require.NoError(t, w.run())
	require.Equal(t, []string{"a"}, w.calls.order)
}

// Another partition: sequence numbers count in one, and so do the markers of a
// consumer. One that writes each message where its ID belongs brings the copies
// together, and the next one handles it once.
func kip98AnotherPartition(t *testing.T, w *world) {
	p, _ := w.producer()
	for partition := range int32(2) {
		require.NoError(t, p.Send(t.Context(), record(partition, "a")))
	}
	require.Equal(t, []string{"a"}, w.logged(0))
	require.Equal(t, []string{"a"}, w.logged(1))
	require.NoError(t, w.consumer(func(_ context.Context, tx *Tx, rec *Record) error {
		return tx.Produce(&kgo.Record{Topic: outTopic, Key: rec.ID, Value: rec.Value, Headers: rec.Headers})
	}).Run(t.Context()))
	copies := 0
	for _, recs := range w.kafka.ReadAll(t, outTopic) {
		copies += len(recs)
	}
	require.Equal(t, 2, copies)

	w.opts.Group, w.opts.Topics = "second", []string{outTopic}
	require.NoError(t, w.run())
	require.Equal(t, []string{"a"}, w.calls.order)
}

// producer returns a producer to the partition that a record names, and what can
// lose Kafka's answers to it.
func (w *world) producer() (*Producer, *answers) {
	w.Helper()
	dialer, a := w.lossy()
	p, err := NewProducer(&ProducerConfig{Brokers: w.kafka.Brokers(), IDHeader: "id", Client: []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), dialer,
	}})
	require.NoError(w, err)
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(w, p.Close(ctx))
	})
	return p, a
}

// lossy returns a dialer that can lose Kafka's answers, and what has it do so.
func (w *world) lossy() (kgo.Opt, *answers) {
	w.Helper()
	probe, err := kgo.NewClient(w.kafka.DialOptions()...)
	require.NoError(w, err)
	defer probe.Close()
	dial, ok := probe.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	if !ok || dial == nil {
		dial = new(net.Dialer).DialContext
	}
	a := new(answers)
	return kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := dial(ctx, network, host)
		return &lossyConn{Conn: conn, answers: a}, err
	}), a
}

// answers are those of Kafka to produce requests. The next few are lost.
type answers struct{ lose atomic.Int64 }

// lossyConn loses answers: it is cut when the answer has come, unread.
type lossyConn struct {
	net.Conn
	answers  *answers
	produces atomic.Bool
}

func (c *lossyConn) Write(b []byte) (int, error) {
	const produce = 0
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == produce {
		c.produces.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.produces.Load() && c.answers.lose.Load() > 0 {
		c.answers.lose.Add(-1)
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// logged returns the IDs of what a partition holds.
func (w *world) logged(partition int32) (ids []string) {
	w.Helper()
	for _, r := range w.kafka.ReadAll(w, topic)[partition] {
		ids = append(ids, header(r, "id"))
	}
	return ids
}
