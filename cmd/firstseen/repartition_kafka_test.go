//go:build kafka

package main

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
)

const (
	scatteredIDs     = 30_000
	scatteredKills   = 5
	scatteredThrough = 3 // partitions of the topic between
)

// D02 on a real Kafka, by the program: copies of a message stand in any partition of
// two topics, and the relay that brings them together is killed in both of its stages.
// For a read_committed reader the topic between has every record once, in the
// partition of its ID, and the output every message once.
func TestFault_D02_RelayRepartitionOnKafka(t *testing.T) {
	b := kafkatest.NewReal(t)
	group, out := kafkatest.Name(t), kafkatest.Name(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	from := []string{kafkatest.Name(t), kafkatest.Name(t)}
	for _, topic := range from {
		b.CreateTopic(t, topic, 2, map[string]string{"retention.ms": "-1"})
	}
	records := scatter(t, b, rng, from)
	dir := filepath.Join(t.TempDir(), "store")
	relay := func(more ...string) *running {
		return start(t, exec.Command("firstseen", append([]string{"relay", "--brokers", strings.Join(b.Brokers(), ","),
			"--from", strings.Join(from, ","), "--to", out, "--group", group, "--id", "key", "--window", "24h",
			"--store", dir, "--repartition", strconv.Itoa(scatteredThrough)}, more...)...))
	}

	points := make([]int64, scatteredKills)
	for i := range points {
		points[i] = rng.Int64N(2 * int64(records) * 9 / 10)
	}
	slices.Sort(points)
	admin := kadm.NewClient(b.Client(t))
	for i, point := range points {
		run := relay()
		awaitStages(t, admin, group, point, run)
		late := time.NewTimer(time.Duration(rng.Int64N(int64(150 * time.Millisecond))))
		select {
		case <-late.C:
		case <-run.ended:
		}
		require.True(t, run.kill(), "the relay ended before kill %d: %v\n%s", i+1, run.err, &run.output)
	}
	relay("--until-end").comesToItsEnd(t)

	between, place := make(map[string]bool), make(map[string]int32)
	for p, recs := range b.ReadAll(t, group+adapter.GroupSuffix) {
		for _, r := range recs {
			require.False(t, between[string(r.Value)], "%s came twice", r.Value)
			between[string(r.Value)] = true
			if was, met := place[string(r.Key)]; met {
				require.Equal(t, was, p, "copies of %s do not meet", r.Key)
			}
			place[string(r.Key)] = p
		}
	}
	require.Len(t, between, records)
	once := make(map[string]bool)
	for _, recs := range b.ReadAll(t, out) {
		for _, r := range recs {
			require.False(t, once[string(r.Key)], "%s came twice", r.Key)
			once[string(r.Key)] = true
			require.True(t, strings.HasPrefix(string(r.Value), string(r.Key)+"/"), "%s of %s", r.Value, r.Key)
		}
	}
	require.Len(t, once, scatteredIDs)
	report, err := exec.Command("firstseen", "check", "--store", dir).CombinedOutput()
	require.NoError(t, err, "%s", report)
}

// scatter writes messages, some of them twice and thrice, to any partition, and
// returns how many records they are.
func scatter(t *testing.T, b *kafkatest.Broker, rng *rand.Rand, topics []string) int {
	t.Helper()
	var recs []*kgo.Record
	for id := range scatteredIDs {
		for n := range 1 + rng.IntN(5)/3 + rng.IntN(10)/9 {
			recs = append(recs, &kgo.Record{
				Topic: topics[rng.IntN(len(topics))], Partition: rng.Int32N(2),
				Key: strconv.AppendInt(nil, int64(id), 10), Value: fmt.Appendf(nil, "%d/%d", id, n),
			})
		}
	}
	require.Greater(t, len(recs), scatteredIDs*5/4, "there are copies")
	rng.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
	b.Produce(t, recs...)
	return len(recs)
}

// awaitStages returns when the groups of both stages have committed up to point in
// sum, or the relay has ended.
func awaitStages(t *testing.T, admin *kadm.Client, group string, point int64, run *running) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		at := int64(0)
		for _, g := range []string{group, group + adapter.GroupSuffix} {
			fetchedOffsets(t, admin, g).Each(func(o kadm.OffsetResponse) { at += max(o.At, 0) })
		}
		if at >= point {
			return
		}
		select {
		case <-tick.C:
		case <-run.ended:
			return
		case <-late.C:
			run.hangs(t)
		}
	}
}
