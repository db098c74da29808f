package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// A relay that runs shows its store; so does the next one after it was killed, and
// when it has ended the store is read as ever.
func TestStat_StoreInUse(t *testing.T) {
	c := kafkatest.NewFake(t)
	c.CreateTopic(t, "in", 1, nil)
	dir := filepath.Join(t.TempDir(), "st")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	stat := func(args ...string) (int, string) {
		cmd := exec.CommandContext(ctx, "firstseen", append([]string{"stat", "--store", dir}, args...)...)
		out, _ := cmd.CombinedOutput() // its exit code tells
		return cmd.ProcessState.ExitCode(), string(out)
	}
	out := c.Client(t, kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.UnknownTopicRetries(-1), kgo.MetadataMinAge(10*time.Millisecond))
	relay := func(ids string) *exec.Cmd {
		for _, id := range ids {
			c.Produce(t, &kgo.Record{Topic: "in", Key: []byte(string(id)), Value: []byte("1")})
		}
		cmd := exec.CommandContext(ctx, "firstseen", "relay", "--brokers", c.Brokers()[0], "--from", "in", "--to", "out",
			"--group", "g", "--id", "key", "--window", "1h", "--store", dir, "--at-least-once")
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		for last := ""; last != ids[len(ids)-1:]; { // what is sent is in the store
			polled := out.PollFetches(ctx)
			require.NoError(t, ctx.Err())
			polled.EachRecord(func(r *kgo.Record) { last = string(r.Key) })
		}
		return cmd
	}

	first := relay("abcdefghi")
	code, text := stat()
	require.Equal(t, exitDone, code, text)
	require.Regexp(t, `(?m)^store [0-9a-f]{32}, 1 namespace, in use$`, text)
	require.Regexp(t, `(?m)^g/in/0 +1h .* from the beginning +9 +1 +9 `, text)
	require.NoError(t, first.Process.Kill())
	_ = first.Wait()

	second := relay("j")
	code, text = stat("-o", "json", "--segments")
	require.Equal(t, exitDone, code, text)
	var report storeReport
	require.NoError(t, json.Unmarshal([]byte(text), &report), text)
	require.True(t, report.InUse)
	require.EqualValues(t, 10, report.Namespaces[0].Markers)
	require.EqualValues(t, 10, report.Namespaces[0].Position.Offset)
	require.Len(t, report.Namespaces[0].SegmentList, 1)
	require.NoError(t, second.Process.Signal(os.Interrupt))
	require.NoError(t, second.Wait())

	code, text = stat()
	require.Equal(t, exitDone, code, text)
	require.False(t, strings.Contains(text, "in use"), text)
	check := exec.CommandContext(ctx, "firstseen", "check", "--store", dir)
	proved, err := check.CombinedOutput()
	require.NoError(t, err, string(proved))
}
