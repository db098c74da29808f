package store

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// chain is a namespace of which a batch takes a millisecond to be synced.
type chain struct {
	*testing.T
	s        *Store
	n        *Namespace
	followed int
	most     int64 // that its markers took in memory, told or not
}

func newChain(t *testing.T, o Options, l limits) *chain {
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if syncsLog(op) {
			time.Sleep(time.Millisecond)
		}
		return nil
	}))
	o.Logger = quiet()
	s, err := open("store", &o, seams{fs: fs, limits: l})
	require.NoError(t, err)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return &chain{T: t, s: s, n: n}
}

// batch accepts 100 records.
func (c *chain) batch() error {
	return c.n.Update(func(b *Batch) error {
		if c.n.flight.Load() != nil {
			c.followed++
		}
		held := int64(0)
		for _, g := range c.n.index.(*segments).list {
			if g.table == nil {
				held += g.exact.bytes()
			}
		}
		c.most = max(c.most, held)
		from := b.Position().Offset
		for o := from; o < from+100; o++ {
			if _, err := b.Do(rec(fmt.Sprint(o), o, 0), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// However long a chain of batches is, whether each is landed by the next or by somebody
// else, it holds no more than the budget, and what its last batch brought.
func TestFlight_BudgetOfAChain(t *testing.T) {
	const budget, batches = 20_000, 60
	for name, run := range map[string]func(c *chain){
		"each by the next": func(c *chain) {
			ended := make(chan error, 2)
			for range 2 {
				go func() {
					var err error
					for i := 0; i < batches/2 && err == nil; i++ {
						err = c.batch()
					}
					ended <- err
				}()
			}
			require.NoError(c, errors.Join(<-ended, <-ended))
			require.Greater(c, c.followed, batches/3)
		},
		"each by somebody else": func(c *chain) {
			for range batches {
				ended := make(chan error, 1)
				go func() { ended <- c.batch() }()
				synctest.Wait()
				require.NoError(c, c.n.Load())
				require.NoError(c, <-ended)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChain(t, Options{Memory: budget}, limits{})
				run(c)
				require.LessOrEqual(t, c.most, int64(2*budget))
				require.Equal(t, int64(batches*100), c.n.head.pos.Offset)
				require.Greater(t, c.n.head.pos.Offset*20, int64(5*budget), "all of it would fit")
			})
		})
	}
}

// What somebody else has made of the budget of filters is set right by a batch that
// could be followed otherwise.
func TestFlight_KeepsTheBudgetOfFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, Options{FilterMemory: 1}, limits{full: 150, small: 50, merge: mergeAbove})
		n, err := c.s.Namespace("b", nil)
		require.NoError(t, err)
		require.NoError(t, c.batch())
		accept(t, n, 0, 200, 0)
		require.NoError(t, c.s.queue.drain())
		require.Greater(t, c.s.filters.Load(), int64(1))
		_, err = c.n.Do(rec("100", 100, 0), nil)
		require.NoError(t, err)
		require.LessOrEqual(t, c.s.filters.Load(), int64(1))
	})
}
