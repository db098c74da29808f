//go:build kafka

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

const crewMembers = 3

// crew are the relays of one group, each with a store of its own, which it keeps
// whatever happens to it. One that ends is started again.
type crew struct {
	group   string
	server  bool // by KIP-848
	rng     *rand.Rand
	admin   *kadm.Client
	members []*member
	work    sync.WaitGroup
	over    atomic.Bool // those that end are not started again

	deck           []int // the order of mishaps
	paused, putOut int   // with SIGSTOP, and by the group
}

type member struct {
	dir     string
	program func() *exec.Cmd
	away    sync.Mutex // held while it is not to be started
	now     atomic.Pointer[running]
	kills   int
	stops   int      // by SIGTERM
	ends    []string // why it ended by itself
	fenced  int      // sessions that it had to begin anew
}

func newCrew(
	t *testing.T, b *kafkatest.Broker, group, balancer string, seed uint64, admin *kadm.Client, args ...string,
) *crew {
	t.Helper()
	c := &crew{group: group, server: strings.HasPrefix(balancer, "server-"),
		rng: rand.New(rand.NewPCG(seed, 0)), admin: admin}
	if c.server {
		setGroup(t, b, group, map[string]string{
			"consumer.session.timeout.ms": "2000", "consumer.heartbeat.interval.ms": "300"})
	}
	brokers := strings.Join(b.Brokers(), ",")
	for range crewMembers {
		m := &member{dir: filepath.Join(t.TempDir(), "store")}
		m.program = func() *exec.Cmd {
			return exec.Command("firstseen", append([]string{"relay", "--brokers", brokers, "--from", "in",
				"--to", group, "--group", group, "--id", "key", "--window", "24h", "--store", m.dir,
				"--balancer", balancer, "-X", "session.timeout=2s", "-X", "heartbeat.interval=300ms"}, args...)...)
		}
		c.members = append(c.members, m)
		c.work.Go(func() { m.live(&c.over) })
	}
	t.Cleanup(func() {
		c.over.Store(true)
		for _, m := range c.members {
			m.signal(syscall.SIGKILL)
		}
		c.work.Wait()
		if !t.Failed() {
			return
		}
		t.Log(c.story())
		for i, m := range c.members {
			if run := m.now.Load(); run != nil {
				output := run.output.String()
				t.Logf("%s %d:\n%s", c.group, i, output[max(0, len(output)-4000):])
			}
		}
	})
	return c
}

// live runs the program again and again.
func (m *member) live(over *atomic.Bool) {
	for !over.Load() {
		run, err := m.start()
		if err != nil {
			m.ends = append(m.ends, err.Error())
			return
		}
		if over.Load() {
			m.signal(syscall.SIGKILL)
		}
		run.err = run.cmd.Wait()
		close(run.ended)
		m.fenced += strings.Count(run.output.String(), `msg="session ended`)
		status, _ := run.cmd.ProcessState.Sys().(syscall.WaitStatus)
		switch {
		case status.Signaled():
			m.kills++
		case run.err == nil:
			m.stops++
		default:
			lines := strings.Split(strings.TrimSpace(run.output.String()), "\n")
			m.ends = append(m.ends, lines[len(lines)-1])
			time.Sleep(200 * time.Millisecond) // as who restarts it would
		}
	}
}

// start starts the program, when it may be.
func (m *member) start() (*running, error) {
	m.away.Lock()
	defer m.away.Unlock()
	run := &running{cmd: m.program(), ended: make(chan struct{})}
	run.cmd.Stdout, run.cmd.Stderr = &run.output, &run.output
	err := run.cmd.Start()
	if err == nil {
		m.now.Store(run)
	}
	return run, err
}

// signal sends a signal to the process that runs now, if one does.
func (m *member) signal(s syscall.Signal) {
	if run := m.now.Load(); run != nil {
		_ = run.cmd.Process.Signal(s) // gone already: it is started again
	}
}

// The things that happen to a member of a crew, at a random point of what it does.
var mishaps = []func(c *crew, m *member) error{
	(*crew).kill, (*crew).kill, (*crew).lose, (*crew).lose, (*crew).freeze, (*crew).freeze, (*crew).doze, (*crew).stop,
}

// kill kills a member, which returns at once to what it had.
func (c *crew) kill(m *member) error {
	c.moment(2 * time.Second)
	m.signal(syscall.SIGKILL)
	return nil
}

// stop ends a member as an operator does, and starts it again.
func (c *crew) stop(m *member) error {
	c.moment(2 * time.Second)
	m.signal(syscall.SIGTERM)
	return nil
}

// doze stops a member for less than the group waits for it.
func (c *crew) doze(m *member) error {
	c.moment(time.Second)
	c.paused++
	m.signal(syscall.SIGSTOP)
	c.moment(time.Second)
	m.signal(syscall.SIGCONT)
	return nil
}

