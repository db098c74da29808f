//go:build unix

package fuzz

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

const childBrokers = "FIRSTSEEN_CHILD_BROKERS"

func init() { children["consume"] = childConsumes }

// childConsumes consumes until the end of the topic. What its handler does, it
// writes into a file, at once; and the record "killer" kills it.
func childConsumes(dir string) {
	effects, err := os.OpenFile(dir+".effects", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	st, err := store.Open(dir, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	c, err := adapter.New(st, func(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		if _, err := fmt.Fprintln(effects, string(rec.ID)); err != nil {
			return err
		}
		if string(rec.ID) == "killer" {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		_, err := tx.Add([]byte("n"), 1)
		return err
	}, &adapter.Options{
		Brokers: strings.Split(os.Getenv(childBrokers), ","), Group: "g", Topics: []string{"t"},
		ID: adapter.Key(), Window: window.Day, UntilEnd: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Run(context.Background()), st.Close())
}

// A record kills the process that handles it, whoever starts it again. Each start
// comes nearer to it, by the batches before it that are durable; soon that record
// alone is handled again, and nothing before it is repeated. What had been
// repeated on the way is bounded, and state counts each record once.
func TestFault_A11_ProcessKilledByARecord(t *testing.T) {
	const before, starts = 200, 12
	kafka := kafkatest.NewFake(t, kfake.SeedTopics(1, "t"))
	var recs []*kgo.Record
	for i := range before {
		recs = append(recs, &kgo.Record{Topic: "t", Key: fmt.Append(nil, i), Value: []byte("v")})
	}
	recs = append(recs, &kgo.Record{Topic: "t", Key: []byte("killer")}, &kgo.Record{Topic: "t", Key: []byte("after")})
	kafka.Produce(t, recs...)
	dir := filepath.Join(t.TempDir(), "store")
	handled := func() (n map[string]int, lines int) {
		text, err := os.ReadFile(dir + ".effects")
		require.NoError(t, err)
		n = map[string]int{}
		for _, id := range bytes.Fields(text) {
			n[string(id)]++
			lines++
		}
		return n, lines
	}
	var was int
	for start := range starts {
		cmd := child(t, "consume", dir)
		cmd.Env = append(cmd.Env, childBrokers+"="+strings.Join(kafka.Brokers(), ","))
		out, err := cmd.Output()
		require.Error(t, err, "it came to its end: %s", out)
		n, lines := handled()
		require.Equal(t, start+1, n["killer"], "a start that did not come to it: %s", out)
		require.Zero(t, n["after"], "it was passed")
		if start >= 9 { // 2^9 > before
			require.Equal(t, was+1, lines, "start %d repeats what lies before it", start)
		}
		was = lines
	}
	n, lines := handled()
	for i := range before {
		require.Positive(t, n[fmt.Sprint(i)], "record %d was lost", i)
	}
	t.Logf("%d starts, %d effects of %d records before it", starts, lines-starts, before)
	require.Less(t, lines-starts, 2*before)
	st, err := store.Open(dir, nil)
	require.NoError(t, err)
	for name := range st.Namespaces() {
		ns, err := st.Namespace(name, nil)
		require.NoError(t, err)
		require.NoError(t, ns.View(func(v *store.View) error {
			got, err := v.Int([]byte("n"))
			require.EqualValues(t, before, got)
			return err
		}))
	}
	require.NoError(t, st.Close())
}
