package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

const (
	demoConsumerName = "demo-consumer"
	// demoStopped is what a consumer prints when it stands in the middle of
	// the payment at which it is to be killed.
	demoStopped = "stopped"
	// noOffset asks a consumer to go through to the end.
	noOffset = int64(-1)
)

// demoConsumer is one process of the demo.
type demoConsumer struct {
	brokers string
	kind    string
	dir     string
	stopAt  int64 // offset in the first partition
}

func newDemoConsumer() *cobra.Command {
	var c demoConsumer
	cmd := &cobra.Command{
		Use:    demoConsumerName,
		Short:  "One consumer of the demo, started by it",
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				os.Exit(exitFailed) // the demo is gone
			}()
			switch c.kind {
			case "firstseen":
				return c.firstseen(cmd.Context())
			case "mark-first":
				return c.plain(cmd.Context(), true)
			case "at-least-once":
				return c.plain(cmd.Context(), false)
			default:
				return usagef("there is no kind %q", c.kind)
			}
		},
	}
	cmd.Flags().StringVar(&c.brokers, "brokers", "", "addresses of the embedded broker")
	cmd.Flags().StringVar(&c.kind, "kind", "", "kind of consumer")
	cmd.Flags().StringVar(&c.dir, "dir", "", "where it keeps what it knows")
	cmd.Flags().Int64Var(&c.stopAt, "stop-at", noOffset, "offset to stand still at")
	return cmd
}

// stand stands still at the crash point, until it is killed there.
func (c *demoConsumer) stand(rec *kgo.Record) {
	if c.stopAt != noOffset && rec.Partition == 0 && rec.Offset >= c.stopAt {
		fmt.Println(demoStopped)
		select {}
	}
}

// firstseen keeps its effects in the store, in the batch of marker and position.
func (c *demoConsumer) firstseen(ctx context.Context) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	st, err := store.Open(filepath.Join(c.dir, demoStore), &store.Options{Logger: quiet})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	pay := func(_ context.Context, tx *adapter.Tx, rec *adapter.Record) error {
		amount, err := strconv.ParseInt(string(rec.Value), 10, 64)
		if err != nil {
			return err
		}
		if _, err := tx.Add(append([]byte(statePayment), rec.ID...), 1); err != nil {
			return err
		}
		c.stand(rec.Record)
		_, err = tx.Add([]byte(stateBalance), amount)
		return err
	}
	consumer, err := adapter.New(st, pay, &adapter.Options{
		Brokers: strings.Split(c.brokers, ","), Group: c.kind, Topics: []string{demoTopic},
		ID: adapter.Header(paymentID), UntilEnd: true, Logger: quiet,
	})
	if err != nil {
		return err
	}
	return consumer.Run(ctx)
}

// plain keeps its effects in a ledger of its own, and commits to Kafka after
// each poll. With marks it sets the payment's mark, durably, before the effect,
// and skips a payment whose mark is set: the habit of SETNX.
func (c *demoConsumer) plain(ctx context.Context, marks bool) (err error) {
	ledger, err := openLedger(filepath.Join(c.dir, demoLedger))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	var set *markSet
	if marks {
		if set, err = openMarks(filepath.Join(c.dir, demoMarks)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, set.Close()) }()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.ConsumerGroup(c.kind), kgo.InstanceID(c.kind), kgo.ConsumeTopics(demoTopic),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	left, err := c.left(ctx, client)
	for err == nil && left > 0 {
		polled := client.PollRecords(ctx, 500)
		if err = polled.Err(); err != nil {
			break
		}
		for _, rec := range polled.Records() {
			if err = c.handle(ledger, set, rec); err != nil {
				return err
			}
			left--
		}
		if err = errors.Join(ledger.Sync(), client.CommitUncommittedOffsets(ctx)); err == nil {
			client.AllowRebalance()
		}
	}
	return err
}

func (c *demoConsumer) handle(ledger *ledgerFile, set *markSet, rec *kgo.Record) error {
	if set != nil {
		if fresh, err := set.add(string(rec.Headers[0].Value)); err != nil || !fresh {
			return err
		}
		c.stand(rec)
		return ledger.append(rec)
	}
	if err := ledger.append(rec); err != nil {
		return err
	}
	c.stand(rec)
	return nil
}

// left returns how many records the group has not committed.
func (c *demoConsumer) left(ctx context.Context, client *kgo.Client) (n int64, err error) {
	ends, err := endOffsets(ctx, client)
	if err != nil {
		return 0, err
	}
	committed, err := kadm.NewClient(client).FetchOffsetsForTopics(ctx, c.kind, demoTopic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("%w: read the offsets of %s: %w", errBroker, c.kind, err)
	}
	for p, end := range ends {
		n += end
		if at, ok := committed.Lookup(demoTopic, p); ok {
			n -= max(at.At, 0)
		}
	}
	return n, nil
}
