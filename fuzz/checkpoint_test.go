package fuzz

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// Checkpoints of scripts: one is the script after a whole number of steps, all
// that were acknowledged when it was asked for, and none that came after it.

const (
	pictureDir  = "disk/picture"
	unsealedDir = pictureDir + ".unsealed"
)

func exists(fs *faultFS, path string) bool {
	_, err := fs.Stat(path)
	return err == nil
}

// adopted makes a store of a checkpoint and opens it.
func adopted(t require.TestingT, s *crashScript, fs *faultFS, of store.ID) *driver {
	require.NoError(t, storehook.Adopt(pictureDir, nil, storehook.Hooks{FS: fs}))
	return openAdopted(t, s, fs, of)
}

func openAdopted(t require.TestingT, s *crashScript, fs *faultFS, of store.ID) *driver {
	d := newDriver(s, fs)
	d.dir = pictureDir
	require.NoError(t, d.open())
	require.Equal(t, []store.ID{of}, d.store.Ancestors())
	require.NotEqual(t, of, d.store.ID())
	require.True(t, d.store.IsOurs(of))
	return d
}

// Batches, spills and drops go on between the moment that fixes the tables of a
// checkpoint and the copying of the log, which then holds them.
func TestFault_A10_CheckpointBesideEverything(t *testing.T) {
	overlapped := 0
	for seed := range uint64(atMost(6, 1)) {
		s := writeScript(600+seed, usual())
		if seed == 5 {
			s = writeScript(600+seed, tight())
		}
		fs := newCrashFS()
		var fixed atomic.Pointer[func()]
		fs.write = func(op fsOp) error {
			if op.kind == "link" && strings.Contains(op.path, ".unsealed/db/") {
				if f := fixed.Swap(nil); f != nil {
					(*f)() // the tables are fixed; the first is about to be linked
				}
			}
			return nil
		}
		d := newDriver(s, fs)
		for i := 0; i < len(s.steps); {
			require.NoError(t, d.step(t, s.steps[i]), "seed %d, step %d", s.seed, i)
			i++
			if s.steps[i-1].kind == stepSpace || i%3 != 0 {
				continue
			}
			begun := make(chan struct{})
			played := make(chan struct{})
			wait := func() {
				close(begun)
				select {
				case <-played:
				case <-time.After(100 * time.Millisecond): // the batches wait for a table, which waits for us
				}
			}
			fixed.Store(&wait)
			taken := make(chan error, 1)
			go func() { taken <- d.store.Checkpoint(t.Context(), pictureDir) }()
			lo := i
			select {
			case <-begun:
				for n := 0; n < 6 && i < len(s.steps) && s.steps[i].kind == stepBatch; n++ {
					require.NoError(t, d.step(t, s.steps[i]), "seed %d, step %d", s.seed, i)
					i++
					overlapped++
				}
				close(played)
				require.NoError(t, <-taken)
			case err := <-taken: // there is no table yet
				fixed.Store(nil)
				require.NoError(t, err)
			}
			err := caught(func(t require.TestingT) {
				a := adopted(t, s, fs.crash(0, nil), d.store.ID())
				a.check(t, a.find(t, lo, i))
				require.NoError(t, a.close())
			})
			require.NoError(t, err, "seed %d, steps %d to %d", s.seed, lo, i)
			require.NoError(t, fs.RemoveAll(pictureDir))
		}
		d.check(t, len(s.steps))
		require.NoError(t, d.close())
	}
	t.Logf("%d batches while a checkpoint was taken", overlapped)
	require.Greater(t, overlapped, 10)
}

// half plays a script until it has tables, runs and outputs, and returns how
// many steps that were.
func half(t require.TestingT, s *crashScript) (*driver, int) {
	d := newDriver(s, newCrashFS())
	n := len(s.steps) * 2 / 3
	for i := range n {
		require.NoError(t, d.step(t, s.steps[i]))
	}
	require.NoError(t, storehook.Drain(d.store))
	return d, n
}

