//go:build kafka

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

const (
	txnKills    = 30 // of each program, with SIGKILL
	txnRestarts = 10 // of one of the brokers, after a SIGKILL
)

// The relay as it is by default, and a handler that adds to a balance and produces
// a receipt, against a real Kafka, while both processes and the brokers are killed at
// random points. The records come meanwhile, with copies. For a read_committed
// reader each message is there exactly once, in order, and the receipts agree with
// the balances, though partitions stop and pause in the middle of polls, too.
//
// One broker is down at a time: a Kafka whose partitions have no leader may forget
// how a transaction ended (seen on 4.3.1), which then stays open for ever.
func TestTransactions_ExactlyOnce(t *testing.T) {
	b := kafkatest.StartReal(t, 3)
	keep := map[string]string{"retention.ms": "-1"}
	for _, topic := range []string{"in", "once", "receipts"} {
		b.CreateTopic(t, topic, inputPartitions, keep)
	}
	brokers := strings.Join(b.Brokers(), ",")
	dirs := []string{filepath.Join(t.TempDir(), "relay"), filepath.Join(t.TempDir(), "receipts")}
	programs := []func(last bool) *exec.Cmd{
		func(last bool) *exec.Cmd {
			args := []string{"relay", "--brokers", brokers, "--from", "in", "--to", "once", "--group", "relay",
				"--id", "key", "--window", "24h", "--store", dirs[0]}
			if last {
				args = append(args, "--until-end")
			}
			return exec.Command("firstseen", args...)
		},
		func(last bool) *exec.Cmd {
			return exec.Command("receipts", brokers, dirs[1], strconv.FormatBool(last))
		},
	}

	over, end := context.WithCancel(t.Context()) // no more records, and no more kills
	var work sync.WaitGroup
	t.Cleanup(func() {
		end()
		work.Wait()
	})
	fed := make(chan error, 1)
	work.Go(func() { fed <- feed(over, brokers) })
	counts := make([]killed, len(programs))
	for i, program := range programs {
		work.Go(func() { counts[i].loop(over, program) })
	}
	for range txnRestarts {
		time.Sleep(time.Duration(rand.Int64N(int64(2 * time.Second))))
		b.InSync(t)
		n := 1 + rand.IntN(3)
		b.Crash(t, n)
		b.Restart(t, n)
	}
	require.Eventually(t, func() bool {
		return counts[0].kills.Load() >= txnKills && counts[1].kills.Load() >= txnKills
	}, patience, 100*time.Millisecond, "too few kills")
	end()
	work.Wait()
	require.NoError(t, <-fed)
	for i, program := range programs {
		start(t, program(true)).comesToItsEnd(t)
		t.Logf("%d kills, %d ends by itself, of which %s", counts[i].kills.Load(), len(counts[i].ends), counts[i].last())
	}
	judge(t, b, dirs[1])
}

