//go:build kafka

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

const (
	crewPartitions = 12
	// crewRecords is how many records there are, of which one in ten is a copy.
	// FIRSTSEEN_KAFKA_RECORDS asks for another number; mishaps grow with it.
	crewRecords = 200_000
	crewRound   = 25_000 // records between two mishaps of a crew
	crewCrash   = 8      // rounds between two crashes of the broker
)

// Three relays share a topic of twelve partitions in one group, each on its own
// disk, by transactions, and three others without: one group by KIP-848, the other by
// a balancer of its members. While records come, with copies
// of all that came before, members are killed, paused, put out by the group,
// stopped and started, and a broker is killed and started. For read_committed
// readers of the one output nothing is lost and nothing doubled: markers follow the
// partitions. In the other one, nothing is lost, and what came twice has the same
// output ID, and is a poll of each member that was cut off.
func TestFault_E02_E06_ThreeRelaysOnKafka(t *testing.T) {
	total := crewRecords
	if given := os.Getenv("FIRSTSEEN_KAFKA_RECORDS"); given != "" {
		var err error
		total, err = strconv.Atoi(given)
		require.NoError(t, err, "FIRSTSEEN_KAFKA_RECORDS")
	}
	b := kafkatest.StartReal(t, 3)
	for _, topic := range []string{"in", "once", "plain"} {
		b.CreateTopic(t, topic, crewPartitions, map[string]string{"retention.ms": "-1"})
	}
	seed := rand.Uint64()
	by := []string{"server-uniform", []string{"cooperative-sticky", "range"}[seed/2%2]}
	t.Logf("seed %d: transactions by %s, without by %s", seed, by[seed%2], by[1-seed%2])
	begun := time.Now()
	admin := kadm.NewClient(b.Client(t))
	once := newCrew(t, b, "once", by[seed%2], seed, admin)
	plain := newCrew(t, b, "plain", by[1-seed%2], seed+1, admin, "--at-least-once")
	crews := []*crew{once, plain}
	in := newSource(t, b, seed)

	crashes := 0
	for round := range (total + crewRound - 1) / crewRound {
		fed, steps := make(chan struct{}), make(chan error, len(crews))
		go func() {
			defer close(fed)
			in.feed(min(crewRound, total-round*crewRound))
		}()
		for _, c := range crews {
			c.work.Go(func() { steps <- c.mishap(round) })
		}
		if round%crewCrash == crewCrash/2 {
			crashes++
			b.InSync(t)
			n := 1 + rand.IntN(3)
			b.Crash(t, n)
			b.Restart(t, n)
		}
		<-fed
		for range crews {
			require.NoError(t, <-steps, "round %d", round)
		}
	}
	require.NoError(t, in.flush())
	for _, c := range crews {
		require.NoError(t, c.caughtUp())
		c.end(t)
	}
	t.Logf("%v of mishaps, %d crashes of the broker\n%s\n%s",
		time.Since(begun).Round(time.Second), crashes, once.story(), plain.story())

	first, records, ids := firsts(b.ReadAll(t, "in"))
	require.GreaterOrEqual(t, records, total)
	require.Greater(t, records-ids, records/20, "there were copies")
	exact, repeated := b.ReadAll(t, "once"), 0
	for p, again := range b.ReadAll(t, "plain") {
		requireFirsts(t, first[p], exact[p])
		repeated += requireAtLeastOnce(t, first[p], again)
	}
	// A poll may be sent again by the member that is started, or by who got the
	// partition, for each time that one was cut off.
	cut := plain.kills() + 2*plain.paused + crewMembers*crashes + plain.fenced()
	require.LessOrEqual(t, repeated, cut*batch)
	t.Logf("%d records with %d IDs: each once in transactions; without, %d outputs came again", records, ids, repeated)
	for _, c := range crews {
		for _, m := range c.members {
			report, err := exec.Command("firstseen", "check", "--store", m.dir).CombinedOutput()
			require.NoError(t, err, "%s", report)
		}
	}
}

// mishap has something happen to a member of the crew: each thing once before one
// happens again.
func (c *crew) mishap(round int) error {
	if round%len(mishaps) == 0 {
		c.deck = c.rng.Perm(len(mishaps))
	}
	what := mishaps[c.deck[round%len(mishaps)]]
	return what(c, c.members[c.rng.IntN(len(c.members))])
}

// source produces records with copies.
type source struct {
	client *kgo.Client
	rng    *rand.Rand
	next   int // key
	sent   int
	failed kgo.FirstErrPromise
}

func newSource(t *testing.T, b *kafkatest.Broker, seed uint64) *source {
	client := b.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(crewRound))
	return &source{client: client, rng: rand.New(rand.NewPCG(seed, 1))}
}

// feed produces n records, in bursts. A copy is one of something near as often as of
// anything that ever was.
func (s *source) feed(n int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		if i%1000 == 0 {
			<-tick.C
		}
		key := s.next
		switch s.rng.IntN(20) {
		case 0:
			key = s.rng.IntN(s.next + 1)
		case 1:
			key = max(0, s.next-s.rng.IntN(1000))
		}
		if key == s.next {
			s.next++
		}
		s.client.Produce(context.Background(), &kgo.Record{
			Topic: "in", Partition: int32(key % crewPartitions),
			Key: strconv.AppendInt(nil, int64(key), 10), Value: strconv.AppendInt(nil, int64(s.sent), 10),
		}, s.failed.Promise())
		s.sent++
	}
}

func (s *source) flush() error {
	return errors.Join(s.client.Flush(context.Background()), s.failed.Err())
}

// firsts returns the first copies of each key, by partition.
func firsts(read map[int32][]*kgo.Record) (first map[int32][]*kgo.Record, records, ids int) {
	first = make(map[int32][]*kgo.Record)
	for p, recs := range read {
		met := make(map[string]bool)
		for _, r := range recs {
			if key := string(r.Key); !met[key] {
				met[key] = true
				first[p] = append(first[p], r)
			}
		}
		records, ids = records+len(recs), ids+len(met)
	}
	return first, records, ids
}

// requireFirsts fails unless the output holds the first copies, and nothing else,
// in order.
func requireFirsts(t *testing.T, want, got []*kgo.Record) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		requireSame(t, want[i], got[i])
	}
	require.Len(t, got, len(want))
}

// requireAtLeastOnce fails unless the output holds the first copies, in order of
// their own first copies, and under one output ID each; it returns how many came
// again.
func requireAtLeastOnce(t *testing.T, want, got []*kgo.Record) (repeated int) {
	t.Helper()
	place := make(map[string]int, len(want))
	outputs := make(map[string]int, len(want))
	for _, r := range got {
		i, again := place[string(r.Key)]
		if !again {
			i = len(place)
			require.Less(t, i, len(want), "partition %d@%d: more than there were", r.Partition, r.Offset)
			place[string(r.Key)] = i
			outputs[outputID(t, r)] = i
		} else {
			repeated++
		}
		requireSame(t, want[i], r)
		if at, ok := outputs[outputID(t, r)]; !ok || at != i {
			require.Fail(t, "another output ID", "partition %d@%d", r.Partition, r.Offset)
		}
	}
	require.Len(t, place, len(want))
	require.Len(t, outputs, len(want))
	return repeated
}

func requireSame(t *testing.T, want, got *kgo.Record) {
	t.Helper()
	if string(want.Key) != string(got.Key) || string(want.Value) != string(got.Value) {
		require.FailNow(t, "another record", "partition %d@%d: %s=%s in the place of %s=%s of offset %d",
			got.Partition, got.Offset, got.Key, got.Value, want.Key, want.Value, want.Offset)
	}
}
