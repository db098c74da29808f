package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConsumer_DuplicatesAreNotHandled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "a", "c", "b", "d")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"a", "b", "c", "d"}, w.calls.order)
		require.Equal(t, int64(4), w.state(0, "n"))
		require.Equal(t, int64(6), w.committedAt(0))
		s := c.Stats()
		require.Equal(t, uint64(6), s.Records)
		require.Equal(t, uint64(4), s.New)
		require.Equal(t, uint64(2), s.Duplicates)
		require.Zero(t, s.Sessions)
	})
}
