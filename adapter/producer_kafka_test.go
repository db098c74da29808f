//go:build kafka

package adapter

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

func TestReal_KIP98(t *testing.T) {
	b := kafkatest.StartReal(t, 1)
	for name, fn := range kip98 {
		t.Run(name, func(t *testing.T) { onReal(t, b, fn) })
	}
}

// The dead-letter topic is deleted under a consumer, and comes back.
func TestReal_DeadLetterTopicAway(t *testing.T) {
	onReal(t, kafkatest.StartReal(t, 1), func(t *testing.T, w *world) {
		deadLetterTopicAway(t, w, 4, deleteDead)
	})
}

// Kafka's own refusals have their classes.
func TestReal_Producer_Failures(t *testing.T) {
	b := kafkatest.NewReal(t)
	for name, test := range map[string]struct {
		config map[string]string
		rec    kgo.Record
		want   error
		class  Class
	}{
		"too large": {
			rec:  kgo.Record{Value: make([]byte, 900_000)},
			want: kerr.MessageTooLarge, class: ClassPermanent,
			config: map[string]string{"max.message.bytes": "5000"},
		},
		"too far ahead": {
			rec:  kgo.Record{Timestamp: time.Now().AddDate(1, 0, 0)},
			want: kerr.InvalidTimestamp, class: ClassPermanent,
		},
	} {
		t.Run(name, func(t *testing.T) {
			topic := kafkatest.Name(t)
			b.CreateTopic(t, topic, 1, test.config)
			given := 0
			p, err := NewProducer(&ProducerConfig{
				Brokers: b.Brokers(), Client: []kgo.Opt{kgo.RecordDeliveryTimeout(time.Minute)},
				DeadLetter: func(_ context.Context, failed []FailedRecord) { given += len(failed) },
			})
			require.NoError(t, err)
			test.rec.Topic = topic
			err = p.Send(t.Context(), &test.rec)
			require.ErrorIs(t, err, test.want)
			require.Equal(t, test.class, ClassOf(err))
			require.NoError(t, p.Close(t.Context()))
			require.Equal(t, 1, given)
			require.Empty(t, b.ReadAll(t, topic)[0])
		})
	}
}

// A topic that wants three replicas has two: Kafka says so again and again, and
// the sender learns it when the time is over. Sent again once the third is back,
// the record is written.
func TestReal_Producer_TooFewReplicas(t *testing.T) {
	b := kafkatest.StartReal(t, 3)
	topic := kafkatest.Name(t)
	all := "3"
	admin := kadm.NewClient(b.Client(t))
	_, err := admin.CreateTopic(t.Context(), 1, 3,
		map[string]*string{"min.insync.replicas": &all}, topic)
	require.NoError(t, err)
	p, err := NewProducer(&ProducerConfig{
		Brokers: b.Brokers(), Client: []kgo.Opt{kgo.RecordDeliveryTimeout(5 * time.Second)},
	})
	require.NoError(t, err)
	rec := &kgo.Record{Topic: topic}
	b.InSync(t)
	require.Eventually(t, func() bool { return p.Send(t.Context(), rec) == nil }, 3*time.Minute, time.Second,
		"nothing is written though all are in sync")
	b.Crash(t, 3)
	require.Eventually(t, func() bool { // a record under way when the broker dies has no known fate
		m, err := admin.Metadata(t.Context(), topic)
		return err == nil && len(m.Topics[topic].Partitions[0].ISR) == 2
	}, 3*time.Minute, 100*time.Millisecond, "the broker that is gone stays in sync")
	for begun := time.Now(); time.Since(begun) < 3*time.Minute; { // until its client knows the leader, too
		if err = p.Send(t.Context(), rec); errors.Is(err, kerr.NotEnoughReplicas) {
			break
		}
		require.Error(t, err, "two replicas are too few")
	}
	require.ErrorIs(t, err, kerr.NotEnoughReplicas)
	require.Equal(t, ClassConditional, ClassOf(err))
	b.Restart(t, 3)
	require.Eventually(t, func() bool { return p.Send(t.Context(), rec) == nil }, 3*time.Minute, time.Second,
		"the broker that is back is not in sync")
	require.NoError(t, p.Close(t.Context()))
}

// A burst that Kafka refuses goes to a dead-letter topic by the same producer.
func TestReal_Producer_DeadLetters(t *testing.T) {
	const many = 12_000
	b := kafkatest.NewReal(t)
	topic, dead := kafkatest.Name(t), kafkatest.Name(t)
	b.CreateTopic(t, topic, 1, nil)
	b.CreateTopic(t, dead, 1, map[string]string{"message.timestamp.after.max.ms": strconv.Itoa(1 << 50)})
	var p *Producer
	p, err := NewProducer(&ProducerConfig{
		Brokers: b.Brokers(),
		DeadLetter: func(ctx context.Context, failed []FailedRecord) {
			for _, f := range failed {
				rec := *f.Record
				rec.Topic = dead
				p.SendAsync(ctx, &rec, func(err error) { require.NoError(t, err) })
			}
		},
	})
	require.NoError(t, err)
	for range many {
		p.SendAsync(t.Context(), &kgo.Record{Topic: topic, Timestamp: time.Now().AddDate(1, 0, 0)}, nil)
	}
	require.NoError(t, p.Close(t.Context()))
	require.Len(t, b.ReadAll(t, dead)[0], many)
	require.Empty(t, b.ReadAll(t, topic)[0])
}
