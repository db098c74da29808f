package adapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// E04: two instances share a topic, under every balancer and protocol, as static or
// dynamic members, or pinned. One of them dies at a step of the loop, and they come
// back in some order. Against the model: what was handled of every message became
// durable once, but for what the dead one had not committed when another took over,
// and for copies of which the other one cannot know; where partitions stay on their
// disks every message is exactly once in the state; no committed offset goes back. In
// a part of the scenarios the handlers relay in transactions: there a read_committed
// reader sees every message, and once, whatever the dead one had not committed.
func TestFault_E04_Matrix(t *testing.T) {
	var ran atomic.Int64
	t.Run("all", func(t *testing.T) {
		for name, balancer := range allBalancers {
			for _, dynamic := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/dynamic=%v", name, dynamic), func(t *testing.T) {
					t.Parallel()
					matrix{balancer: balancer, dynamic: dynamic}.run(t, &ran)
				})
			}
		}
		t.Run("pinned", func(t *testing.T) {
			t.Parallel()
			matrix{pinned: true}.run(t, &ran)
		})
	})
	t.Logf("%d scenarios", ran.Load())
	require.GreaterOrEqual(t, ran.Load(), int64(2000/matrixShare))
}

// matrix is how the instances share the partitions.
type matrix struct {
	balancer Balancer
	dynamic  bool
	pinned   bool
}

// orders are in which way the instances come back.
var orders = []string{"at once", "late", "never", "both, dead first", "both, other first", "both at once"}

// scenario is one story: instance 0 dies when a step is done for the nth time.
type scenario struct {
	matrix
	world  *matrixWorld
	done   *effects
	topic  string
	step   string
	nth    int
	order  string
	most   int // MaxPollRecords
	txn    bool
	number int
}

const matrixPartitions = 3

func (m matrix) run(t *testing.T, ran *atomic.Int64) {
	var all []scenario
	for _, step := range steps {
		for nth := 1; nth <= 3; nth++ {
			for _, order := range orders {
				for _, most := range []int{3, 6} {
					number := len(all)
					s := scenario{matrix: m, step: step, nth: nth, order: order, most: most,
						number: number, topic: fmt.Sprintf("t%d", number)}
					all = append(all, s.inTransactions())
				}
			}
		}
	}
	const inOne = 30 // scenarios of one cluster: its topics and clients pile up
	for from := 0; from < len(all); from += inOne {
		part := all[from:min(from+inOne, len(all))]
		synctest.Test(t, func(t *testing.T) {
			var topics []string
			for _, s := range part {
				topics = append(topics, s.topic)
				if s.txn {
					topics = append(topics, s.output())
				}
			}
			w := newMatrixWorld(t, topics)
			defer w.close()
			for _, s := range part {
				if s.number%matrixShare == int(m.balancer)%matrixShare {
					s.world, s.done = w, &effects{durable: make(map[effect]int)}
					s.play(t)
					ran.Add(1)
				}
			}
		})
	}
}

// matrixWorld is a cluster with the disks of two instances.
type matrixWorld struct {
	*testing.T
	kafka  *kafkatest.Cluster
	cl     *kgo.Client
	adm    *kadm.Client
	stores []*store.Store
	turn   chan struct{} // held while offsets are looked at
}

func newMatrixWorld(t *testing.T, topics []string) *matrixWorld {
	w := &matrixWorld{T: t, turn: make(chan struct{}, 1)}
	w.kafka = kafkatest.NewVirtual(t, kfake.SeedTopics(matrixPartitions, topics...))
	w.cl = w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	w.adm = kadm.NewClient(w.cl)
	for range 2 {
		st, err := store.Open("", &store.Options{InMemory: true})
		require.NoError(t, err)
		w.stores = append(w.stores, st)
	}
	return w
}

func (w *matrixWorld) close() {
	for _, st := range w.stores {
		require.NoError(w, st.Close())
	}
}

// offsets returns what the group has committed in each partition.
func (w *matrixWorld) offsets(group string) (at [matrixPartitions]int64) {
	found, err := w.adm.FetchOffsets(w.Context(), group)
	if err != nil {
		return at // the group is not there yet
	}
	found.Each(func(o kadm.OffsetResponse) { at[o.Partition] = max(0, o.At) })
	return at
}

// instance is a process that runs on a disk.
type instance struct {
	c    *Consumer
	stop func() error
}

