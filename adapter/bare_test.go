package adapter

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// bare is a consumer as it is written without firstseen: a group, a loop, and
// what its handler does to the world. It dies where a test says so, and is
// started again until it comes to the end of the log.
type bare struct {
	*world
	cl      *kgo.Client
	effects map[string]int // by ID, for good: whatever crashes, they were done
	crashed map[string]bool
	starts  int
}

const bareGroup = "bare"

func (w *world) bare() *bare {
	return &bare{world: w, effects: map[string]int{}, crashed: map[string]bool{}}
}

// effect is what handling a record does to the world.
func (p *bare) effect(r *kgo.Record) { p.effects[header(r, "id")]++ }

// crash ends the process the first time that it comes here with that ID.
func (p *bare) crash(r *kgo.Record, id string) error {
	if header(r, "id") != id || p.crashed[id] {
		return nil
	}
	p.crashed[id] = true
	return errCrash
}

// commit tells Kafka that everything up to a record is done.
func (p *bare) commit(r *kgo.Record) {
	p.Helper()
	require.NoError(p, p.cl.CommitRecords(p.Context(), r))
}

// run reads what the group has not committed, polls of at most size records, and
// has each handled; and again after a crash, until all is read.
func (p *bare) run(size int, handle func(polled []*kgo.Record) error, opts ...kgo.Opt) {
	p.Helper()
	for {
		p.starts++
		require.Less(p, p.starts, 5, "it crashes again and again")
		err := p.once(size, handle, opts)
		if err == nil {
			return
		}
		require.ErrorIs(p, err, errCrash)
	}
}

// each is run with one record after the other.
func (p *bare) each(handle func(r *kgo.Record) error) {
	p.Helper()
	p.run(1, func(polled []*kgo.Record) error { return handle(polled[0]) }, kgo.DisableAutoCommit())
}

// once is the life of one process.
func (p *bare) once(size int, handle func([]*kgo.Record) error, opts []kgo.Opt) (err error) {
	left := p.left()
	p.cl, err = kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(p.kafka.Brokers()...), kgo.ConsumerGroup(bareGroup), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	}, append(p.kafka.DialOptions(), opts...)...)...)
	require.NoError(p, err)
	defer p.cl.Close()
	for left > 0 {
		fetches := p.cl.PollRecords(p.Context(), size)
		require.NoError(p, fetches.Err())
		polled := fetches.Records()
		if len(polled) == 0 {
			continue
		}
		left -= len(polled)
		if err := handle(polled); err != nil {
			return err
		}
	}
	return nil
}

// left returns how many records the group has not committed.
func (p *bare) left() (n int) {
	p.Helper()
	for partition, recs := range p.kafka.ReadAll(p, topic) {
		n += len(recs)
		if at, ok := p.kafka.Committed(p, bareGroup, topic, partition); ok {
			n -= int(at.At)
		}
	}
	return n
}

// countID counts each message in the state.
func countID(_ context.Context, tx *Tx, rec *Record) error {
	_, err := tx.Add(rec.ID, 1)
	return err
}

// byFirstseen has firstseen read the same log and die once before its batch is
// durable and once after it, and fails unless the state is that of each of these
// messages once.
func (w *world) byFirstseen(ids ...string) {
	w.Helper()
	for _, step := range []string{"handled", "durable"} {
		w.crashOnce(countID, step, 1)
	}
	require.NoError(w, w.consumer(countID).Run(w.Context()))
	once := map[string]int{}
	for _, id := range ids {
		once[id] = 1
	}
	require.Equal(w, once, w.states())
}

// states returns the numbers in the state of all partitions, by key.
func (w *world) states() map[string]int {
	w.Helper()
	all := map[string]int{}
	for name := range w.st.Namespaces() {
		ns, err := w.st.Namespace(name, nil)
		require.NoError(w, err)
		require.NoError(w, ns.View(func(v *store.View) error {
			return v.Scan(nil, func(key, _ []byte) error {
				n, err := v.Int(key)
				all[string(key)] += int(n)
				return err
			})
		}))
	}
	return all
}

// inBareWorld runs a test of one partition with a bare consumer.
func inBareWorld(t *testing.T, fn func(t *testing.T, p *bare)) {
	inWorld(t, func(t *testing.T, w *world) { fn(t, w.bare()) })
}
