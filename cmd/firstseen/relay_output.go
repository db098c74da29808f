package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// An output is a topic that the relay writes.
type output struct {
	flag       string // that names it
	topic      string
	partitions int // that it needs; 0: as many as the input
	config     map[string]*string
}

// prepareOutputs makes sure that the topics written can take every record: it
// creates them, or refuses one that has too few partitions.
func prepareOutputs(ctx context.Context, o *adapter.Options, outputs []output) error {
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
	p := outputTopics{kadm.NewClient(client), strings.Join(o.Brokers, ", "), o.Topics}
	for _, out := range outputs {
		if err := p.prepare(ctx, out); err != nil {
			return err
		}
	}
	return nil
}

type outputTopics struct {
	admin   *kadm.Client
	brokers string
	from    []string
}

func (p *outputTopics) prepare(ctx context.Context, out output) error {
	topics, err := p.admin.ListTopics(ctx, append(slices.Clone(p.from), out.topic)...)
	if err != nil {
		return p.failed("list topics", err)
	}
	for _, from := range p.from {
		switch in := topics[from]; {
		case errors.Is(in.Err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("%w: %q at %s; create it, or correct --from",
				adapter.ErrUnknownTopic, from, p.brokers)
		case in.Err != nil:
			return p.failed("read topic "+from, in.Err)
		}
	}
	need, why := out.partitions, fmt.Sprintf("--repartition is %d", out.partitions)
	if need == 0 {
		need = len(topics[p.from[0]].Partitions)
		why = fmt.Sprintf("%q has %d", p.from[0], need)
	}
	switch there := topics[out.topic]; {
	case errors.Is(there.Err, kerr.UnknownTopicOrPartition):
		return p.create(ctx, out, int32(need))
	case there.Err != nil:
		return p.failed("read topic "+out.topic, there.Err)
	case len(there.Partitions) < need:
		return fmt.Errorf("%w: topic %q has %s, %s; add partitions to it, or give another --%s",
			errBroker, out.topic, count(len(there.Partitions), "partition"), why, out.flag)
	}
	return nil
}

// create makes a topic and waits until every partition has a leader.
func (p *outputTopics) create(ctx context.Context, out output, partitions int32) error {
	_, err := p.admin.CreateTopic(ctx, partitions, -1, out.config, out.topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return p.failed(fmt.Sprintf("create topic %s with %d partitions", out.topic, partitions), err)
	}
	tick := time.NewTicker(leaderPoll)
	defer tick.Stop()
	for {
		topics, err := p.admin.ListTopics(ctx, out.topic)
		if err != nil {
			return p.failed("list topics", err)
		}
		ready := topics[out.topic].Err == nil && len(topics[out.topic].Partitions) > 0
		for _, d := range topics[out.topic].Partitions {
			ready = ready && d.Err == nil && d.Leader >= 0
		}
		if ready {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: topic %s was created, and has no leaders after %v; "+
				"look at the brokers at %s", errBroker, out.topic, answerTimeout, p.brokers)
		}
	}
}

// failed says whether Kafka is away or has refused.
func (p *outputTopics) failed(deed string, err error) error {
	var answer *kerr.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %s: %w; ask who runs the brokers at %s for it",
			errBroker, deed, err, p.brokers)
	}
	return fmt.Errorf("%w at %s: %w; "+
		"check the addresses, the settings of TLS and SASL, and that Kafka runs",
		adapter.ErrBrokersAway, p.brokers, err)
}
