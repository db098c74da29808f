package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

func newDemo() *cobra.Command {
	var payments int
	cmd := &cobra.Command{
		Use:   "demo [--payments N]",
		Short: "Show what is lost and doubled, and by whom, on an embedded broker",
		Long: "Run three consumers of one stream of payments side by side on an embedded broker,\n" +
			"each a process of its own that is killed at the same points, and count what became\n" +
			"of the payments. The stream holds duplicates as producers make them: retries, a\n" +
			"restart with a new producer ID, an upstream replay.\n\n" +
			"The last line is \"firstseen: lost 0, doubled 0\"; the exit code is 5 if it is not.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if payments < leastPayments {
				return usagef("--payments %d is too few for every crash; give %d or more",
					payments, leastPayments)
			}
			return demo(cmd.Context(), cmd.OutOrStdout(), payments)
		},
	}
	cmd.Flags().IntVar(&payments, "payments", 100_000, "how many payments are made, each counted once")
	return cmd
}

const (
	demoTopic      = "payments"
	demoPartitions = 3

	// leastPayments are enough for each crash to come after the one before, with
	// polls between them.
	leastPayments = 10_000
)

// demoKinds are the consumers, in the order of the table.
var demoKinds = []demoKind{
	{"at-least-once", "plain at-least-once", readLedger},
	{"mark-first", "mark first (SETNX)", readLedger},
	{"firstseen", "firstseen", readState},
}

// demoKind is a way to consume. What its consumer did is counted afterwards
// from where it keeps its effects.
type demoKind struct {
	name    string
	title   string
	effects func(dir string) (effects, error)
}

// crashes are the points at which every consumer is killed: each at a part of
// the first partition, in one of two places.
var crashes = []crash{
	{1. / 6, inRecord}, {2. / 6, beforeCommit}, {3. / 6, inRecord},
	{4. / 6, beforeCommit}, {5. / 6, inRecord},
}

type crash struct {
	part  float64
	place place
}

// place is where in its work a consumer is killed.
type place string

const (
	inRecord     place = "in the middle of a payment"
	beforeCommit place = "between the payments and the Kafka commit"
)

func demo(ctx context.Context, out io.Writer, payments int) (err error) {
	dir, err := os.MkdirTemp("", "firstseen-demo-")
	if err != nil {
		return fmt.Errorf("the demo has no directory: %w; set TMPDIR to one that is writable", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := newDemoBroker()
	if err != nil {
		return err
	}
	defer broker.close()

	log := &progressLog{w: out}
	stream, err := produceStream(ctx, broker, payments)
	if err != nil {
		return err
	}
	log.printf("produced %s payments and %s duplicates: "+
		"%s by retries, %s by a restarted producer, %s by a replay",
		grouped(uint64(payments)), grouped(stream.duplicates()),
		grouped(stream.retried), grouped(stream.restarted), grouped(stream.replayed))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows := make([]demoRow, len(demoKinds))
	errs := make([]error, len(demoKinds))
	var consumers sync.WaitGroup
	for i, kind := range demoKinds {
		consumers.Go(func() {
			r := demoRun{
				kind: kind, broker: broker, stream: stream, dir: filepath.Join(dir, kind.name), log: log,
			}
			if rows[i], errs[i] = r.run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	reported := make(chan struct{})
	stop := make(chan struct{})
	go func() { defer close(reported); reportDemo(log, broker, stream, stop) }()
	consumers.Wait()
	close(stop)
	<-reported
	if err := firstCause(errs); err != nil {
		return err
	}
	return writeDemo(out, rows)
}

// firstCause returns an error that is not the consequence of another one's.
func firstCause(errs []error) error {
	var other error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		other = errors.Join(other, err)
	}
	if other != nil {
		return errors.New("the demo was interrupted before its end")
	}
	return nil
}

// reportDemo prints how far each consumer has committed, until stop is closed.
func reportDemo(log *progressLog, b *demoBroker, s *stream, stop chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		line := ""
		for _, kind := range demoKinds {
			line += fmt.Sprintf("  %s %3d %%", kind.name, 100*b.committedBy(kind.name)/s.records)
		}
		log.printf("committed:%s", line)
	}
}

// progressLog prints whole lines for several goroutines.
type progressLog struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *progressLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}
