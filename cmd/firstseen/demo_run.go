package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// demoRun takes one kind of consumer through the whole stream: it starts its
// process, kills it at each of the crash points, and starts it again.
type demoRun struct {
	kind   demoKind
	broker *demoBroker
	stream *stream
	dir    string
	log    *progressLog
}

// demoRow is one line of the table.
type demoRow struct {
	title string
	effects
	stream    *stream
	perSecond float64
}

func (r *demoRun) run(ctx context.Context) (demoRow, error) {
	begun := time.Now()
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return demoRow{}, err
	}
	for i, c := range crashes {
		if err := r.crash(ctx, c); err != nil {
			return demoRow{}, fmt.Errorf("%s, crash %d: %w", r.kind.name, i+1, err)
		}
		r.log.printf("%-14s killed %s, crash %d of %d", r.kind.name, c.place, i+1, len(crashes))
	}
	p, err := r.start(ctx, noOffset)
	if err != nil {
		return demoRow{}, err
	}
	if err := p.wait(); err != nil {
		err = errors.Join(ctx.Err(), err)
		return demoRow{}, fmt.Errorf("the consumer %s failed: %w", r.kind.name, err)
	}
	took := time.Since(begun)
	did, err := r.kind.effects(r.dir)
	perSecond := float64(r.stream.records) / took.Seconds()
	return demoRow{r.kind.title, did, r.stream, perSecond}, err
}

// crash runs the consumer up to a crash point and kills it there.
func (r *demoRun) crash(ctx context.Context, c crash) error {
	at := int64(float64(r.stream.ends[0]) * c.part)
	stopAt := noOffset
	if c.place == inRecord {
		stopAt = at
	}
	p, err := r.start(ctx, stopAt)
	if err != nil {
		return err
	}
	if c.place == beforeCommit {
		r.broker.setTrap(r.kind.name, trap{at, p.kill})
	}
	err = p.wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !p.killed():
		return errors.Join(errors.New("the consumer ended before the point at which it is killed"), err)
	}
	return nil
}

// demoProcess is a consumer's process.
type demoProcess struct {
	cmd   *exec.Cmd
	dead  chan struct{} // closed when the process is gone
	err   error         // of Wait, once dead is closed
	kills chan struct{} // has an element when it was killed by us
}

func (r *demoRun) start(ctx context.Context, stopAt int64) (*demoProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, demoConsumerName,
		"--brokers", strings.Join(r.broker.fake.ListenAddrs(), ","),
		"--kind", r.kind.name, "--dir", r.dir, "--stop-at", strconv.FormatInt(stopAt, 10))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // its end tells the consumer that we are gone
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("a consumer does not start: %w", err)
	}
	p := &demoProcess{cmd: cmd, dead: make(chan struct{}), kills: make(chan struct{}, 1)}
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if lines.Text() == demoStopped {
				p.signal()
			}
		}
		p.err = cmd.Wait()
		close(p.dead)
	}()
	return p, nil
}

func (p *demoProcess) signal() {
	select {
	case p.kills <- struct{}{}:
		_ = p.cmd.Process.Kill() // it may be gone already, which wait tells
	default:
	}
}

// kill kills the process and returns when it is dead.
func (p *demoProcess) kill() {
	p.signal()
	<-p.dead
}

func (p *demoProcess) killed() bool { return len(p.kills) > 0 }

func (p *demoProcess) wait() error {
	<-p.dead
	return p.err
}
