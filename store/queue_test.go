package store

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// What gives space back gets its turn, however many jobs there are always.
func TestQueue_SpaceComesBackBesideJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		given, steps := 0, 0
		for range 3 {
			q.addLater(func() error { given++; return nil })
		}
		q.add(func() error {
			if steps++; given == 3 || steps == 1000 {
				return nil
			}
			return errMore
		})
		go q.run()
		require.NoError(t, q.drain())
		close(q.stop)
		<-q.done
		require.Equal(t, 3, given)
		require.LessOrEqual(t, steps, 10)
	})
}

// A job that failed, and makes progress again, is no failure any more: who waits
// for the queue goes on waiting, and is not sent away.
func TestQueue_AJobThatGoesOnDoesNotFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		steps := 0
		broken := errors.New("no room")
		var then [3]error
		q.add(func() error {
			_, then[min(steps, 2)] = q.state()
			switch steps++; steps {
			case 1:
				return broken
			case 2:
				return errMore
			}
			return nil
		})
		go q.run()
		synctest.Wait()
		_, failing := q.state()
		require.Equal(t, broken, failing)
		for q.drain() != nil {
			changed, _ := q.state()
			<-changed
		}
		close(q.stop)
		<-q.done
		require.Equal(t, [3]error{nil, broken, nil}, then)
	})
}
