package adapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// withKafka runs a test in a bubble with a topic of some partitions.
func withKafka(t *testing.T, partitions int32, fn func(t *testing.T, k *kafkatest.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		fn(t, kafkatest.NewVirtual(t, kfake.SeedTopics(partitions, topic)))
	})
}

func newProducer(
	t *testing.T, k *kafkatest.Cluster, deadLetter func(context.Context, []FailedRecord), opts ...kgo.Opt,
) *Producer {
	t.Helper()
	p, err := NewProducer(&ProducerConfig{
		Brokers: k.Brokers(), Client: append(k.DialOptions(), opts...), IDHeader: "id", DeadLetter: deadLetter,
	})
	require.NoError(t, err)
	t.Cleanup(func() { // a test that failed may have left records that never go
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		require.NoError(t, p.Close(ctx))
	})
	return p
}

// refuse has Kafka answer every produce request with an error, until removed.
func refuse(k *kafkatest.Cluster, name string, err *kerr.Error) *kfake.FaultHandle {
	return k.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Topic: name, Count: -1})
}

// The settings of the at-least-once producer, one by one.
func TestProducerOptions(t *testing.T) {
	for _, test := range []struct {
		name     string
		opts     []kgo.Opt
		delivery time.Duration
		stops    bool
	}{
		{"producer", ProducerOptions(), 2 * time.Minute, false},
		{"strict order", StrictOrderOptions(), 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			cl, err := kgo.NewClient(test.opts...)
			require.NoError(t, err)
			defer cl.Close()
			require.Equal(t, kgo.AllISRAcks(), cl.OptValue(kgo.RequiredAcks))
			require.Equal(t, false, cl.OptValue(kgo.DisableIdempotentWrite), "5 in flight, in order")
			require.Equal(t, int64(math.MaxInt64), cl.OptValue(kgo.RecordRetries))
			require.Equal(t, test.delivery, cl.OptValue(kgo.RecordDeliveryTimeout))
			require.Equal(t, test.stops, cl.OptValue(kgo.StopProducerOnDataLossDetected))
			require.Equal(t, time.Duration(0), cl.OptValue(kgo.ProducerLinger))
			require.Equal(t, 100*time.Millisecond, cl.OptValue(kgo.RetryBackoffFn).(func(int) time.Duration)(50))
			require.Equal(t, 100*time.Millisecond, cl.OptValue(kgo.MetadataMinAge))
			request := cl.OptValue(kgo.ProduceRequestTimeout).(time.Duration) +
				cl.OptValue(kgo.RequestTimeoutOverhead).(time.Duration)
			require.Equal(t, 30*time.Second, request)
		})
	}
	one := append(ProducerOptions(), kgo.ProducerLinger(time.Second))
	require.NotEqual(t, len(one), len(ProducerOptions()))
}

func TestNewProducer_Refuses(t *testing.T) {
	_, err := NewProducer(nil)
	require.ErrorContains(t, err, "Brokers is empty")
	_, err = NewProducer(&ProducerConfig{Brokers: []string{"localhost:1"}, Client: []kgo.Opt{kgo.MaxBufferedRecords(-1)}})
	require.ErrorContains(t, err, "cannot be made")
}

// A record without an ID gets one, and keeps it however often it is sent; one
// that has an ID keeps that.
func TestProducer_StampsTheID(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		bare := &kgo.Record{Topic: topic, Value: []byte("bare")}
		empty := &kgo.Record{Topic: topic, Headers: []kgo.RecordHeader{{Key: "id"}, {Key: "x", Value: []byte("y")}}}
		for range 2 {
			require.NoError(t, p.Send(t.Context(), bare))
		}
		require.NoError(t, p.Send(t.Context(), empty))
		require.NoError(t, p.Send(t.Context(), record(0, "own")))

		got := k.ReadAll(t, topic)[0]
		require.Len(t, got, 4)
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, header(got[0], "id"))
		require.Equal(t, header(got[0], "id"), header(got[1], "id"))
		require.NotEqual(t, header(got[0], "id"), header(got[2], "id"))
		require.Equal(t, "y", header(got[2], "x"))
		require.Equal(t, "own", header(got[3], "id"))

		twice := record(0, "a")
		twice.Headers = append(twice.Headers, twice.Headers...)
		err := p.Send(t.Context(), twice)
		require.ErrorIs(t, err, ErrMissingID)
		require.Equal(t, ClassPermanent, ClassOf(err))
	})
}

