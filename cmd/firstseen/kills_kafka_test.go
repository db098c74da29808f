//go:build kafka

package main

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	kills    = 20
	patience = 6 * time.Minute // nothing depends on its size
)

// survive runs a program that reads the input as a member of group, kills it
// with SIGKILL at random points, starts it again each time, and lets the last
// one come to its end. The others must not end by themselves, however late they
// are killed.
func (in *input) survive(t *testing.T, group string, program func(last bool) *exec.Cmd) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	points := make([]int64, kills)
	for i := range points {
		points[i] = rng.Int64N(in.records * 19 / 20)
	}
	slices.Sort(points)
	admin := kadm.NewClient(in.Client(t))
	begun := time.Now()
	for i, point := range points {
		run := start(t, program(false))
		in.await(t, admin, group, point, run)
		// Not at the commit that was seen, but anywhere in the loop; and in the
		// start when the point was passed before.
		late := time.NewTimer(time.Duration(rng.Int64N(int64(150 * time.Millisecond))))
		select {
		case <-late.C:
		case <-run.ended:
		}
		require.True(t, run.kill(), "the program ended before kill %d: %v\n%s", i+1, run.err, &run.output)
	}
	start(t, program(true)).comesToItsEnd(t)
	t.Logf("%d kills survived in %v", kills, time.Since(begun).Round(time.Second))
}

// await returns when the group has committed up to point in sum, or the program
// has ended.
func (in *input) await(t *testing.T, admin *kadm.Client, group string, point int64, run *running) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for in.committed(t, admin, group) < point {
		select {
		case <-tick.C:
		case <-run.ended:
			return
		case <-late.C:
			run.hangs(t)
		}
	}
}

func (in *input) committed(t *testing.T, admin *kadm.Client, group string) (n int64) {
	t.Helper()
	fetchedOffsets(t, admin, group).Each(func(o kadm.OffsetResponse) {
		if o.Topic == in.topic && o.Err == nil {
			n += max(o.At, 0)
		}
	})
	return n
}

// fetchedOffsets returns what a group has committed: nothing, while there is no such
// group or its coordinator is on its way.
func fetchedOffsets(t *testing.T, admin *kadm.Client, group string) kadm.OffsetResponses {
	t.Helper()
	offsets, err := admin.FetchOffsets(t.Context(), group)
	if errors.Is(err, kerr.GroupIDNotFound) || kerr.IsRetriable(err) {
		return nil
	}
	require.NoError(t, err)
	return offsets
}

// running is a process.
type running struct {
	cmd    *exec.Cmd
	output strings.Builder
	ended  chan struct{}
	err    error // once ended is closed
}

func start(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &r.output, &r.output
	require.NoError(t, cmd.Start())
	go func() {
		defer close(r.ended)
		r.err = cmd.Wait()
	}()
	t.Cleanup(func() { r.kill() })
	return r
}

// comesToItsEnd waits until the process ends by itself, without an error.
func (r *running) comesToItsEnd(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
		require.NoError(t, r.err, &r.output)
	case <-time.After(patience):
		r.hangs(t)
	}
}

// hangs fails the test with what the process wrote, and where its goroutines are.
func (r *running) hangs(t *testing.T) {
	t.Helper()
	_ = r.cmd.Process.Signal(syscall.SIGQUIT) // gone already: its output tells
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		r.kill()
	}
	require.FailNow(t, "the program does not get on", &r.output)
}

// kill kills the process and waits until it is gone. It reports whether it was
// SIGKILL that ended it.
func (r *running) kill() bool {
	_ = r.cmd.Process.Kill() // gone already: its state tells
	<-r.ended
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
