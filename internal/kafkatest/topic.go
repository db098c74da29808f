package kafkatest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var notTopicName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// Name returns a name that no other test and no other call gets, made from
// the test's own name: for a topic, a group or a transactional ID.
func Name(t testing.TB) string {
	name := notTopicName.ReplaceAllString(t.Name(), "-")
	return name[:min(len(name), 200)] + "-" + rand.Text()[:8]
}

// CreateTopic creates a topic and returns its ID once every broker knows the leader
// of each partition. Configs are those of Kafka, such as cleanup.policy; nil asks
// for the defaults. By default a real Kafka deletes records whose time is a
// week old; retention.ms=-1 keeps them.
func (c *Cluster) CreateTopic(
	t testing.TB, topic string, partitions int32, configs map[string]string,
) (id kadm.TopicID) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		set := make(map[string]*string, len(configs))
		for k, v := range configs {
			set[k] = &v
		}
		id = c.create(ctx, t, adm, topic, partitions, set)
	})
	return id
}

// RecreateTopic deletes a topic and creates it again, empty, with as many
// partitions and the configs that were set on it. It returns the new topic
// ID. Apache Kafka deletes the offsets that groups had committed in it.
func (c *Cluster) RecreateTopic(t testing.TB, topic string) (id kadm.TopicID) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		topics, err := adm.ListTopics(ctx, topic)
		require.NoError(t, err)
		old := topics[topic]
		require.NoError(t, old.Err)

		described, err := adm.DescribeTopicConfigs(ctx, topic)
		require.NoError(t, err)
		config, err := described.On(topic, nil)
		require.NoError(t, err)
		require.NoError(t, config.Err)
		set := make(map[string]*string)
		for _, c := range config.Configs {
			if c.Source == kmsg.ConfigSourceDynamicTopicConfig {
				set[c.Key] = c.Value
			}
		}

		_, err = adm.DeleteTopic(ctx, topic)
		require.NoError(t, err)
		id = c.create(ctx, t, adm, topic, int32(len(old.Partitions)), set)
		require.NotEqual(t, old.ID, id, "the recreated topic has the old topic ID")
	})
	return id
}

// errNotYet is what await waits to see the end of, when Kafka gives no error.
var errNotYet = errors.New("not yet")

func (c *Cluster) create(
	ctx context.Context, t testing.TB, adm *kadm.Client,
	topic string, partitions int32, configs map[string]*string,
) kadm.TopicID {
	t.Helper()
	var created kadm.CreateTopicResponse
	await(ctx, t, "brokers for topic "+topic, func() (err error) {
		created, err = adm.CreateTopic(ctx, partitions, -1, configs, topic)
		if errors.Is(err, kerr.InvalidReplicationFactor) { // they have just started, or are slow
			return fmt.Errorf("%w: %w", errNotYet, err)
		}
		return err
	})
	cl := c.client(t, nil)
	defer cl.Close()
	await(ctx, t, "the leaders of topic "+topic, func() error {
		for _, broker := range cl.SeedBrokers() {
			if err := knows(ctx, broker, topic, created.ID, partitions); err != nil {
				return err
			}
		}
		return nil
	})
	return created.ID
}

// knows asks a broker for the leaders of a topic. One that was created through another
// broker is not known everywhere at once.
func knows(ctx context.Context, broker *kgo.Broker, topic string, id kadm.TopicID, partitions int32) error {
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	req.Topics = append(req.Topics, asked)
	resp, err := req.RequestWith(ctx, broker)
	if err != nil {
		return err
	}
	told := resp.Topics[0]
	if err := kerr.ErrorForCode(told.ErrorCode); err != nil {
		return err
	}
	if told.TopicID != id || len(told.Partitions) != int(partitions) {
		return errNotYet
	}
	for _, p := range told.Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil || p.Leader < 0 {
			return cmp.Or(err, errNotYet)
		}
	}
	return nil
}

// DeleteRecords moves the log start of a partition up to the offset before,
// as retention does: the records below it are gone.
func (c *Cluster) DeleteRecords(t testing.TB, topic string, partition int32, before int64) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, partition, before, -1)
		await(ctx, t, "the leader of topic "+topic, func() error {
			deleted, err := adm.DeleteRecords(ctx, offsets)
			return cmp.Or(err, deleted.Error())
		})
	})
}
