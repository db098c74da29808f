package adapter

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// rot is a log that is damaged at the record "bad": each time that it comes over the
// wire, one of its bytes is another.
type rot struct {
	off atomic.Bool
	at  int // of that byte, from the beginning of the record's value
}

type rotten struct {
	net.Conn
	*rot
}

func (c rotten) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if i := bytes.Index(into[:n], []byte("v-bad")); i >= 0 && !c.off.Load() {
		into[i+c.at] ^= 0x40
	}
	return n, err
}

// damage has the world's consumers read by way of a rot.
func (w *world) damage(at int) *rot {
	w.Helper()
	r := &rot{at: at}
	dial := w.kafka.Client(w).OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	w.opts.Client = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := dial(ctx, network, host)
		return rotten{conn, r}, err
	})}
	return r
}

// refusesToRead has Run end by damage from offset 2 on, twice, and nothing more
// handled than what stands before it.
func (w *world) refusesToRead(words ...string) {
	w.Helper()
	for range 2 {
		err := w.sees()
		require.ErrorIs(w, err, ErrConsumeRefused)
		for _, words := range append(words, "payments/0 from offset 2 on", "set Options.OnGap to GapJump") {
			require.ErrorContains(w, err, words)
		}
	}
	require.Equal(w, map[string]int{"a": 1, "b": 1}, w.calls.count())
}

// sees consumes until the end, without state.
func (w *world) sees() error { return w.consumer(w.calls.seen).Run(w.Context()) }

// elsewhere goes on with an empty store.
func (w *world) elsewhere() {
	w.Helper()
	require.NoError(w, w.st.Close())
	w.openAt(w.TempDir())
}

// E21: a batch that is damaged in the log, in a record and in its head, ends Run by
// an error that says where. What stands before it is handled and committed, in the
// same poll, too; nothing behind it is; and once it is mended, or deleted, the
// partition goes on, and has every other message once.
func TestFault_E21_DamagedBatch(t *testing.T) {
	for name, tt := range map[string]struct {
		at    int
		words string
	}{
		"a record": {4, "crc"},
		"the head": {-52, "unknown magic"},
	} {
		for _, mended := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					r := w.damage(tt.at)
					for _, id := range []string{"a", "b", "bad", "c"} {
						w.produce(0, id) // each in a batch of its own
					}
					w.refusesToRead(tt.words, "mend the log")
					require.EqualValues(t, 2, w.committedAt(0))
					want := map[string]int{"a": 1, "b": 1, "c": 1}
					if mended {
						r.off.Store(true)
						want["bad"] = 1
					} else {
						w.kafka.DeleteRecords(t, topic, 0, 3)
						w.opts.OnGap = GapJump
					}
					require.NoError(t, w.sees())
					require.Equal(t, want, w.calls.count())
					require.EqualValues(t, 4, w.committedAt(0))
				})
			})
		}
	}
}

// E21: what stands before the damage is handled by the same Run, also where it comes
// in several polls; the client would go on behind a head that it does not know.
func TestFault_E21_PollsBeforeTheDamage(t *testing.T) {
	for _, at := range []int{4, -52} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.MaxPollRecords = 1
			w.damage(at)
			for _, id := range []string{"a", "b", "bad", "c"} {
				w.produce(0, id)
			}
			w.refusesToRead()
			require.EqualValues(t, 2, w.committedAt(0))
		})
	}
}

// E21: damage that a restore meets, or the look at the last record, ends Run alike;
// nothing is taken for handled that was not, or the other way round.
func TestFault_E21_DamageBesideTheGroup(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Dynamic = true
		w.produce(0, "a", "b")
		w.produce(0, "bad")
		require.NoError(t, w.sees())
		r := w.damage(4)
		w.produce(0, "c", "bad")
		for _, at := range []func(){func() {}, w.elsewhere} { // the last record; a restore
			at()
			handled := len(w.calls.order)
			err := w.sees()
			require.ErrorIs(t, err, ErrConsumeRefused)
			require.ErrorContains(t, err, "payments/0 from offset 2 on: encoded crc")
			require.ErrorContains(t, err, "mend the log, or delete the records")
			require.Len(t, w.calls.order, handled)
		}
		r.off.Store(true)
		require.NoError(t, w.sees())
		require.Equal(t, map[string]int{"a": 1, "b": 1, "bad": 1, "c": 1}, w.calls.count())
	})
}

// E21: an instance that stands by says what it cannot read, and goes on when it can.
func TestFault_E21_DamageBehindAStandby(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b")
		w.produce(0, "bad")
		_, stopOne := w.start(w.calls.seen)
		w.until(func() bool { return w.committedAt(0) == 3 })
		first := w.st
		w.openAt(t.TempDir())
		defer func(second *store.Store) { require.NoError(t, second.Close()) }(w.st)
		r := w.damage(4)
		w.opts.Standby = map[string][]int32{topic: {0}}
		two, stopTwo := w.start(w.calls.seen)
		w.st = first
		w.until(func() bool { s := two.Standbys(); return len(s) == 1 && s[0].Err != nil })
		require.ErrorIs(t, two.Standbys()[0].Err, ErrConsumeRefused)
		require.ErrorContains(t, two.Standbys()[0].Err, "payments/0 from offset 2 on: encoded crc")
		r.off.Store(true)
		w.produce(0, "d")
		w.until(warmed(two, 4))
		require.NoError(t, errors.Join(stopTwo(), stopOne()))
	})
}

// E21: a small batch that would fill the memory once it is decompressed ends Run by
// an error that says where and how to allow it, wherever it is met; the memory stays
// bounded, and nothing is lost.
func TestFault_E21_GiantDecompression(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const giant, allowed = 64 << 20, 1 << 20 // what else is allocated meanwhile is up to 45 MB
		cl := w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(giant+1<<10),
			kgo.ProducerBatchCompression(kgo.GzipCompression()))
		w.produce(0, "a", "b")
		large := record(0, "large")
		large.Value = make([]byte, giant)
		require.NoError(t, cl.ProduceSync(t.Context(), large).FirstErr())
		w.produce(0, "c")
		w.opts.Dynamic = true
		limit := func(bytes int) {
			w.opts.Client = append(w.kafka.DialOptions(), kgo.MaxDecompressBatchBytes(bytes))
		}
		limit(allowed)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.refusesToRead("offset 2", "allow such batches by kgo.MaxDecompressBatchBytes")
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(giant))
		limit(2 * giant)
		require.NoError(t, w.sees())
		require.Equal(t, map[string]int{"a": 1, "b": 1, "large": 1, "c": 1}, w.calls.count())

		limit(allowed)
		w.elsewhere()
		w.produce(0, "d")
		runtime.ReadMemStats(&before)
		err := w.sees()
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrConsumeRefused)
		require.ErrorIs(t, err, kgo.ErrMaxDecompress)
		require.ErrorContains(t, err, "allow such batches")
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(giant))
		limit(2 * giant)
		require.NoError(t, w.sees())
		require.Len(t, w.calls.order, 5)
	})
}

// What nobody set is not what kgo takes, in any client that reads.
func TestClientOptions_BatchesAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := w.consumer(w.calls.handle)
		source, err := c.sourceClient()
		require.NoError(t, err)
		defer source.Close()
		session, err := kgo.NewClient(c.opts.clientOptions(w.st)...)
		require.NoError(t, err)
		defer session.Close()
		for _, cl := range []*kgo.Client{source, session} {
			require.Equal(t, mostDecompressed, cl.OptValue(kgo.MaxDecompressBatchBytes))
		}
	})
}
