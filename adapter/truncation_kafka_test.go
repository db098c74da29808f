//go:build kafka

package adapter

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/window"
)

// E12, row 2, on a real Kafka: a replica that misses the last records becomes
// leader, and new records take their offsets. None of the new ones is skipped,
// and a lost one that is sent again is a duplicate.
func TestFault_E12_UncleanElection(t *testing.T) {
	b := kafkatest.StartReal(t, 3)
	w := &world{T: t, kafka: b.Cluster, dir: t.TempDir(), calls: new(calls)}
	placeOn(t, b, 1, 2)
	w.open()
	defer func() { require.NoError(t, w.st.Close()) }()
	w.opts = Options{
		Brokers: b.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"),
		Window: window.Hour, UntilEnd: true, Logger: slog.New(slog.DiscardHandler),
	}
	w.produce(0, ids("a", 10)...)
	require.NoError(t, w.run())
	b.Crash(t, 2)
	w.produce(0, ids("lost", 5)...)
	require.NoError(t, w.run())
	require.Equal(t, int64(15), w.committedAt(0))

	b.Crash(t, 1)
	b.Restart(t, 2)
	w.until(func() bool { return electUnclean(t, b) })
	w.produce(0, append(ids("new", 10), "lost3")...)
	b.Restart(t, 1)
	c := w.consumer(w.calls.handle)
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, append(append(ids("a", 10), ids("lost", 5)...), ids("new", 10)...), w.calls.order)
	require.Equal(t, []uint64{1, 0}, []uint64{c.Stats().Duplicates, c.Stats().Replays})
	require.Equal(t, int64(21), w.committedAt(0))
	require.NoError(t, w.run())
}

// placeOn makes the topic with its only partition on these brokers, where one
// that is behind may lead.
func placeOn(t *testing.T, b *kafkatest.Broker, brokers ...int32) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
	rt.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: brokers}}
	for name, value := range map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"} {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), b.Client(t))
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
}

// electUnclean asks for a leader, whoever is there, and tells whether there is one.
func electUnclean(t *testing.T, b *kafkatest.Broker) bool {
	t.Helper()
	adm := kadm.NewClient(b.Client(t))
	if _, err := adm.ElectLeaders(t.Context(), kadm.ElectLiveReplica, kadm.TopicsSet{topic: {0: {}}}); err != nil {
		return false
	}
	topics, err := adm.ListTopics(t.Context(), topic)
	return err == nil && topics[topic].Partitions[0].Leader == 2
}