// judge compares what came out with what went in.
func judge(t *testing.T, b *kafkatest.Broker, receiptsDir string) {
	t.Helper()
	first, records := map[int32][]*kgo.Record{}, 0
	for p, recs := range b.ReadAll(t, "in") {
		met := map[string]bool{}
		for _, r := range recs {
			records++
			if key := string(r.Key); !met[key] {
				met[key] = true
				first[p] = append(first[p], r)
			}
		}
	}
	st, err := store.Open(receiptsDir, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	once, receipts := b.ReadAll(t, "once"), b.ReadAll(t, "receipts")
	total := 0
	for p, want := range first {
		require.Len(t, once[p], len(want), "partition %d of the relay", p)
		require.Len(t, receipts[p], len(want), "partition %d of the receipts", p)
		balance := map[string]int64{}
		for i, r := range want {
			total++
			require.Equal(t, string(r.Key), string(once[p][i].Key), "partition %d: record %d", p, i)
			require.Equal(t, string(r.Value), string(once[p][i].Value), "partition %d: record %d", p, i)
			account, amount, err := posting(r.Key, r.Value)
			require.NoError(t, err)
			balance[account] += amount
			require.Equal(t, receipt(r.Key, balance[account]), string(receipts[p][i].Value), "partition %d: receipt %d", p, i)
		}
		require.Equal(t, balance, state(t, st, fmt.Sprintf("receipts/in/%d", p)), "partition %d", p)
	}
	t.Logf("%d records with %d IDs", records, total)
	require.Greater(t, records-total, records/20, "there were copies")
}

func receipt(key []byte, balance int64) string { return fmt.Sprintf("%s:%d", key, balance) }

func init() {
	programs["receipts"] = func() {
		if err := receiptsProgram(os.Args[1], os.Args[2], os.Args[3] == "true"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// receiptsProgram adds to balances and produces receipts. Unless it is the last one,
// its handler fails now and then: its partition pauses and is resumed, or it stops.
func receiptsProgram(brokers, dir string, last bool) (err error) {
	st, err := store.Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	handler := func(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		account, amount, err := posting(rec.Key, rec.Value)
		if err != nil {
			return err
		}
		balance, err := tx.Add([]byte(account), amount)
		if err != nil {
			return err
		}
		if err := tx.Produce(&kgo.Record{Topic: "receipts", Value: []byte(receipt(rec.Key, balance))}); err != nil {
			return err
		}
		switch n := rand.IntN(20_000); {
		case last || n > 20:
			return nil
		case n == 0:
			return adapter.Stop(errors.New("stopped on purpose"))
		default:
			return errors.New("failed on purpose")
		}
	}
	c, err := adapter.New(st, handler, &adapter.Options{
		Brokers: strings.Split(brokers, ","), Group: "receipts", Topics: []string{"in"},
		ID: adapter.Key(), UntilEnd: last, Transactional: true,
		OnFailure: adapter.FailurePause, MaxAttempts: 1,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var resumes sync.WaitGroup
	resumes.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			for _, p := range c.Paused() {
				c.Resume(p.Topic, p.Partition)
			}
		}
	})
	err = c.Run(ctx)
	cancel()
	resumes.Wait()
	return err
}

// feed produces records until it is over: about one in ten is a copy of one of the
// last ones.
func feed(over context.Context, brokers string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed kgo.FirstErrPromise
	next := 0
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for over.Err() == nil {
		<-tick.C
		for range 30 {
			key := next
			if rand.IntN(10) == 0 {
				key = rand.IntN(next + 1)
			} else {
				next++
			}
			client.Produce(context.Background(), &kgo.Record{Topic: "in", Partition: int32(key % inputPartitions),
				Key: []byte(strconv.Itoa(key)), Value: []byte(strconv.Itoa(key * 7))}, failed.Promise())
		}
	}
	return errors.Join(client.Flush(context.Background()), failed.Err())
}

// killed counts what became of the processes of one program.
type killed struct {
	kills atomic.Int32
	ends  []string // why those that were not killed ended
}

// loop starts the program and kills it, again and again, until it was killed often
// enough; then it runs until it is over. One may end by itself: its handler stopped
// it, or its brokers were away for too long.
func (k *killed) loop(over context.Context, program func(last bool) *exec.Cmd) {
	for over.Err() == nil {
		run := &running{cmd: program(false), ended: make(chan struct{})}
		run.cmd.Stdout, run.cmd.Stderr = &run.output, &run.output
		if err := run.cmd.Start(); err != nil {
			k.ends = append(k.ends, err.Error())
			return
		}
		go func() {
			defer close(run.ended)
			run.err = run.cmd.Wait()
		}()
		late := make(<-chan time.Time)
		if k.kills.Load() < txnKills {
			late = time.After(time.Duration(rand.Int64N(int64(3 * time.Second))))
		}
		select {
		case <-late:
		case <-run.ended:
		case <-over.Done():
		}
		if run.kill() {
			k.kills.Add(1)
			continue
		}
		lines := strings.Split(strings.TrimSpace(run.output.String()), "\n")
		k.ends = append(k.ends, lines[len(lines)-1])
		time.Sleep(200 * time.Millisecond) // as who restarts it would
	}
}

func (k *killed) last() string {
	if len(k.ends) == 0 {
		return "none"
	}
	return "the last one: " + k.ends[len(k.ends)-1]
}