// play runs a scenario.
func (s scenario) play(t *testing.T) {
	t.Helper()
	w := s.world
	var (
		highest [matrixPartitions]int64
		tails   int64 // offsets that dead ones had handled and not committed
	)
	look := func() { // no committed offset goes back
		w.turn <- struct{}{}
		defer func() { <-w.turn }()
		for p, at := range w.offsets(s.topic) {
			if at < highest[p] {
				t.Errorf("%v: partition %d went back from %d to %d", s, p, highest[p], at)
			}
			highest[p] = at
		}
	}
	both := strings.HasPrefix(s.order, "both")
	first := s.start(0, s.step, look)
	secondStep := ""
	if both {
		secondStep = s.step
	}
	second := s.start(1, secondStep, look)
	s.await(t, "both have partitions", func() bool {
		return first.c.Stats().Partitions+second.c.Stats().Partitions == matrixPartitions &&
			first.c.Stats().Partitions > 0 && second.c.Stats().Partitions > 0
	})
	s.produce(t, 0)
	unknown := int64(0) // records that an instance could not know, and accepted
	died := func(i *instance, id int) *instance {
		err := i.stop()
		unknown += int64(i.c.Stats().Unknown)
		if err != nil && !errors.Is(err, errCrash) {
			t.Errorf("%v: instance %d: %v", s, id, err)
		}
		at := w.offsets(s.topic)
		for p := range int32(matrixPartitions) {
			if l := s.position(t, id, p); l > at[p] {
				tails += l - at[p]
			}
		}
		return nil
	}
	time.Sleep(2 * time.Second)
	first = died(first, 0)
	if both {
		second = died(second, 1)
	}
	switch s.order {
	case "late":
		s.produce(t, 1)
		time.Sleep(time.Minute) // longer than the session time-out
		first = s.start(0, "", look)
	case "at once", "both, dead first", "both at once":
		first = s.start(0, "", look)
	}
	if s.order == "both, other first" || s.order == "both, dead first" {
		if second == nil && s.order == "both, other first" {
			second = s.start(1, "", look)
		}
		time.Sleep(5 * time.Second)
		if first == nil {
			first = s.start(0, "", look)
		}
	}
	if second == nil {
		second = s.start(1, "", look)
	}
	if s.order == "never" {
		switch {
		case s.pinned: // nobody else has its partitions
			first = s.start(0, "", look)
		case !s.dynamic: // it says so
			err := Leave(t.Context(), w.kafka.Brokers(), s.topic, w.stores[0].ID().String(), w.kafka.DialOptions()...)
			require.NoError(t, err)
		}
	}
	if s.order != "late" {
		s.produce(t, 1)
	}
	s.produce(t, 2)
	s.await(t, "all is committed", func() bool { return w.offsets(s.topic) == s.ends() })
	for _, i := range []*instance{first, second} {
		if i != nil {
			require.NoError(t, i.stop(), "%v", s)
			unknown += int64(i.c.Stats().Unknown)
		}
	}
	look()
	s.judge(t, tails+unknown)
	if s.txn {
		s.judgeOutputs(t, unknown)
	}
}

// String names the scenario.
func (s scenario) String() string {
	how := fmt.Sprintf("balancer %d, dynamic %v", s.balancer, s.dynamic)
	if s.pinned {
		how = "pinned"
	}
	return fmt.Sprintf("%s, transactions %v, dies at %s %d, comes back %s, polls of %d",
		how, s.txn, s.step, s.nth, s.order, s.most)
}

// stays tells whether every partition stays on its disk. The sticky balancers tell
// the group what a member had, which none knows when all have died; Kafka goes by
// the name of the protocol then, and leaves the partitions where they were, kfake
// divides them anew.
func (s scenario) stays() bool {
	switch {
	case s.pinned:
		return true
	case s.dynamic:
		return false
	case s.balancer == BalancerSticky || s.balancer == BalancerCooperativeSticky:
		return s.order == "at once"
	default:
		return s.order == "at once" || strings.HasPrefix(s.order, "both")
	}
}

