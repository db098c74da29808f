//go:build kafka

package adapter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// E04 on a real Kafka: three members share twelve partitions, cooperatively and by
// KIP-848. One is stopped and returns, one is put out while its handler works, and
// one leaves for good. Every message is handled, and twice only when a member that
// went had handled and not committed it.
func TestFault_E04_ThreeMembersOnKafka(t *testing.T) {
	b := kafkatest.StartReal(t, 1)
	for name, balancer := range map[string]Balancer{
		"cooperative": BalancerCooperativeSticky, "KIP-848": BalancerServerUniform,
	} {
		t.Run(name, func(t *testing.T) { threeMembers(t, b, balancer) })
	}
	t.Run("classic in KIP-848", func(t *testing.T) {
		mixedProtocols(t, b, BalancerServerUniform, BalancerCooperativeSticky)
	})
	t.Run("KIP-848 in classic", func(t *testing.T) {
		mixedProtocols(t, b, BalancerSticky, BalancerServerUniform)
	})
}

// crew are the members, and what they handled.
type crew struct {
	*world
	mu      sync.Mutex
	handled map[string]int
	slow    map[string]bool // IDs whose handler puts its member out, once
}

type member struct {
	*world
	c    *Consumer
	stop func() error
}

const crewPartitions = 12

func threeMembers(t *testing.T, b *kafkatest.Broker, balancer Balancer) {
	topic, group := kafkatest.Name(t), kafkatest.Name(t)
	b.CreateTopic(t, topic, crewPartitions, nil)
	if balancer == BalancerServerUniform {
		patient(t, b, group)
	}
	k := &crew{handled: make(map[string]int), slow: make(map[string]bool)}
	k.world = &world{T: t, kafka: b.Cluster, opts: Options{
		Brokers: b.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"), Balancer: balancer,
		Logger: quietLogger, MaxPollRecords: 50,
		Client: []kgo.Opt{kgo.SessionTimeout(2 * time.Minute), kgo.MetadataMinAge(100 * time.Millisecond)},
	}}
	var members []*member
	for range 3 {
		m := &member{world: &world{T: t, kafka: b.Cluster, opts: k.opts}}
		m.openAt(t.TempDir())
		t.Cleanup(func() { require.NoError(t, m.st.Close()) })
		k.begin(m)
		members = append(members, m)
	}
	share := func(n int) func() bool {
		return func() bool {
			for _, m := range members[:n] {
				if m.c.Stats().Partitions != crewPartitions/n {
					return false
				}
			}
			return true
		}
	}
	k.until(share(3))
	k.wave(topic, "a")

	// Static members that are away for a moment come back to what they had.
	require.NoError(t, members[0].stop())
	require.NoError(t, members[1].stop())
	k.write(topic, "b")
	begun := time.Now()
	k.begin(members[0])
	k.begin(members[1])
	k.await("b")
	t.Logf("two restarts: all is handled %v after them", time.Since(begun).Round(10*time.Millisecond))
	for _, m := range members {
		require.Equal(t, 4, m.c.Stats().Partitions)
		require.Zero(t, m.c.Stats().Sessions)
		require.Zero(t, m.c.Stats().Unknown, "nothing came from another's disk")
	}

	// A member is put out beside its handler: nothing of that batch is kept.
	k.mu.Lock()
	k.slow["c-3-1"] = true
	k.mu.Unlock()
	k.wave(topic, "c")
	k.until(share(3))

	// One goes for good, and says so.
	require.NoError(t, members[2].stop())
	begun = time.Now()
	require.NoError(t, members[2].c.Leave(t.Context()))
	k.until(share(2))
	t.Logf("one left: the others have its partitions %v after it", time.Since(begun).Round(10*time.Millisecond))
	require.Less(t, time.Since(begun), 50*time.Second, "not the session time-out")
	k.wave(topic, "d")
	for _, m := range members[:2] {
		require.NoError(t, m.stop())
		require.NoError(t, m.c.Leave(t.Context()))
	}
	twice := 0
	for _, n := range k.handled {
		twice += n - 1
	}
	require.LessOrEqual(t, twice, 50, "the batch of the member that was put out")
}

// patient has the group wait for members by KIP-848 as long as a broker may: by
// itself this one gives them up after six seconds, in which a slow machine may not
// bring one back.
func patient(t *testing.T, b *kafkatest.Broker, group string) {
	t.Helper()
	minute := "60000"
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "consumer.session.timeout.ms", &minute
	resource.Configs = append(resource.Configs, config)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(t.Context(), b.Client(t))
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Resources[0].ErrorCode))
}

// begin runs a member.
func (k *crew) begin(m *member) {
	m.c, m.stop = m.start(func(ctx context.Context, _ *Tx, rec *Record) error {
		id := string(rec.ID)
		k.mu.Lock()
		out := k.slow[id]
		delete(k.slow, id)
		k.handled[id]++
		k.mu.Unlock()
		if out {
			if err := Leave(ctx, k.opts.Brokers, k.opts.Group, m.st.ID().String()); err != nil {
				return err
			}
			wait(ctx, 2*vouchAge)
		}
		return nil
	})
}

const inWave = 20 // records of each partition

// wave writes records and waits until all of them are handled.
func (k *crew) wave(topic, prefix string) {
	k.write(topic, prefix)
	k.await(prefix)
}

func (k *crew) write(topic, prefix string) {
	var recs []*kgo.Record
	for p := range int32(crewPartitions) {
		for i := range inWave {
			rec := record(p, fmt.Sprintf("%s-%d-%d", prefix, p, i))
			rec.Topic = topic
			recs = append(recs, rec)
		}
	}
	k.kafka.Produce(k, recs...)
}

func (k *crew) await(prefix string) {
	k.until(func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for p := range crewPartitions {
			for i := range inWave {
				if k.handled[fmt.Sprintf("%s-%d-%d", prefix, p, i)] == 0 {
					return false
				}
			}
		}
		return true
	})
}
