package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

// An interrupt ends a relay that waits for records: it commits and exits 0.
func TestRelay_Interrupt_ExitsDone(t *testing.T) {
	c := kafkatest.NewFake(t)
	c.CreateTopic(t, "in", 1, nil)
	c.Produce(t, &kgo.Record{Topic: "in", Key: []byte("a"), Value: []byte("1")})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "firstseen", "relay", "--brokers", c.Brokers()[0], "--from", "in",
		"--to", "out", "--group", "g", "--id", "key", "--window", "1h", "--store", t.TempDir())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())

	out := c.Client(t, kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.UnknownTopicRetries(-1), kgo.MetadataMinAge(10*time.Millisecond))
	for n := 0; n == 0; {
		polled := out.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		n = polled.NumRecords()
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait(), &stderr)

	at, ok := c.Committed(t, "g", "in", 0)
	require.True(t, ok)
	require.EqualValues(t, 1, at.At)
	require.Contains(t, stderr.String(), "msg=ended records=1 ")
}

// A user with the password gets in. With a wrong one the error names what may be
// wrong, and never the password.
func TestRelay_Sasl(t *testing.T) {
	c := kafkatest.NewFake(t, kfake.EnableSASL(), kfake.SeedTopics(1, "in"),
		kfake.Superuser("SCRAM-SHA-256", "ann", "secret"))
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("secret\n"), 0o600))
	t.Setenv("RELAY_PASSWORD", "wrong")
	relay := func(password string) (int, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "firstseen", "relay", "--brokers", c.Brokers()[0], "--from", "in",
			"--to", "out", "--group", "g", "--id", "key", "--window", "1h", "--store", t.TempDir(),
			"--until-end", "-X", "sasl.mechanism=SCRAM-SHA-256", "-X", "sasl.user=ann", "-X", password)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		_ = cmd.Run() // its exit code tells
		return cmd.ProcessState.ExitCode(), stderr.String()
	}

	code, stderr := relay("sasl.password.file=" + file)
	require.Equal(t, exitDone, code, stderr)

	code, stderr = relay("sasl.password.env=RELAY_PASSWORD")
	require.Equal(t, exitBroker, code, stderr)
	require.Contains(t, stderr, "check the addresses, the settings of TLS and SASL, and that Kafka runs")
	require.NotContains(t, stderr, "wrong")
}

// On a terminal progress is a line for people, that names what is rare only
// when it happens.
func TestProgress_Terminal(t *testing.T) {
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	c, err := adapter.New(st, adapter.Forward("out"), &adapter.Options{
		Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{"in"}, ID: adapter.Key(),
	})
	require.NoError(t, err)
	var out strings.Builder
	p := startProgress(&out, slog.New(slog.DiscardHandler), c)
	p.terminal = true
	p.end()
	require.Equal(t, "ended     0 records, 0/s  new 0  duplicates 0  lag 0\n", out.String())
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	t.Setenv("RELAY_PASSWORD", "secret")
	sasl := "sasl.mechanism=SCRAM-SHA-512 sasl.user=ann "
	tests := []struct {
		name     string
		settings string
		wrong    string // "" when nothing is
		options  int    // of the client
	}{
		{"none", "", "", 0},
		{"plain ones", "client.id=a client.rack=b fetch.max.bytes=1 fetch.max.wait=1s linger=1ms", "", 5},
		{"times", "heartbeat.interval=1s session.timeout=10s", "", 2},
		{"compression", "compression=zstd", "", 1},
		{"another compression", "compression=rar", `-X compression: "rar" is not known`, 0},
		{"records", "max.poll.records=0", `-X max.poll.records: "0" is not a number`, 0},
		{"bytes", "fetch.max.bytes=1MB", `-X fetch.max.bytes: "1MB" is not a number`, 0},
		{"no value", "client.id=", `-X "client.id" has no value`, 0},
		{"twice", "linger=1s linger=2s", "-X linger is given twice", 1},
		{"all at once", "acks=0 linger=x", "-X acks is not known", 0},
		{"tls", "tls=true", "", 1},
		{"no tls", "tls=false", "", 0},
		{"tls or not", "tls=maybe", `-X tls: "maybe" is not known`, 0},
		{"roots without tls", "tls=false tls.ca=x", "-X tls=false goes with no other", 0},
		{"no roots", "tls.ca=" + empty, "holds no certificate", 1},
		{"roots that are not there", "tls.ca=" + dir + "/x", "no such file", 1},
		{"half a key pair", "tls.cert=" + empty, "-X tls.cert and tls.key go together", 1},
		{"no key pair", "tls.cert=" + empty + " tls.key=" + empty, "give a certificate and its key", 1},
		{"scram", sasl + "sasl.password.env=RELAY_PASSWORD", "", 1},
		{"plain over tls", "tls=true sasl.mechanism=PLAIN sasl.user=a sasl.password.env=RELAY_PASSWORD", "", 2},
		{"half of sasl", "sasl.user=ann", "-X sasl settings are not complete", 0},
		{"two passwords", sasl + "sasl.password.env=HOME sasl.password.file=x", "not complete", 0},
		{"no password", sasl + "sasl.password.env=RELAY_NONE", "the environment has no RELAY_NONE", 0},
		{"empty password", sasl + "sasl.password.file=" + empty, "is empty", 0},
		{"no password file", sasl + "sasl.password.file=" + dir + "/x", "no such file", 0},
		{"mechanism", "sasl.mechanism=GSSAPI sasl.user=a sasl.password.env=RELAY_PASSWORD",
			`-X sasl.mechanism: "GSSAPI" is not known`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o adapter.Options
			err := applySettings(&o, strings.Fields(tt.settings))
			if tt.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.wrong)
			}
			require.Len(t, o.Client, tt.options)
		})
	}
}
