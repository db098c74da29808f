package store

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// F10: a process that was stopped for longer than the time-out finds a write
// that has ended meanwhile, and does not take it for one that never will.
func TestFault_F10_StoppedLongerThanTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFault(slog.New(slog.DiscardHandler))
		late := func(by time.Duration) error {
			return f.write("commit", time.Minute, func() error { time.Sleep(by); return nil })
		}
		require.NoError(t, late(time.Minute+time.Second))
		require.NoError(t, f.get())
		err := late(time.Hour)
		require.ErrorIs(t, err, ErrPoisoned)
		require.ErrorContains(t, err, "no answer from the disk within 1m0s")
		require.ErrorIs(t, f.get(), ErrPoisoned)
		time.Sleep(time.Hour)
	})
}
