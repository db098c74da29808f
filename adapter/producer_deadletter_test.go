package adapter

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// Ten thousand records fail at once. The callback gets them in bursts, and sends
// each to the dead-letter topic by the same producer, waiting for it; those who
// send meanwhile wait, nobody for ever: a deadlock would end the bubble.
func TestProducer_DeadLettersInBursts(t *testing.T) {
	const many = 12_000 // more than the client buffers
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		k.CreateTopic(t, "dead", 1, nil)
		var (
			p      *Producer
			bursts int
			kept   []string
		)
		p = newProducer(t, k, func(ctx context.Context, failed []FailedRecord) {
			bursts++
			var wait sync.WaitGroup
			for i, f := range failed {
				require.Equal(t, ClassPermanent, ClassOf(f.Err))
				kept = append(kept, header(f.Record, "id"))
				dead := *f.Record
				dead.Topic = "dead"
				if i < 100 { // some one by one
					require.NoError(t, p.Send(ctx, &dead))
					continue
				}
				wait.Add(1)
				p.SendAsync(ctx, &dead, func(err error) {
					defer wait.Done()
					require.NoError(t, err)
				})
			}
			wait.Wait()
		})
		refuse(k, topic, kerr.InvalidTimestamp)
		told := 0
		for _, id := range ids("a", many) {
			p.SendAsync(t.Context(), record(0, id), func(err error) {
				require.ErrorIs(t, err, kerr.InvalidTimestamp)
				told++
			})
		}
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, many, told)
		require.Equal(t, ids("a", many), kept, "each once, in their order")
		require.Less(t, bursts, many/10)
		require.Len(t, k.ReadAll(t, "dead")[0], many)
	})
}

// What the callback itself sends does not come back to it.
func TestProducer_DeadLetterThatFails(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		var p *Producer
		calls := 0
		p = newProducer(t, k, func(ctx context.Context, failed []FailedRecord) {
			calls++
			require.ErrorIs(t, p.Send(ctx, failed[0].Record), kerr.InvalidTimestamp)
		})
		refuse(k, topic, kerr.InvalidTimestamp)
		require.Error(t, p.Send(t.Context(), record(0, "a")))
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, 1, calls)
	})
}

// While too many failed records wait, senders wait, as long as their context; the
// callback, which alone makes room, does not.
func TestProducer_WaitsForTheCallback(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		gate := make(chan struct{})
		var p *Producer
		p = newProducer(t, k, func(ctx context.Context, _ []FailedRecord) {
			<-gate
			require.NoError(t, p.Send(ctx, record(0, "own")))
		})
		fault := refuse(k, topic, kerr.InvalidTimestamp)
		for _, id := range ids("a", 2*maxFailed) {
			p.SendAsync(t.Context(), record(0, id), nil)
			synctest.Wait() // the first burst is one record
			if p.waiting() == maxFailed {
				break
			}
		}
		require.Equal(t, maxFailed, p.waiting())
		fault.Remove()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, p.Send(ctx, record(0, "b")), context.DeadlineExceeded)
		close(gate)
		require.NoError(t, p.Send(t.Context(), record(0, "b")))
	})
}

func (p *Producer) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.failed)
}
