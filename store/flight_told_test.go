package store

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// B01: a batch is to be seen in the database before its sync has ended. Whoever reads
// there beside it tells nothing of that before it is durable, and if the sync fails
// nothing at all.
func TestFault_B01_ReadWhileOneIsSynced(t *testing.T) {
	for name, read := range map[string]func(n *Namespace, told func()) error{
		"state": func(n *Namespace, told func()) error {
			return n.View(func(*View) error { told(); return nil })
		},
		"outputs": func(n *Namespace, told func()) error {
			return n.Pending(func(Output) error { told(); return nil })
		},
		"markers": func(n *Namespace, told func()) error {
			return n.Markers(func(MarkerEntry) error { told(); return nil })
		},
	} {
		for _, fails := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var broken, answered atomic.Bool
					f := newFlights(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
						if broken.Load() && syncsLog(op) {
							return syscall.EIO
						}
						return nil
					})))
					first := f.update(func(b *Batch) error {
						_, err := b.Do(rec("10", 10, 0), func(tx *Tx) error { return tx.Stage([]byte("x")) })
						return err
					})
					f.pending(first)
					broken.Store(fails)
					var told atomic.Int32
					ended := make(chan error, 1)
					go func() {
						ended <- read(f.n, func() {
							told.Add(1)
							if fails || !answered.Load() {
								t.Error("what is not durable was told")
							}
						})
					}()
					for range 1000 { // it waits for a lock
						runtime.Gosched()
					}
					answered.Store(true)
					f.answer()
					if fails {
						require.ErrorIs(t, <-ended, ErrPoisoned)
						require.ErrorIs(t, <-first, ErrPoisoned)
						return
					}
					f.wait(ended)
					f.wait(first)
					require.Positive(t, told.Load())
					require.NoError(t, f.s.Close())
				})
			})
		}
	}
}