// start runs an instance on a disk that dies at a step; at none when that is "".
func (s scenario) start(disk int, step string, look func()) *instance {
	w := s.world
	o := &Options{
		Brokers: w.kafka.Brokers(), Client: w.kafka.DialOptions(), Group: s.topic, Topics: []string{s.topic},
		ID: Header("id"), Window: window.Hour, Logger: slog.New(slog.DiscardHandler), MaxPollRecords: s.most,
		Balancer: s.balancer, Dynamic: s.dynamic, Transactional: s.txn,
	}
	if s.pinned {
		o.Pinned = map[string][]int32{s.topic: [][]int32{{0, 1}, {2}}[disk]}
	}
	s.done.begin(disk)
	c, err := New(w.stores[disk], func(_ context.Context, tx *Tx, rec *Record) error {
		s.done.call(disk, rec)
		if s.stays() {
			if _, err := tx.Add(rec.ID, 1); err != nil {
				return err
			}
		}
		if s.txn {
			return tx.forward(s.output())
		}
		return nil
	}, o)
	require.NoError(w, err)
	die := crashAt(step, s.nth)
	c.step = func(done string) error {
		switch done {
		case "durable":
			s.done.settle(disk, func(p int32) int64 { return s.position(w.T, disk, p) })
		case "committed", "ended":
			look()
		}
		return die(done)
	}
	ctx, cancel := context.WithCancel(w.Context())
	ended := make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		failed = c.Run(ctx)
	}()
	stop := func() error {
		cancel()
		<-ended
		return failed
	}
	w.Cleanup(func() { _ = stop() }) // a scenario that fails ends, or its bubble would not
	return &instance{c: c, stop: stop}
}

// produce writes a wave of records: of each partition some new ones, each with a
// copy in the same wave, and copies of the wave before.
func (s scenario) produce(t *testing.T, wave int) {
	t.Helper()
	var recs []*kgo.Record
	for p := range int32(matrixPartitions) {
		for _, id := range s.ids(wave) {
			rec := record(p, id)
			rec.Topic = s.topic
			recs = append(recs, rec)
		}
	}
	require.NoError(t, s.world.cl.ProduceSync(t.Context(), recs...).FirstErr())
}

const newInWave = 4

func (s scenario) ids(wave int) (all []string) {
	for i := range newInWave {
		all = append(all, fmt.Sprintf("w%d-%d", wave, i))
	}
	all = append(all, all[0], all[3])
	if wave > 0 {
		all = append(all, fmt.Sprintf("w%d-1", wave-1))
	}
	return all
}

func (s scenario) ends() (at [matrixPartitions]int64) {
	for p := range at {
		for wave := range 3 {
			at[p] += int64(len(s.ids(wave)))
		}
	}
	return at
}

// await waits in the bubble's time.
func (s scenario) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	require.FailNow(t, "gave up waiting", "%v: %s: %v of %v", s, what, s.world.offsets(s.topic), s.ends())
}

// namespace returns that of a partition on a disk, nil when it has none.
func (s scenario) namespace(t *testing.T, disk int, p int32) *store.Namespace {
	t.Helper()
	st, name := s.world.stores[disk], namespaceName(s.topic, s.topic, p)
	if !slices.Contains(slices.Collect(st.Namespaces()), name) {
		return nil
	}
	ns, err := st.Namespace(name, nil)
	require.NoError(t, err)
	return ns
}

func (s scenario) position(t *testing.T, disk int, p int32) int64 {
	t.Helper()
	ns := s.namespace(t, disk, p)
	if ns == nil {
		return 0
	}
	status, err := ns.Status()
	require.NoError(t, err)
	return status.Position.Offset
}

// judge compares what became durable with the model. At most that many messages
// may be doubled where partitions moved: those that were not committed, and those
// that an instance without the markers could not know.
func (s scenario) judge(t *testing.T, most int64) {
	t.Helper()
	doubled := int64(0)
	for p := range int32(matrixPartitions) {
		for wave := range 3 {
			for i := range newInWave {
				n := s.done.durable[effect{p, fmt.Sprintf("w%d-%d", wave, i)}]
				if n == 0 {
					t.Errorf("%v: partition %d: w%d-%d is lost", s, p, wave, i)
				}
				doubled += int64(max(0, n-1))
			}
		}
		if s.stays() {
			s.judgeState(t, p)
		}
	}
	if s.stays() {
		most = 0
	}
	if doubled > most {
		t.Errorf("%v: %d are doubled, %d may be", s, doubled, most)
	}
}

// judgeState looks whether every message is exactly once in the state.
func (s scenario) judgeState(t *testing.T, p int32) {
	t.Helper()
	counted := 0
	for disk := range s.world.stores {
		ns := s.namespace(t, disk, p)
		if ns == nil {
			continue
		}
		require.NoError(t, ns.View(func(v *store.View) error {
			return v.Scan(nil, func(key, _ []byte) error {
				n, err := v.Int(key)
				if n != 1 {
					t.Errorf("%v: partition %d: %s counts %d", s, p, key, n)
				}
				counted++
				return err
			})
		}))
	}
	if counted != 3*newInWave {
		t.Errorf("%v: partition %d: %d messages in the state", s, p, counted)
	}
}