func TestFault_A10_CrashAtEveryStepOfACheckpoint(t *testing.T) {
	s := writeScript(610, usual())
	d, n := half(t, s)
	rng := rand.New(rand.NewPCG(610, 1))
	type picture struct {
		op fsOp
		fs *faultFS
	}
	var images []picture
	d.fs.watch(func(op fsOp) error {
		if strings.Contains(op.path, pictureDir) && op.index%int64(atMost(1, 8)) == 0 {
			for _, percent := range []int{0, 50, 100} {
				images = append(images, picture{op, d.fs.crash(percent, rng)})
			}
		}
		return nil
	})
	require.NoError(t, d.store.Checkpoint(t.Context(), pictureDir))
	d.fs.watch(nil)
	images = append(images, picture{fsOp{kind: "the end"}, d.fs.crash(0, nil)})
	id := d.store.ID()
	require.NoError(t, d.close())
	whole, nothing, parts := 0, 0, 0
	for _, im := range images {
		err := caught(func(t require.TestingT) {
			if exists(im.fs, unsealedDir+"/FIRSTSEEN") {
				parts++
				_, err := storehook.Open(unsealedDir, nil, storehook.Hooks{FS: im.fs})
				require.True(t, errors.Is(err, store.ErrUnsealed) || errors.Is(err, store.ErrSealed), "%v", err)
			}
			if exists(im.fs, unsealedDir+"/SEAL") { // whole, but not where it was to be
				c := im.fs.crash(0, nil)
				require.NoError(t, c.RemoveAll(pictureDir))
				require.NoError(t, c.Rename(unsealedDir, pictureDir))
				a := adopted(t, s, c, id)
				a.check(t, n)
				require.NoError(t, a.close())
			}
			if exists(im.fs, pictureDir) {
				whole++
			} else {
				nothing++ // so it is taken again, whatever the crash left
				again := newDriver(s, im.fs)
				require.NoError(t, again.open())
				again.check(t, n)
				require.NoError(t, again.store.Checkpoint(context.Background(), pictureDir))
				require.False(t, exists(im.fs, unsealedDir))
				require.NoError(t, again.close())
			}
			a := adopted(t, s, im.fs, id)
			a.check(t, n)
			require.NoError(t, a.close())
		})
		require.NoError(t, err, "crash before %v", im.op)
	}
	t.Logf("%d images: %d whole, %d none, %d with a part", len(images), whole, nothing, parts)
	require.Positive(t, whole)
	require.Positive(t, parts)
}

func TestFault_A10_CrashAtEveryStepOfAnAdoption(t *testing.T) {
	s := writeScript(611, usual())
	d, n := half(t, s)
	require.NoError(t, d.store.Checkpoint(t.Context(), pictureDir))
	id := d.store.ID()
	require.NoError(t, d.close())
	rng := rand.New(rand.NewPCG(611, 1))
	fs := d.fs.crash(0, nil)
	var taking sync.Mutex // the database removes files on a goroutine of its own
	var images []*faultFS
	fs.write = func(op fsOp) error {
		taking.Lock()
		defer taking.Unlock()
		if op.index%int64(atMost(1, 8)) == 0 {
			for _, percent := range []int{0, 50, 100} {
				images = append(images, fs.crash(percent, rng))
			}
		}
		return nil
	}
	require.NoError(t, storehook.Adopt(pictureDir, nil, storehook.Hooks{FS: fs}))
	taking.Lock()
	images = append(images, fs.crash(0, nil))
	taking.Unlock()
	again, done := 0, 0
	for i, im := range images {
		err := caught(func(t require.TestingT) {
			a := newDriver(s, im)
			a.dir = pictureDir
			switch err := a.open(); {
			case err == nil:
				done++
				require.NoError(t, a.close())
				require.ErrorIs(t, storehook.Adopt(pictureDir, nil, storehook.Hooks{FS: im}), store.ErrUnsealed)
				a = openAdopted(t, s, im, id)
			default:
				again++
				require.ErrorIs(t, err, store.ErrSealed)
				a = adopted(t, s, im, id)
			}
			a.check(t, n)
			if i%16 == 0 {
				a.play(t, n)
			}
			require.NoError(t, a.close())
		})
		require.NoError(t, err, "image %d", i)
	}
	t.Logf("%d images: %d adopted again, %d were done", len(images), again, done)
	require.Positive(t, again)
	require.Positive(t, done)
}

