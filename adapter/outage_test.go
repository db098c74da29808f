package adapter

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cable is the network between a consumer and its brokers.
type cable struct {
	dial  func(ctx context.Context, network, host string) (net.Conn, error)
	mu    sync.Mutex
	cut   bool
	tries int // dials while it was cut
	conns []net.Conn
}

// cable puts one between the world's consumer and its brokers.
func (w *world) cable() *cable {
	w.Helper()
	dial, ok := w.kafka.Client(w).OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	require.True(w, ok)
	c := &cable{dial: dial}
	w.opts.Client = append(w.opts.Client, kgo.Dialer(c.connect))
	return c
}

func (c *cable) connect(ctx context.Context, network, host string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		c.tries++
		return nil, errors.New("no route to host")
	}
	conn, err := c.dial(ctx, network, host)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

// set cuts it, or mends it, and returns how often a dial has failed.
func (c *cable) set(cut bool) (tries int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
	return c.tries
}

// E19: for an hour no broker is to be reached. The records in hand are handled and
// durable, unless they took so long that the group may have given the partition
// away; then nothing happens until the brokers are back.
func TestFault_E19_NoBrokerForAnHour(t *testing.T) {
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				c := w.cable()
				for p := range int32(2) {
					w.produce(p, ids("a", 10)...)
				}
				consumer, stop := w.start(w.calls.handle)
				w.until(func() bool { return w.committedAt(0) == 10 && w.committedAt(1) == 10 })
				c.set(true)
				for p := range int32(2) {
					w.produce(p, append(ids("b", 10), "a1")...)
				}
				time.Sleep(time.Hour)
				require.Equal(t, int64(10), w.position(0))
				require.Less(t, c.set(false), 5*3600, "with a pause between them")
				w.until(func() bool { return w.committedAt(0) == 21 && w.committedAt(1) == 21 })
				require.NoError(t, stop())
				require.Equal(t, uint64(40), consumer.Stats().New)
				require.Equal(t, uint64(2), consumer.Stats().Duplicates)
				for p := range int32(2) {
					require.Equal(t, int64(20), w.state(p, "n"))
				}
			})
		})
	}
}

// E19: the coordinator moves, and moves again. The client finds it; no session ends.
func TestFault_E19_CoordinatorMoves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return c.Stats().Partitions == 1 })
		for _, key := range []kmsg.Key{kmsg.OffsetCommit, kmsg.Heartbeat} {
			w.kafka.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Group: group, Err: kerr.NotCoordinator, Count: 3})
		}
		w.produce(0, ids("a", 10)...)
		w.until(func() bool { return w.committedAt(0) == 10 })
		time.Sleep(time.Minute)
		require.NoError(t, stop())
		require.Zero(t, c.Stats().Sessions)
		require.Equal(t, ids("a", 10), w.calls.order)
	})
}
