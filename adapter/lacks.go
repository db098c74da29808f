package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	lackAge     = 5 * time.Second // how long an answer is believed
	lackTimeout = 5 * time.Second // how long Kafka has to answer
)

// lacks knows which partitions have too few replicas in sync. The client tries
// a record again that Kafka refuses for that, and says in the end only that the
// time was over; so Kafka is asked. Its methods may be called concurrently.
type lacks struct {
	admin admin
	turn  chan struct{} // holds a token while one asks: the others want its answer
	known map[topicPartition]lack
}

func newLacks(cl *kgo.Client) *lacks {
	return &lacks{admin{kadm.NewClient(cl)}, make(chan struct{}, 1), make(map[topicPartition]lack)}
}

type lack struct {
	asked time.Time
	is    bool
}

// why returns the error with which a record failed, with the reason when Kafka
// can tell it.
func (p *Producer) why(rec *kgo.Record, err error) error {
	if !errors.Is(err, kgo.ErrRecordTimeout) {
		return err
	}
	if p.lacks.replicas(p.work, topicPartition{rec.Topic, rec.Partition}) {
		return fmt.Errorf("%w: %s/%d: %w", err, rec.Topic, rec.Partition, kerr.NotEnoughReplicas)
	}
	return err
}

// replicas reports whether a partition has too few replicas in sync, now.
func (l *lacks) replicas(ctx context.Context, of topicPartition) bool {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if known, ok := l.known[of]; ok && time.Since(known.asked) < lackAge {
		return known.is
	}
	ctx, cancel := context.WithTimeout(ctx, lackTimeout)
	defer cancel()
	is := l.ask(ctx, of)
	l.known[of] = lack{time.Now(), is}
	return is
}

func (l *lacks) ask(ctx context.Context, of topicPartition) bool {
	metadata, err := l.admin.Metadata(ctx, of.topic)
	if err != nil {
		return false
	}
	least, err := l.admin.topicConfig(ctx, of.topic, "min.insync.replicas")
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(least)
	return err == nil && len(metadata.Topics[of.topic].Partitions[of.number].ISR) < n
}
