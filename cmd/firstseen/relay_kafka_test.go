//go:build kafka

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
)

// batch is how many records the relay takes in one poll, of all partitions.
const batch = 500

// The real program without transactions, against a real Kafka: every message is there, in order, and
// what came twice are the outputs of the batch that a kill cut off, sent again
// as they were.
func TestRelay_AtLeastOnce_SurvivesKill9(t *testing.T) {
	in := realInput(t)
	out, group := kafkatest.Name(t), kafkatest.Name(t)
	program := build(t)
	dir := filepath.Join(t.TempDir(), "store")
	in.survive(t, group, func(last bool) *exec.Cmd {
		args := []string{"relay", "--brokers", strings.Join(in.Brokers(), ","),
			"--from", in.topic, "--to", out, "--group", group, "--id", "key", "--window", "24h",
			"--store", dir, "--at-least-once"}
		if last {
			args = append(args, "--until-end")
		}
		return exec.Command(program, args...)
	})

	repeated, outputs := 0, map[string]bool{}
	read := in.ReadAll(t, out)
	require.Len(t, read, inputPartitions)
	for p, recs := range read {
		o := ordered{p: p, expected: in.first[p], place: map[string]int{}}
		for _, r := range recs {
			o.next(t, r, outputs)
		}
		require.Len(t, o.ids, len(in.first[p]), "partition %d: some are lost", p)
		require.LessOrEqual(t, o.runs, kills, "partition %d: repetitions without a kill", p)
		repeated += len(recs) - len(o.ids)
	}
	require.LessOrEqual(t, repeated, kills*batch)
	t.Logf("%d of %d outputs came twice", repeated, len(outputs)+repeated)
}

// ordered follows the outputs in one partition.
type ordered struct {
	p        int32
	expected []*kgo.Record  // the first copies in the input
	ids      []string       // output IDs in the order in which they came first
	place    map[string]int // of a key among them
	runs     int            // of repetitions
	from, at int            // place of the first and the last one of a run; -1, -1 outside
}

func (o *ordered) next(t *testing.T, r *kgo.Record, outputs map[string]bool) {
	t.Helper()
	id := outputID(t, r)
	place, repeated := o.place[string(r.Key)]
	if !repeated {
		place = len(o.ids)
		require.Less(t, place, len(o.expected), "partition %d@%d: more than there were", o.p, r.Offset)
		require.False(t, outputs[id], "partition %d@%d: the output ID of another record", o.p, r.Offset)
		outputs[id] = true
		o.place[string(r.Key)] = place
		o.ids = append(o.ids, id)
		o.at = -1
	} else {
		if o.at < 0 || place <= o.at { // the outputs of a batch again, from its first one on
			o.runs++
			o.from = place
		} else {
			require.Equal(t, o.at+1, place, "partition %d@%d: a repetition out of order", o.p, r.Offset)
		}
		o.at = place
		require.GreaterOrEqual(t, o.from, len(o.ids)-batch,
			"partition %d@%d: more than a batch is repeated", o.p, r.Offset)
		require.Equal(t, o.ids[place], id, "partition %d@%d: another output ID", o.p, r.Offset)
	}
	want := o.expected[place]
	require.Equal(t, string(want.Key), string(r.Key), "partition %d@%d: out of order", o.p, r.Offset)
	require.Equal(t, string(want.Value), string(r.Value), "partition %d@%d", o.p, r.Offset)
	require.Equal(t, want.Timestamp, r.Timestamp, "partition %d@%d", o.p, r.Offset)
}

func outputID(t *testing.T, r *kgo.Record) string {
	t.Helper()
	for _, h := range r.Headers {
		if h.Key == adapter.HeaderOutputID {
			return string(h.Value)
		}
	}
	require.FailNow(t, "an output has no ID", "partition %d@%d", r.Partition, r.Offset)
	return ""
}

// build makes the program as users get it.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "firstseen")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}
