//go:build kafka

package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Broker is an Apache Kafka on loopback. Brokers are numbered from 1.
type Broker struct {
	*Cluster

	script string
	env    []string
}

// NewReal returns the broker that make test-kafka started and that
// KAFKA_BROKERS names; without that variable it starts one for this test. A
// shared broker holds the topics and groups of other tests: take each name
// from [Name].
func NewReal(t testing.TB) *Broker {
	t.Helper()
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		b := newBroker(t, nil)
		b.Cluster = &Cluster{brokers: strings.Split(brokers, ",")}
		return b
	}
	return StartReal(t, 1)
}

// StartReal starts a cluster of 1 or 3 brokers that no other test sees, and
// that is gone when the test ends. It takes about 5 seconds for 1 and 15
// seconds for 3.
func StartReal(t testing.TB, brokers int) *Broker {
	t.Helper()
	// Beside the shared broker's data, where make test-kafka cleans up after
	// a test that was killed; without it in the system's temporary directory.
	beside := os.Getenv("FIRSTSEEN_KAFKA_RUN")
	if beside != "" {
		beside = filepath.Dir(beside)
	}
	run, err := os.MkdirTemp(beside, "firstseen-kafka-")
	require.NoError(t, err)
	b := newBroker(t, []string{"FIRSTSEEN_KAFKA_RUN=" + run})
	t.Cleanup(func() { b.run(t, "clean") })
	answer := b.run(t, "start", strconv.Itoa(brokers))
	addrs, found := strings.CutPrefix(strings.TrimSpace(answer), "KAFKA_BROKERS=")
	require.True(t, found, "kafka-broker.sh start answered %q", answer)
	b.Cluster = &Cluster{brokers: strings.Split(addrs, ",")}
	return b
}

func newBroker(t testing.TB, env []string) *Broker {
	t.Helper()
	const here = "github.com/firstseen/firstseen/internal/kafkatest"
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", here).Output()
	require.NoError(t, err)
	script := filepath.Join(strings.TrimSpace(string(dir)), "kafka-broker.sh")
	return &Broker{script: script, env: append(os.Environ(), env...)}
}

// Crash kills broker n with SIGKILL.
func (b *Broker) Crash(t testing.TB, n int) {
	t.Helper()
	b.run(t, "crash", strconv.Itoa(n))
}

// Restart starts broker n again on the same address and data, and returns
// when it answers. It does nothing to a broker that runs.
func (b *Broker) Restart(t testing.TB, n int) {
	t.Helper()
	b.run(t, "restart", strconv.Itoa(n))
}

// InSync returns when every partition has a leader, and all of its replicas are
// in sync: then any one broker may crash, and each partition has a leader still.
func (b *Broker) InSync(t testing.TB) {
	t.Helper()
	b.admin(t, func(ctx context.Context, adm *kadm.Client) {
		await(ctx, t, "the replicas", func() error {
			topics, err := adm.ListTopicsWithInternal(ctx)
			topics.EachPartition(func(p kadm.PartitionDetail) {
				if p.Err != nil || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					err = cmp.Or(err, fmt.Errorf("%w: %s/%d: leader %d, in sync %v of %v", errNotYet,
						p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas))
				}
			})
			return err
		})
	})
}

// Tool runs a class of Kafka's own jars, such as
// org.apache.kafka.tools.ProducerPerformance, and returns what it printed on
// standard output. A tool that exits with an error fails the test.
func (b *Broker) Tool(t testing.TB, class string, args ...string) string {
	t.Helper()
	return b.run(t, append([]string{"tool", class}, args...)...)
}

// scriptPatience is how long the script may take; the first start fetches Kafka.
const scriptPatience = 10 * time.Minute

func (b *Broker) run(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, b.script, args...)
	cmd.Env, cmd.Stderr = b.env, &stderr
	cmd.WaitDelay = time.Second // a Java that is left behind holds the pipes
	stdout, err := cmd.Output()
	require.NoError(t, errors.Join(err, ctx.Err()), "kafka-broker.sh %s\n%s%s", strings.Join(args, " "), stdout, &stderr)
	return string(stdout)
}
