package adapter

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBackOff(t *testing.T) {
	for failures := range 100 {
		most := lastPause
		if failures < 7 {
			most = firstPause << failures
		}
		for range 20 {
			pause := backOff(failures)
			require.GreaterOrEqual(t, pause, most/2)
			require.LessOrEqual(t, pause, most)
		}
	}
}

// What waits for a cluster to be mended begins slower, and ends alike.
func TestPauseAfter(t *testing.T) {
	require.LessOrEqual(t, pauseAfter(errors.New("busy"), 1), firstPause)
	require.GreaterOrEqual(t, pauseAfter(kerr.NotEnoughReplicas, 1), 4*firstPause)
	require.LessOrEqual(t, pauseAfter(kerr.NotEnoughReplicas, 100), lastPause)
}

func TestWait(t *testing.T) {
	require.True(t, wait(t.Context(), time.Nanosecond))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.False(t, wait(ctx, time.Hour))
}

func TestErrorClasses(t *testing.T) {
	for _, test := range []struct {
		err          error
		passes, ends bool
	}{
		{err: errors.New("connection refused"), passes: true},
		{err: context.DeadlineExceeded, passes: true},
		{err: kerr.NotCoordinator, passes: true},
		{err: kerr.RequestTimedOut, passes: true},
		{err: kerr.TopicAuthorizationFailed},
		{err: kerr.InvalidTimestamp},
		{err: kerr.UnknownMemberID, ends: true},
		{err: kerr.FencedInstanceID, ends: true},
		{err: kerr.OffsetOutOfRange, ends: true},
		{err: kerr.UnknownTopicID, passes: true, ends: true},
		{err: &kgo.ErrDataLoss{}, passes: true, ends: true},
	} {
		wrapped := fmt.Errorf("wrapped: %w", test.err)
		require.Equal(t, test.passes, passes(wrapped), "%v", test.err)
		require.Equal(t, test.ends, endsSession(wrapped), "%v", test.err)
	}
}
