package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
)

// answerTimeout is how long the brokers have to say what topics there are.
const answerTimeout = 5 * time.Second

// leaderPoll is how often a new topic is asked for.
const leaderPoll = 20 * time.Millisecond

// prepareOutput makes sure that the output topic can take every record where it
// stood: it creates the topic, with the partitions of the input, or refuses one
// that has fewer.
func prepareOutput(ctx context.Context, o *adapter.Options, from, to string) error {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.MetadataMinAge(leaderPoll), // or a topic is seen only seconds after it was created
	}, o.Client...)...)
	if err != nil {
		return &usageError{err}
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	p := outputTopic{kadm.NewClient(client), strings.Join(o.Brokers, ", "), from, to}
	return p.prepare(ctx)
}

type outputTopic struct {
	admin    *kadm.Client
	brokers  string
	from, to string
}

func (p *outputTopic) prepare(ctx context.Context) error {
	topics, err := p.admin.ListTopics(ctx, p.from, p.to)
	if err != nil {
		return p.failed("list topics", err)
	}
	in, out := topics[p.from], topics[p.to]
	switch {
	case errors.Is(in.Err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: %q at %s; create it, or correct --from",
			adapter.ErrUnknownTopic, p.from, p.brokers)
	case in.Err != nil:
		return p.failed("read topic "+p.from, in.Err)
	case errors.Is(out.Err, kerr.UnknownTopicOrPartition):
		return p.create(ctx, int32(len(in.Partitions)))
	case out.Err != nil:
		return p.failed("read topic "+p.to, out.Err)
	case len(out.Partitions) < len(in.Partitions):
		return fmt.Errorf("%w: topic %q has %s, %q has %d; add partitions to it, or give another --to",
			errBroker, p.to, count(len(out.Partitions), "partition"), p.from, len(in.Partitions))
	}
	return nil
}

// create makes the output topic and waits until every partition has a leader.
func (p *outputTopic) create(ctx context.Context, partitions int32) error {
	_, err := p.admin.CreateTopic(ctx, partitions, -1, nil, p.to)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return p.failed(fmt.Sprintf("create topic %s with %d partitions", p.to, partitions), err)
	}
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	for {
		topics, err := p.admin.ListTopics(ctx, p.to)
		if err != nil {
			return p.failed("list topics", err)
		}
		ready := topics[p.to].Err == nil && len(topics[p.to].Partitions) > 0
		for _, d := range topics[p.to].Partitions {
			ready = ready && d.Err == nil && d.Leader >= 0
		}
		if ready {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: topic %s was created, and has no leaders after %v; "+
				"look at the brokers at %s", errBroker, p.to, answerTimeout, p.brokers)
		}
	}
}

// failed says whether Kafka is away or has refused.
func (p *outputTopic) failed(deed string, err error) error {
	var answer *kerr.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %s: %w; ask who runs the brokers at %s for it",
			errBroker, deed, err, p.brokers)
	}
	return fmt.Errorf("%w at %s: %w; "+
		"check the addresses, the settings of TLS and SASL, and that Kafka runs",
		adapter.ErrBrokersAway, p.brokers, err)
}