// An operation of a checkpoint fails: it says so and leaves nothing, and the
// store goes on.
func TestFault_A10_ErrorsInsideACheckpoint(t *testing.T) {
	s := writeScript(612, usual())
	d, n := half(t, s)
	failed := 0
	for at := int64(1); ; at += int64(atMost(1, 8)) {
		var count atomic.Int64
		d.fs.watch(func(op fsOp) error {
			if strings.Contains(op.path, pictureDir) && count.Add(1) == at {
				return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EIO}
			}
			return nil
		})
		err := d.store.Checkpoint(t.Context(), pictureDir)
		d.fs.watch(nil)
		if err == nil {
			require.True(t, exists(d.fs, pictureDir), "operation %d", at)
			require.NoError(t, d.fs.RemoveAll(pictureDir))
			if count.Load() < at {
				break
			}
			continue // it was done without, or otherwise
		}
		failed++
		require.ErrorContains(t, err, pictureDir)
		require.False(t, exists(d.fs, pictureDir), "operation %d: %v", at, err)
		require.False(t, exists(d.fs, unsealedDir), "operation %d: %v", at, err)
		require.NoError(t, d.store.Err(), "operation %d", at)
	}
	t.Logf("%d operations failed", failed)
	require.Greater(t, failed, atMost(20, 2))
	d.play(t, n)
	require.NoError(t, d.close())
}

// What is missing from a checkpoint, or is older than its seal, is found when it
// is adopted.
func TestFault_B14_DamagedCheckpoint(t *testing.T) {
	s := writeScript(613, usual())
	d, _ := half(t, s)
	require.NoError(t, d.store.Checkpoint(t.Context(), pictureDir))
	require.NoError(t, d.close())
	for _, part := range []string{"SEAL", ".log", ".sst", "MANIFEST-"} {
		t.Run(part, func(t *testing.T) {
			fs := d.fs.crash(0, nil)
			names, err := fs.List(pictureDir + "/db")
			require.NoError(t, err)
			removed := 0
			for _, name := range append(names, "../"+part) {
				if strings.Contains(name, part) {
					require.NoError(t, fs.RemoveAll(fs.PathJoin(pictureDir+"/db", name)))
					removed++
				}
			}
			require.Positive(t, removed)
			err = storehook.Adopt(pictureDir, nil, storehook.Hooks{FS: fs})
			require.True(t, errors.Is(err, store.ErrUnsealed) || errors.Is(err, store.ErrCorrupt), "%v", err)
			require.ErrorContains(t, err, pictureDir)
			_, err = storehook.Open(pictureDir, nil, storehook.Hooks{FS: fs})
			require.True(t, errors.Is(err, store.ErrUnsealed) || errors.Is(err, store.ErrSealed), "%v", err)
		})
	}
}

// A disk that lost what it had acknowledged as durable: the store of then is
// whole, so only somebody who knows better can tell.
func TestFault_B12_LyingDisk(t *testing.T) {
	s := writeScript(614, usual())
	d := newDriver(s, newCrashFS())
	var older []*faultFS
	for i, st := range s.steps {
		if i > 4 && i%5 == 0 {
			older = append(older, d.fs.crash(0, nil))
		}
		require.NoError(t, d.step(t, st))
	}
	witness := scriptDir + ".witness"
	acked := s.after[len(s.steps)]
	require.NoError(t, d.close())
	seen := contents(t, d.fs, witness)
	lost := 0
	for i, fs := range older {
		// Its witness is as old as the rest of the disk.
		a := newDriver(s, fs.crash(0, nil))
		require.NoError(t, a.open())
		behind := false
		for k, p := range acked {
			n, err := a.space(k)
			require.NoError(t, err)
			st, err := n.Status()
			require.NoError(t, err)
			require.NoError(t, n.Witnessed(st.Sequence))
			if st.Sequence < p.status.Sequence {
				lost, behind = lost+1, true
				err := n.Witnessed(p.status.Sequence)
				require.ErrorIs(t, err, store.ErrRolledBack)
				require.ErrorContains(t, err, fmt.Sprintf("batch %d was acknowledged", p.status.Sequence))
			}
		}
		require.NoError(t, a.close())

		replace(t, fs, witness, slices.Clone(seen)) // a file may scribble over what it is given
		if behind {
			require.ErrorIs(t, newDriver(s, fs).open(), store.ErrRolledBack, "image %d", i)
		}
	}
	require.Positive(t, lost)
	require.NoError(t, d.open(), "a false alarm")
	require.NoError(t, d.close())
}
