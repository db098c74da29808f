package adapter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// offsets are one offset per partition of each topic.
type offsets map[string]map[int32]int64

// admin asks Kafka about topics.
type admin struct{ *kadm.Client }

// withAdmin calls fn with a client of its own, outside the group.
func (c *Consumer) withAdmin(ctx context.Context, fn func(admin) error) error {
	opts := append([]kgo.Opt{}, c.opts.Client...)
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.opts.Brokers...))...)
	if err != nil {
		return fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	defer cl.Close()
	return fn(admin{kadm.NewClient(cl)})
}

// checkTopics returns ErrUnknownTopic or ErrNoTopicID when they apply.
func (a admin) checkTopics(ctx context.Context, topics []string) error {
	metadata, err := a.Metadata(ctx, topics...)
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return a.refusedTopics(ctx, topics, err)
	}
	if err != nil {
		return unanswered("topics", err)
	}
	var errs []error
	for _, topic := range topics {
		if _, err := usable(metadata, topic); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// refusedTopics names those of the topics that may not be read. One of many is
// enough for Kafka's answer to be err, which names none.
func (a admin) refusedTopics(ctx context.Context, topics []string, err error) error {
	var errs []error
	for _, topic := range topics {
		if _, err := a.Metadata(ctx, topic); errors.Is(err, kerr.TopicAuthorizationFailed) {
			errs = append(errs, unanswered(fmt.Sprintf("partitions of topic %q", topic), err))
		}
	}
	if len(errs) == 0 {
		return unanswered("topics", err) // somebody has granted it
	}
	return errors.Join(errs...)
}

// usable returns the details of a topic, or what is wrong with it.
func usable(metadata kadm.Metadata, topic string) (kadm.TopicDetail, error) {
	detail, ok := metadata.Topics[topic]
	switch {
	case !ok || errors.Is(detail.Err, kerr.UnknownTopicOrPartition):
		return detail, fmt.Errorf("%w: %q; create it, or correct its name", ErrUnknownTopic, topic)
	case detail.Err != nil:
		return detail, fmt.Errorf("adapter: topic %q cannot be used: %w; mend that and run again", topic, detail.Err)
	case detail.ID == kadm.TopicID{}:
		return detail, fmt.Errorf("%w: %q; use brokers of Kafka 3.1 or later", ErrNoTopicID, topic)
	}
	return detail, nil
}

// stableEnds returns the last stable offset of every partition.
func (a admin) stableEnds(ctx context.Context, topics []string) (offsets, error) {
	return logEnds(listed(a.ListCommittedOffsets(ctx, topics...)))
}

// ends returns the end of every partition. What stands there may not be stable yet:
// Kafka says that a transaction is committed before its partitions know it.
func (a admin) ends(ctx context.Context, topics []string) (offsets, error) {
	return logEnds(listed(a.ListEndOffsets(ctx, topics...)))
}

func logEnds(ends offsets, err error) (offsets, error) {
	if err != nil {
		return nil, unanswered("log ends", err)
	}
	return ends, nil
}

func listed(list kadm.ListedOffsets, err error) (offsets, error) {
	if err == nil {
		err = list.Error()
	}
	if err != nil {
		return nil, err
	}
	found := make(offsets)
	list.Each(func(o kadm.ListedOffset) {
		if found[o.Topic] == nil {
			found[o.Topic] = make(map[int32]int64)
		}
		found[o.Topic][o.Partition] = o.Offset
	})
	return found, nil
}

const (
	// limitAge is how long the limits of a topic are believed.
	limitAge = 5 * time.Minute
	// defaultLimit is what a topic is taken to allow when Kafka does not tell:
	// what a producer keeps to by default.
	defaultLimit = 1_000_012
	// largestLimit is the largest batch that the client can be told of.
	largestLimit = 1 << 30
)

// limit is what Kafka accepts in a topic.
type limit struct {
	bytes      int32 // of a batch
	partitions int32
	asked      time.Time
}

// limits are those of the topics of outputs, as Kafka told them last.
type limits struct {
	mu    sync.Mutex // held over no call
	known map[string]limit
}

// outputTopics asks a session's client for the limits of topics. Its methods may
// be called concurrently.
type outputTopics struct {
	*limits
	admin admin
}

// of returns the limits of a topic. When Kafka does not tell, what it told last
// counts.
func (t *outputTopics) of(ctx context.Context, topic string) (limit, error) {
	known, ok := t.last(topic)
	if ok && time.Since(known.asked) < limitAge {
		return known, nil
	}
	if ok { // there is an answer, if an old one
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, sendPatience)
		defer cancel()
	}
	l, err := t.ask(ctx, topic)
	switch {
	case err == nil:
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.known == nil {
			t.known = make(map[string]limit)
		}
		t.known[topic] = l
		return l, nil
	case ok && !errors.Is(err, ErrUnknownTopic):
		return known, nil
	default:
		return limit{}, err
	}
}

func (l *limits) last(topic string) (known limit, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok = l.known[topic]
	return known, ok
}

func (t *outputTopics) ask(ctx context.Context, topic string) (limit, error) {
	metadata, err := t.admin.Metadata(ctx, topic)
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return limit{}, fmt.Errorf("%w: topic %q: %w; grant the user WRITE on it", ErrOutputRefused, topic, err)
	}
	if err != nil {
		return limit{}, fmt.Errorf("adapter: the limits of topic %q are not known: %w", topic, err)
	}
	detail, err := usable(metadata, topic)
	if err != nil && !errors.Is(err, ErrNoTopicID) {
		return limit{}, err
	}
	size, err := t.maxMessageBytes(ctx, topic)
	if err != nil {
		return limit{}, fmt.Errorf("adapter: the limits of topic %q are not known: %w", topic, err)
	}
	return limit{bytes: size, partitions: int32(len(detail.Partitions)), asked: time.Now()}, nil
}

// ready makes sure that the client can be told the limit of a topic.
func (t *outputTopics) ready(ctx context.Context, topic string) error {
	if _, ok := t.last(topic); ok {
		return nil
	}
	_, err := t.of(ctx, topic)
	return err
}

// maxMessageBytes returns a topic's max.message.bytes, the default without the
// permission to ask.
func (t *outputTopics) maxMessageBytes(ctx context.Context, topic string) (int32, error) {
	value, err := t.admin.topicConfig(ctx, topic, "max.message.bytes")
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return 0, err
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		return int32(max(512, min(n, largestLimit))), nil
	}
	return defaultLimit, nil
}

// topicConfig returns a setting of a topic, "" when there is none of this name.
func (a admin) topicConfig(ctx context.Context, topic, key string) (string, error) {
	described, err := a.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	config, err := described.On(topic, nil)
	if err != nil {
		return "", err
	}
	for _, c := range config.Configs {
		if c.Key == key && c.Value != nil {
			return *c.Value, nil
		}
	}
	return "", config.Err
}

// maxBatch is the client's limit of a batch to a topic: the topic's own.
func (t *outputTopics) maxBatch(topic string) int32 {
	if known, ok := t.last(topic); ok {
		return known.bytes
	}
	return defaultLimit
}
