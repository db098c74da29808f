package fuzz

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// Damage of every kind has one name, ErrCorrupt, although Pebble gives it many:
// a missing or a short table is none of its corruption errors. A disk that
// cannot be read is no damage.

func TestFault_B19_DamageHasOneName(t *testing.T) {
	s := writeScript(509, usual())
	left := played(t, s)
	for _, part := range []string{".sst", ".log", "MANIFEST-", "OPTIONS-", "marker.manifest", "marker.format-version"} {
		for _, damage := range []string{"missing", "empty", "short", "noise"} {
			t.Run(part+"/"+damage, func(t *testing.T) {
				fs := left.crash(0, nil)
				paths := dataFiles(t, fs, part)
				path := paths[len(paths)-1]
				b := contents(t, fs, path)
				switch damage {
				case "missing":
					require.NoError(t, fs.Remove(path))
				case "empty":
					replace(t, fs, path, nil)
				case "short":
					replace(t, fs, path, b[:len(b)/2])
				case "noise":
					rng := rand.New(rand.NewPCG(509, 2))
					for i := range b {
						b[i] = byte(rng.Uint32())
					}
					replace(t, fs, path, b)
				}
				d := newDriver(s, fs)
				if err := d.open(); part == ".log" && errors.Is(err, store.ErrRolledBack) {
					return // the log is where the newest batches are, which the witness misses
				} else if err != nil {
					require.ErrorIs(t, err, store.ErrCorrupt)
					require.ErrorContains(t, err, "restore a backup")
					return
				}
				err := caught(func(t require.TestingT) { d.check(t, len(s.steps)) })
				if err != nil && !d.wentBack(s) {
					require.ErrorIs(t, d.store.Err(), store.ErrCorrupt, "%v", err)
					require.Equal(t, store.StateCorrupt, d.store.State())
				}
				if part == ".sst" {
					require.Error(t, err, "a damaged table is believed")
				}
				_ = d.close()
			})
		}
	}
}

// What cannot be read is not damaged: nobody must throw a store away because of
// a disk that fails for a moment.
func TestFault_B19_AFailingDiskIsNoDamage(t *testing.T) {
	s := writeScript(510, usual())
	left := played(t, s)
	for _, part := range []string{"/FIRSTSEEN", "OPTIONS-", ".log"} {
		fs := left.crash(0, nil)
		failed := 0
		fs.read = func(op fsOp) error {
			if op.kind == "read" && strings.Contains(op.path, part) {
				failed++
				return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EIO}
			}
			return nil
		}
		d := newDriver(s, fs)
		err := d.open()
		require.Positive(t, failed, part)
		require.ErrorIs(t, err, syscall.EIO, part)
		require.NotErrorIs(t, err, store.ErrCorrupt, part)
		require.ErrorContains(t, err, "the disk fails")
		fs.read = nil
		require.NoError(t, d.open(), part)
		d.check(t, len(s.steps))
		require.NoError(t, d.close())
	}
}

// A read that fails under the user's own state, or under what is staged, is an
// error, never an absent key, nor the end of the list.
func TestFault_B04_StateReadErrorsEverywhere(t *testing.T) {
	const keys = 400
	open := func(fs *faultFS) (*store.Store, *store.Namespace) {
		s, err := storehook.Open(scriptDir, nil, storehook.Hooks{FS: fs, MemTable: 256 << 10})
		require.NoError(t, err)
		n, err := s.(*store.Store).Namespace("a", nil)
		require.NoError(t, err)
		return s.(*store.Store), n
	}
	key := func(i int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }
	written := newCrashFS()
	s, n := open(written)
	for from := int64(0); from < keys; from += 100 {
		require.NoError(t, n.Update(func(b *store.Batch) error {
			for i := from; i < from+100; i++ {
				r := store.Record{ID: key(i), Origin: store.Position{TopicID: store.ID{1}, Offset: i}}
				_, err := b.Do(r, func(tx *store.Tx) error {
					value := make([]byte, 2<<10)
					copy(value, key(i))
					return errors.Join(tx.Set(key(i), value), tx.Stage(value))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, s.Close())
	right := func(i int64, value []byte) error {
		if len(value) != 2<<10 || string(value[:8]) != string(key(i)) {
			return fmt.Errorf("wrong: key %d has %d bytes", i, len(value))
		}
		return nil
	}
	read := func(n *store.Namespace) error {
		err := n.View(func(v *store.View) error {
			for i := int64(0); i < keys; i += 17 {
				value, err := v.Get(key(i))
				if err == nil {
					err = right(i, value)
				}
				if err != nil {
					return err
				}
			}
			i := int64(0)
			err := v.Scan(nil, func(_, value []byte) error { i++; return right(i-1, value) })
			if err == nil && i != keys {
				err = fmt.Errorf("wrong: a scan ends at %d", i)
			}
			return err
		})
		if err != nil {
			return err
		}
		i := int64(0)
		err = n.Pending(func(o store.Output) error { i++; return right(i-1, o.Data) })
		if err == nil && i != keys {
			err = fmt.Errorf("wrong: the outputs end at %d", i)
		}
		return err
	}
	met, done := 0, false
	for k := int64(1); !done; k += int64(atMost(1, 9)) {
		fs := written.crash(0, nil)
		var opened atomic.Bool
		var count atomic.Int64
		fs.read = func(op fsOp) error {
			if opened.Load() && count.Add(1) == k {
				return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EIO}
			}
			return nil
		}
		s, n := open(fs)
		opened.Store(true)
		if err := read(n); err != nil {
			met++
			require.ErrorIs(t, err, syscall.EIO, "read %d", k)
			require.Equal(t, store.StateRunning, s.State())
			require.NoError(t, read(n), "read %d had failed", k)
		}
		done = count.Load() < k
		require.NoError(t, s.Close())
	}
	t.Logf("%d reads failed under a call", met)
	require.Greater(t, met, atMost(20, 2))
}
