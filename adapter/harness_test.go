package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// world is a cluster without a network, a store and a consumer, inside a
// synctest bubble: an hour of waiting costs nothing, and a goroutine that is
// left behind fails the test.
type world struct {
	*testing.T
	kafka *kafkatest.Cluster
	dir   string
	st    *store.Store
	opts  Options
	calls *calls
}

const (
	group = "billing"
	topic = "payments"
)

// inWorld runs a test in a bubble of its own, with a topic of one partition.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	inWorldOf(t, 1, fn)
}

func inWorldOf(t *testing.T, partitions int32, fn func(t *testing.T, w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: dir, calls: new(calls)}
		w.kafka = kafkatest.NewVirtual(t, kfake.SeedTopics(partitions, topic))
		w.open()
		defer func() { require.NoError(t, w.st.Close()) }()
		w.opts = Options{
			Brokers: w.kafka.Brokers(), Client: w.kafka.DialOptions(),
			Group: group, Topics: []string{topic}, ID: Header("id"), Window: window.Hour,
			UntilEnd: true, Logger: slog.New(slog.DiscardHandler),
		}
		fn(t, w)
	})
}

// openAt opens a store of its own, for another instance.
func (w *world) openAt(dir string) {
	w.Helper()
	w.dir = dir
	w.open()
}

func (w *world) open() {
	w.Helper()
	st, err := store.Open(w.dir, nil)
	require.NoError(w, err)
	w.st = st
}

// reopen closes the store and opens it again, as another process would. What
// is durable is the same as after a crash: every batch is synced, and closing
// writes nothing that counts.
func (w *world) reopen() {
	w.Helper()
	require.NoError(w, w.st.Close())
	w.open()
}

// consumer returns a consumer of the world with a handler.
func (w *world) consumer(h Handler) *Consumer {
	w.Helper()
	c, err := New(w.st, h, &w.opts)
	require.NoError(w, err)
	c.firstBatch = c.opts.MaxPollRecords // tests count batches
	return c
}

// run consumes until the end with the handler that counts.
func (w *world) run() error {
	w.Helper()
	return w.consumer(w.calls.handle).Run(w.Context())
}

// produce writes one record per ID to a partition, each a second after the last.
func (w *world) produce(partition int32, ids ...string) {
	w.Helper()
	var recs []*kgo.Record
	for _, id := range ids {
		recs = append(recs, record(partition, id))
	}
	w.kafka.Produce(w, recs...)
}

func record(partition int32, id string) *kgo.Record {
	return &kgo.Record{
		Topic: topic, Partition: partition, Key: []byte("k"), Value: []byte("v-" + id),
		Headers: []kgo.RecordHeader{{Key: "id", Value: []byte(id)}},
	}
}

// ids returns "prefix0" to "prefix<n-1>".
func ids(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = prefix + strconv.Itoa(i)
	}
	return s
}

// calls is a handler that counts its calls by ID, outside the store, and adds
// one per record to the state "n" inside.
type calls struct {
	mu    sync.Mutex
	order []string
	fail  func(id string) error // before anything is counted; nil never fails
}

func (c *calls) handle(_ context.Context, tx *Tx, rec *Record) error {
	if c.fail != nil {
		if err := c.fail(string(rec.ID)); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.order = append(c.order, string(rec.ID))
	c.mu.Unlock()
	_, err := tx.Add([]byte("n"), 1)
	return err
}

func (c *calls) count() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := make(map[string]int)
	for _, id := range c.order {
		n[id]++
	}
	return n
}

// state returns the number in the store under key, of a partition.
func (w *world) state(partition int32, key string) (n int64) {
	w.Helper()
	ns, err := w.st.Namespace(namespaceName(group, topic, partition), nil)
	require.NoError(w, err)
	require.NoError(w, ns.View(func(v *store.View) error {
		n, err = v.Int([]byte(key))
		return err
	}))
	return n
}

// committedAt returns the offset that the group has committed, -1 when none.
func (w *world) committedAt(partition int32) int64 {
	w.Helper()
	g, ok := w.kafka.Committed(w, group, topic, partition)
	if !ok {
		return -1
	}
	return g.At
}

var errCrash = errors.New("crash")

// crashAt returns a step function that crashes when a step is done for the nth
// time.
func crashAt(step string, nth int) func(string) error {
	var mu sync.Mutex
	return func(done string) error {
		mu.Lock()
		defer mu.Unlock()
		if done == step {
			if nth--; nth == 0 {
				return fmt.Errorf("%w after %s", errCrash, step)
			}
		}
		return nil
	}
}

// position returns L of a partition.
func (w *world) position(partition int32) int64 {
	w.Helper()
	ns, err := w.st.Namespace(namespaceName(group, topic, partition), nil)
	require.NoError(w, err)
	status, err := ns.Status()
	require.NoError(w, err)
	return status.Position.Offset
}

// start runs a consumer in the background, without an end of its own. stop
// ends its context and returns what Run returned.
func (w *world) start(h Handler) (c *Consumer, stop func() error) {
	w.Helper()
	return w.startWith(h, func(*Consumer) {})
}

// startWith is start with a consumer that is changed before it runs.
func (w *world) startWith(h Handler, change func(*Consumer)) (c *Consumer, stop func() error) {
	w.Helper()
	c = w.consumer(h)
	c.opts.UntilEnd = false
	change(c)
	ctx, cancel := context.WithCancel(w.Context())
	w.Cleanup(cancel) // a test that fails ends it, or its bubble would not end
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(stopLimit):
			return fmt.Errorf("the run goes on %v after its context has ended", stopLimit)
		}
	}
}

// stopLimit and waitLimit are in the bubble's time, or in real time on a real Kafka: nothing takes
// so long, and a package has 20 minutes.
const stopLimit, waitLimit = 10 * time.Minute, 10 * time.Minute

// until waits in the bubble's time. It asks less and less often: to ask Kafka is dear,
// and some wait for minutes.
func (w *world) until(done func() bool) {
	w.Helper()
	for begun := time.Now(); time.Since(begun) < waitLimit; {
		if done() {
			return
		}
		time.Sleep(max(100*time.Millisecond, time.Since(begun)/100))
	}
	require.FailNow(w, "gave up waiting", "after %v", waitLimit)
}

func isOneOf(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// alarms keeps what a consumer logs.
type alarms struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (a *alarms) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.b.Write(p)
}

func (a *alarms) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.b.String()
}

// quietLogger drops what a consumer logs.
var quietLogger = slog.New(slog.DiscardHandler)

func (a *alarms) logger() *slog.Logger { return slog.New(slog.NewTextHandler(a, nil)) }
