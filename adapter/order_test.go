package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// steps are the steps of the loop, in the order of R10.
var steps = []string{"polled", "handled", "durable", "sent", "committed"}

// crashOnce runs a consumer that dies when a step is done for the nth time,
// and opens the store again as the next process does. It tells whether the
// consumer got that far.
func (w *world) crashOnce(h Handler, step string, nth int) (crashed bool) {
	w.Helper()
	c := w.consumer(h)
	c.step = crashAt(step, nth)
	err := c.Run(w.Context())
	if err != nil {
		require.ErrorIs(w, err, errCrash)
	}
	w.reopen()
	return err != nil
}

// A crash between any two steps: the state is that of every message once, the
// outputs are there, the group's offset is never above the store's, and only
// the batch in hand is handled again, when it was not durable.
func TestOrder_CrashBetweenAnyTwoSteps(t *testing.T) {
	for _, step := range steps {
		for nth := 1; nth <= 4; nth++ {
			t.Run(step+"/"+string(rune('0'+nth)), func(t *testing.T) {
				inWorldOf(t, 2, func(t *testing.T, w *world) {
					w.opts.MaxPollRecords = 5
					for p := range int32(2) {
						all := ids("a", 8)
						w.produce(p, append(all, all[:4]...)...)
					}
					crashed := w.crashOnce(w.calls.handle, step, nth)
					require.True(t, crashed)
					for p := range int32(2) {
						require.LessOrEqual(t, w.committedAt(p), w.position(p))
					}
					require.NoError(t, w.run())
					for p := range int32(2) {
						require.Equal(t, int64(8), w.state(p, "n"))
						require.Equal(t, int64(12), w.committedAt(p))
					}
					repeated := 0
					for _, n := range w.calls.count() {
						require.GreaterOrEqual(t, n, 2)
						repeated += n - 2
					}
					if step == "handled" {
						require.LessOrEqual(t, repeated, 5)
					} else {
						require.Zero(t, repeated)
					}
				})
			})
		}
	}
}
