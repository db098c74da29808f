//go:build kafka

package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// mixedProtocols has a member join a group whose other member is of the other
// protocol, as while a group is moved from one to the other, instance by instance.
// Kafka lets both be members; every message is handled, and those that went with
// their partition are known where they go to.
func mixedProtocols(t *testing.T, b *kafkatest.Broker, first, second Balancer) {
	topic, group := kafkatest.Name(t), kafkatest.Name(t)
	b.CreateTopic(t, topic, crewPartitions, nil)
	patient(t, b, group)
	k := &crew{handled: make(map[string]int), slow: make(map[string]bool)}
	k.world = &world{T: t, kafka: b.Cluster, opts: Options{
		Brokers: b.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"),
		Logger: quietLogger, MaxPollRecords: 50,
		Client: []kgo.Opt{kgo.SessionTimeout(time.Minute), kgo.MetadataMinAge(100 * time.Millisecond)},
	}}
	var members []*member
	for _, balancer := range []Balancer{first, second} {
		m := &member{world: &world{T: t, kafka: b.Cluster, opts: k.opts}}
		m.opts.Balancer = balancer
		m.openAt(t.TempDir())
		t.Cleanup(func() { require.NoError(t, m.st.Close()) })
		members = append(members, m)
	}
	k.begin(members[0])
	shared := func(what string, done func(one, two int) bool) {
		t.Helper()
		var one, two int
		for begun := time.Now(); !done(one, two); time.Sleep(50 * time.Millisecond) {
			one = members[0].c.Stats().Partitions
			if members[1].c != nil {
				two = members[1].c.Stats().Partitions
			}
			if time.Since(begun) > waitLimit {
				require.FailNow(t, "gave up waiting", "%s: they have %d and %d", what, one, two)
			}
		}
	}
	shared("one member", func(one, _ int) bool { return one == crewPartitions })
	k.wave(topic, "a")
	k.begin(members[1])
	shared("two members", func(one, two int) bool { return one > 0 && two > 0 && one+two == crewPartitions })
	k.wave(topic, "b")

	// The last of the old protocol goes for good: the other one has it all.
	require.NoError(t, members[0].stop())
	require.NoError(t, members[0].c.Leave(t.Context()))
	shared("the other one", func(_, two int) bool { return two == crewPartitions })
	k.wave(topic, "c")
	require.NoError(t, members[1].stop())
	require.NoError(t, members[1].c.Leave(t.Context()))
	for _, m := range members {
		require.Zero(t, m.c.Stats().Sessions)
		require.Zero(t, m.c.Stats().Unknown)
	}
	for id, n := range k.handled {
		require.Equal(t, 1, n, id)
	}
}