// lose kills a member, and starts it when the others have its partitions.
func (c *crew) lose(m *member) error {
	if err := c.share(crewMembers); err != nil {
		return err
	}
	c.moment(time.Second)
	m.away.Lock()
	defer m.away.Unlock()
	m.signal(syscall.SIGKILL)
	c.putOut++
	return c.share(crewMembers - 1)
}

// freeze stops a member until the others have its partitions: when it goes on, it
// does not know.
func (c *crew) freeze(m *member) error {
	if err := c.share(crewMembers); err != nil {
		return err
	}
	c.moment(time.Second)
	c.paused++
	c.putOut++
	m.away.Lock() // one that has just ended by itself stays away instead
	defer m.away.Unlock()
	m.signal(syscall.SIGSTOP)
	defer m.signal(syscall.SIGCONT)
	err := c.share(crewMembers - 1)
	c.moment(time.Second)
	return err
}

// moment waits until a random point of the time to come.
func (c *crew) moment(within time.Duration) {
	<-time.After(time.Duration(c.rng.Int64N(int64(within))))
}

// share returns when so many members share the partitions.
func (c *crew) share(members int) error {
	return c.until(func(ctx context.Context) (string, bool) {
		state, n, err := c.asked(ctx)
		return fmt.Sprintf("%d members, %s, %v", n, state, err), err == nil && state == "Stable" && n == members
	})
}

// asked returns what the coordinator says of the group.
func (c *crew) asked(ctx context.Context) (state string, members int, err error) {
	if c.server {
		groups, err := c.admin.DescribeConsumerGroups(ctx, c.group)
		g := groups[c.group]
		return g.State, len(g.Members), errors.Join(err, g.Err)
	}
	groups, err := c.admin.DescribeGroups(ctx, c.group)
	g := groups[c.group]
	return g.State, len(g.Members), errors.Join(err, g.Err)
}

// setGroup sets what the broker, and no member, says of a group by KIP-848.
func setGroup(t *testing.T, b *kafkatest.Broker, group string, to map[string]string) {
	t.Helper()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	for name, value := range to {
		config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		config.Name, config.Value = name, &value
		resource.Configs = append(resource.Configs, config)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(t.Context(), b.Client(t))
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Resources[0].ErrorCode))
}

// caughtUp returns when all that is in the topic is committed.
func (c *crew) caughtUp() error {
	return c.until(func(ctx context.Context) (string, bool) {
		ends, err := c.admin.ListEndOffsets(ctx, "in")
		if err = errors.Join(err, ends.Error()); err != nil {
			return err.Error(), false
		}
		at, err := c.admin.FetchOffsets(ctx, c.group)
		if err = errors.Join(err, at.Error()); err != nil {
			return err.Error(), false
		}
		left := int64(0)
		ends.Each(func(end kadm.ListedOffset) {
			o, _ := at.Lookup(end.Topic, end.Partition)
			left += end.Offset - max(o.At, 0)
		})
		return fmt.Sprintf("%d records are left", left), left == 0
	})
}

// until asks again and again until it is so, or the crew is over.
func (c *crew) until(so func(context.Context) (string, bool)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; {
		answer, yes := so(ctx)
		if yes {
			return nil
		}
		if ctx.Err() == nil {
			last = answer
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil || c.over.Load() {
			return fmt.Errorf("group %s does not get on: %s", c.group, last)
		}
	}
}

// end ends the members as an operator does.
func (c *crew) end(t *testing.T) {
	t.Helper()
	c.over.Store(true)
	for _, m := range c.members {
		m.signal(syscall.SIGTERM)
	}
	c.work.Wait()
	for _, m := range c.members {
		run := m.now.Load()
		if run.cmd.ProcessState.ExitCode() >= 0 { // it had begun
			require.NoError(t, run.err, &run.output)
		}
	}
}

// sum adds something up over the members.
func (c *crew) sum(of func(*member) int) (n int) {
	for _, m := range c.members {
		n += of(m)
	}
	return n
}

func (c *crew) kills() int  { return c.sum(func(m *member) int { return m.kills }) }
func (c *crew) fenced() int { return c.sum(func(m *member) int { return m.fenced }) }

// story says what happened to the crew, once it is over.
func (c *crew) story() string {
	ends := make(map[string]int)
	text := fmt.Sprintf("%s: %d kills, %d paused, %d put out, %d stopped, %d sessions begun anew, %d ends by itself",
		c.group, c.kills(), c.paused, c.putOut, c.sum(func(m *member) int { return m.stops }), c.fenced(),
		c.sum(func(m *member) int { return len(m.ends) }))
	for _, m := range c.members {
		for _, end := range m.ends {
			ends[end]++
		}
	}
	for end, n := range ends {
		text += fmt.Sprintf("\n\t%d times: %s", n, end)
	}
	return text
}
