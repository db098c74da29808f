package adapter

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// crowded is a disk whose room somebody else may take.
type crowded struct {
	vfs.FS
	full atomic.Bool
}

func (c *crowded) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if c.full.Load() {
		return vfs.DiskUsage{AvailBytes: 1, TotalBytes: 1 << 40}, nil
	}
	return vfs.DiskUsage{AvailBytes: 1 << 39, TotalBytes: 1 << 40}, nil
}

func (c *crowded) Unwrap() vfs.FS { return c.FS }

// While the disk of the store is full, nothing is handled and nothing is lost;
// when there is room again, Run goes on by itself.
func TestFault_B03_ConsumerWaitsForRoom(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.st.Close())
		disk := &crowded{FS: vfs.NewMem()}
		st, err := storehook.Open("store", &store.Options{Logger: slog.New(slog.DiscardHandler)},
			storehook.Hooks{FS: disk})
		require.NoError(t, err)
		w.st = st.(*store.Store)
		w.produce(0, ids("a", 10)...)
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return len(w.calls.count()) == 10 })
		disk.full.Store(true)
		w.until(func() bool { return w.st.State() == store.StateDiskFull })
		w.produce(0, ids("b", 10)...)
		w.until(func() bool { return c.Stats().Sessions > 3 })
		time.Sleep(time.Minute) // of the bubble
		require.Len(t, w.calls.count(), 10)
		disk.full.Store(false)
		w.until(func() bool { return w.position(0) == 20 })
		require.NoError(t, stop())
		require.Len(t, w.calls.count(), 20)
		for id, n := range w.calls.count() {
			require.Equal(t, 1, n, id)
		}
		require.EqualValues(t, 20, w.committedAt(0))
	})
}