// Kafka's refusals as the sender sees them: with their class, and at once or
// when the delivery time-out is over.
func TestProducer_Failures(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault *kerr.Error
		topic string
		value int
		want  error
		class Class
		after time.Duration
	}{
		{name: "retriable", fault: kerr.NotLeaderForPartition, want: kgo.ErrRecordTimeout,
			class: ClassExhausted, after: 2 * time.Minute},
		{name: "too few replicas", fault: kerr.NotEnoughReplicas, topic: "thin", want: kerr.NotEnoughReplicas,
			class: ClassConditional, after: 2 * time.Minute},
		{name: "no topic", topic: "nowhere", want: kerr.UnknownTopicOrPartition, class: ClassConditional},
		{name: "too large", value: 2_000_000, want: kerr.MessageTooLarge, class: ClassPermanent},
		{name: "invalid timestamp", fault: kerr.InvalidTimestamp, want: kerr.InvalidTimestamp, class: ClassPermanent},
		{name: "corrupt", fault: kerr.CorruptMessage, want: kerr.CorruptMessage, class: ClassPermanent},
		{name: "not allowed", fault: kerr.TopicAuthorizationFailed, want: kerr.TopicAuthorizationFailed, class: ClassFatal},
	} {
		t.Run(test.name, func(t *testing.T) {
			withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
				k.CreateTopic(t, "thin", 1, map[string]string{"min.insync.replicas": "2"})
				var given []FailedRecord
				p := newProducer(t, k, func(_ context.Context, failed []FailedRecord) { given = append(given, failed...) })
				rec := record(0, "a")
				if test.topic != "" {
					rec.Topic = test.topic
				}
				rec.Value = make([]byte, test.value)
				if test.fault != nil {
					refuse(k, rec.Topic, test.fault)
				}
				begun := time.Now()
				err := p.Send(t.Context(), rec)
				require.ErrorIs(t, err, test.want)
				require.Equal(t, test.class, ClassOf(err), "%v", err)
				require.WithinDuration(t, begun.Add(test.after), time.Now(), 20*time.Second)
				synctest.Wait()
				require.Len(t, given, 1)
				require.Same(t, rec, given[0].Record)
				require.Equal(t, test.class, ClassOf(given[0].Err))
			})
		})
	}
}

// Retries have no limit but the time: an outage of 110 s is ridden out, at a try
// every 100 ms and not faster.
func TestProducer_RidesOutAnOutage(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		fault := refuse(k, topic, kerr.NotLeaderForPartition)
		defer time.AfterFunc(110*time.Second, fault.Remove).Stop()
		begun := time.Now()
		require.NoError(t, p.Send(t.Context(), record(0, "a")))
		require.WithinDuration(t, begun.Add(110*time.Second), time.Now(), 2*time.Second)
		require.InDelta(t, 1100, fault.Hits(), 300)
		require.Len(t, k.ReadAll(t, topic)[0], 1)
	})
}

// The time-out counts from the call: a record of last year is sent like any other,
// and one that timed out is sent again. A client of kgo counts from the record's
// own time, so that neither is.
func TestProducer_OldTimes(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		old := record(0, "old")
		old.Timestamp = time.Now().AddDate(-1, 0, 0)
		fault := refuse(k, topic, kerr.NotLeaderForPartition)
		time.AfterFunc(time.Minute, fault.Remove)
		require.NoError(t, p.Send(t.Context(), old))

		fault = refuse(k, topic, kerr.NotLeaderForPartition)
		begun, again := time.Now(), record(0, "again")
		require.ErrorIs(t, p.Send(t.Context(), again), kgo.ErrRecordTimeout)
		require.WithinDuration(t, begun.Add(2*time.Minute), time.Now(), time.Second)
		time.AfterFunc(time.Minute, fault.Remove)
		require.NoError(t, p.Send(t.Context(), again))
		require.Len(t, k.ReadAll(t, topic)[0], 2)

		cl := k.Client(t, ProducerOptions()...)
		require.ErrorIs(t, cl.ProduceSync(t.Context(), old).FirstErr(), kgo.ErrRecordTimeout)
	})
}

