package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/firstseen/firstseen/adapter"
)

// progress says how far a relay is: on a terminal by a line per second,
// otherwise by a structured log line per ten seconds; and once more at the end.
type progress struct {
	w        io.Writer
	logger   *slog.Logger
	consumer relayer
	terminal bool
	begun    time.Time
	last     adapter.Stats
	lastAt   time.Time
	stop     chan struct{}
	stopped  chan struct{}
}

func startProgress(w io.Writer, logger *slog.Logger, c relayer) *progress {
	p := &progress{
		w: w, logger: logger, consumer: c, terminal: isTerminal(w),
		begun: time.Now(), lastAt: time.Now(),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	every := 10 * time.Second
	if p.terminal {
		every = time.Second
	}
	go func() {
		defer close(p.stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.line("relaying", p.lastAt)
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// end stops the lines and prints the last one, about the whole run.
func (p *progress) end() {
	close(p.stop)
	<-p.stopped
	p.last = adapter.Stats{}
	p.line("ended", p.begun)
}

func (p *progress) line(what string, since time.Time) {
	s, now := p.consumer.Stats(), time.Now()
	perSecond := uint64(float64(s.Records-p.last.Records) / max(now.Sub(since).Seconds(), 1e-3))
	p.last, p.lastAt = s, now
	if !p.terminal {
		p.logger.Info(what, "records", s.Records, "per_second", perSecond, "new", s.New,
			"duplicates", s.Duplicates, "unknown", s.Unknown, "without_id", s.WithoutID,
			"dropped", s.Dropped, "dead_letters", s.DeadLetters, "skipped", s.Skipped,
			"replays", s.Replays, "outputs", s.Outputs, "transactions", s.Transactions, "failures", s.Failures,
			"sessions", s.Sessions, "partitions", s.Partitions, "lag", s.Lag)
		return
	}
	line := fmt.Sprintf("%-8s  %s records, %s/s  new %s  duplicates %s", what,
		grouped(s.Records), grouped(perSecond), grouped(s.New), grouped(s.Duplicates))
	rare := func(name string, n uint64) {
		if n > 0 {
			line += fmt.Sprintf("  %s %s", name, grouped(n))
		}
	}
	rare("unknown", s.Unknown)
	rare("without ID", s.WithoutID)
	rare("dropped", s.Dropped)
	rare("dead letters", s.DeadLetters)
	rare("skipped", s.Skipped)
	rare("replays", s.Replays)
	rare("failures", s.Failures)
	fmt.Fprintf(p.w, "%s  lag %s\n", line, grouped(uint64(s.Lag)))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
