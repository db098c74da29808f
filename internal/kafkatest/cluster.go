package kafkatest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// patience is how long a helper waits for the cluster before it fails the
// test. Nothing depends on its size; brokers that start on a slow machine beside
// other work need a minute.
const patience = 3 * time.Minute

// Cluster is a Kafka cluster that a test may use as it likes. It lives until
// the test that made it ends. Its methods may be called concurrently.
type Cluster struct {
	// Fake is the kfake cluster behind it, for faults and control
	// functions; nil for a real Kafka.
	Fake *kfake.Cluster

	brokers []string
	dial    []kgo.Opt
	login   []kgo.Opt // of the helpers' own clients
}

// NewFake starts a kfake cluster of one broker on loopback. The options may
// ask for more brokers, seed topics, and so on.
func NewFake(t testing.TB, opts ...kfake.Opt) *Cluster {
	t.Helper()
	return newFake(t, nil, append([]kfake.Opt{kfake.NumBrokers(1)}, opts...))
}

// NewVirtual starts a kfake cluster of one broker without a network, for use
// inside a testing/synctest bubble: all of its time is the bubble's. A client
// reaches it only by Brokers together with DialOptions. For more brokers
// give [kfake.Ports]: the ports are names, nothing listens there.
func NewVirtual(t testing.TB, opts ...kfake.Opt) *Cluster {
	t.Helper()
	network := new(kfake.VirtualNetwork)
	own := []kfake.Opt{kfake.Ports(9092), kfake.ListenFn(network.Listen)}
	return newFake(t, []kgo.Opt{kgo.Dialer(network.DialContext)}, append(own, opts...))
}

func newFake(t testing.TB, dial []kgo.Opt, opts []kfake.Opt) *Cluster {
	t.Helper()
	fake, err := kfake.NewCluster(opts...)
	require.NoError(t, err)
	t.Cleanup(fake.Close)
	// kfake asks every client for its metrics. What they cost, compressed in every
	// minute of the bubble's time, is a third of what the tests take under -race.
	dial = append(dial, kgo.DisableClientMetrics())
	return &Cluster{Fake: fake, brokers: fake.ListenAddrs(), dial: dial}
}

// NewSecured is NewVirtual with SASL and access lists: a user may do what is
// granted to it, and the helpers may do everything. Users are made by [kfake.User].
func NewSecured(t testing.TB, opts ...kfake.Opt) *Cluster {
	t.Helper()
	const user, password = "operator", "operator's"
	c := NewVirtual(t, append([]kfake.Opt{
		kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", user, password),
	}, opts...)...)
	c.login = []kgo.Opt{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
	return c
}

// Brokers returns the addresses of the brokers, host:port.
func (c *Cluster) Brokers() []string {
	return slices.Clone(c.brokers)
}

// DialOptions returns what a client needs beside Brokers to reach the
// cluster: the dialer of the virtual network, and no metrics for a kfake one;
// nothing for a real Kafka.
func (c *Cluster) DialOptions() []kgo.Opt {
	return slices.Clone(c.dial)
}

// Client returns a client of the cluster that is closed when the test ends.
func (c *Cluster) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl := c.client(t, opts)
	t.Cleanup(cl.Close)
	return cl
}

func (c *Cluster) client(t testing.TB, opts []kgo.Opt) *kgo.Client {
	t.Helper()
	own := append(append(c.DialOptions(), c.login...), kgo.SeedBrokers(c.brokers...))
	cl, err := kgo.NewClient(append(own, opts...)...)
	require.NoError(t, err)
	return cl
}

// admin calls fn with an admin client of its own and a context that ends
// after patience.
func (c *Cluster) admin(t testing.TB, fn func(ctx context.Context, adm *kadm.Client)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := c.client(t, []kgo.Opt{kgo.MetadataMinAge(10 * time.Millisecond)}) // see changes at once
	defer cl.Close()
	fn(ctx, kadm.NewClient(cl))
}

// await asks again and again until the answer is nil, and fails the test on an
// error that does not end by itself; what names the thing that is waited for.
func await(ctx context.Context, t testing.TB, what string, ask func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for err := ask(); err != nil; err = ask() {
		require.True(t, passes(err), "waiting for %s: %v", what, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.FailNow(t, "gave up waiting for "+what, "after %v: %v", patience, err)
		}
	}
}