// An outage longer than the delivery time-out: the at-least-once producer gives
// the first record up and the second goes ahead of it; the strict one waits.
func TestProducer_StrictOrder(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%t", strict), func(t *testing.T) {
			withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
				var opts []kgo.Opt
				if strict {
					opts = StrictOrderOptions()
				}
				p := newProducer(t, k, nil, opts...)
				fault := refuse(k, topic, kerr.NotLeaderForPartition)
				defer time.AfterFunc(150*time.Second, fault.Remove).Stop()
				first, second := make(chan error, 1), make(chan error, 1)
				p.SendAsync(t.Context(), record(0, "first"), func(err error) { first <- err })
				time.Sleep(110 * time.Second)
				p.SendAsync(t.Context(), record(0, "second"), func(err error) { second <- err })
				failed := <-first
				if failed != nil {
					p.SendAsync(t.Context(), record(0, "first"), func(err error) { first <- err })
					require.NoError(t, <-first)
				}
				err := <-second
				require.Equal(t, !strict, failed != nil)
				order := make([]string, 0, 2)
				for _, r := range k.ReadAll(t, topic)[0] {
					order = append(order, header(r, "id"))
				}
				if strict {
					require.NoError(t, err)
					require.Equal(t, []string{"first", "second"}, order)
				} else {
					require.NotEqual(t, []string{"first", "second"}, order)
				}
			})
		})
	}
}

// A promise may send, and wait for that.
func TestProducer_PromiseThatSends(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		p.SendAsync(t.Context(), record(0, "a"), func(err error) {
			require.NoError(t, err)
			require.NoError(t, p.Send(t.Context(), record(0, "b")))
		})
		synctest.Wait()
		require.Len(t, k.ReadAll(t, topic)[0], 2)
	})
}

// Close sends what was taken, tells everybody, and takes nothing more.
func TestProducer_Close(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		fault := refuse(k, topic, kerr.NotLeaderForPartition)
		defer time.AfterFunc(time.Minute, fault.Remove).Stop()
		told := 0
		for _, id := range ids("a", 100) {
			p.SendAsync(t.Context(), record(0, id), func(err error) {
				require.NoError(t, err)
				told++
			})
		}
		require.NoError(t, p.Close(t.Context()))
		require.Equal(t, 100, told)
		require.NoError(t, p.Close(t.Context()))
		require.ErrorIs(t, p.Send(t.Context(), record(0, "b")), ErrProducerClosed)
		p.SendAsync(t.Context(), record(0, "b"), func(err error) {
			require.ErrorIs(t, err, ErrProducerClosed)
			told++
		})
		require.Equal(t, 101, told)
		require.Len(t, k.ReadAll(t, topic)[0], 100)
	})
}

// Close ends with its context; what is not sent goes to the callback.
func TestProducer_CloseInTime(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		given := 0
		p := newProducer(t, k, func(ctx context.Context, failed []FailedRecord) {
			require.Error(t, ctx.Err())
			for _, f := range failed {
				require.ErrorIs(t, f.Err, kgo.ErrClientClosed)
				given++
			}
		})
		refuse(k, topic, kerr.NotLeaderForPartition)
		for _, id := range ids("a", 10) {
			p.SendAsync(t.Context(), record(0, id), nil)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		require.ErrorIs(t, p.Close(ctx), context.DeadlineExceeded)
		require.WithinDuration(t, begun.Add(5*time.Second), time.Now(), time.Second)
		require.Equal(t, 10, given)
	})
}

// A context that has ended sends nothing.
func TestProducer_ContextHasEnded(t *testing.T) {
	withKafka(t, 1, func(t *testing.T, k *kafkatest.Cluster) {
		p := newProducer(t, k, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		err := p.Send(ctx, record(0, "a"))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, ClassExhausted, ClassOf(err))
		require.Empty(t, k.ReadAll(t, topic)[0])
	})
}
