package fuzz

import (
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

	"github.com/firstseen/firstseen/store"
)

// A write fails, once or from then on: the store must say which state it is in,
// in time, and must not have acknowledged what is not durable. Errors inside
// Pebble's Open end the process in places, so they are another test's, in
// processes of their own.

const (
	shortTimeout = 2 * time.Second  // Options.CommitTimeout
	closeBound   = 10 * time.Second // of Close, as it promises
	slack        = time.Minute      // a loaded machine
)

func TestFault_B02_WriteErrorsEverywhere(t *testing.T) {
	sh := usual()
	sh.early = true
	s := writeScript(300, sh)
	for _, lasting := range []bool{false, true} {
		t.Run(fmt.Sprintf("lasting=%v", lasting), func(t *testing.T) { failEverywhere(t, s, 1, lasting) })
	}
	little := tight()
	little.early = true
	t.Run("little memory", func(t *testing.T) { failEverywhere(t, writeScript(301, little), 2, false) })
}

// failEverywhere plays the script again and again, and lets another of every so many
// writes fail each time, until there is none left.
func failEverywhere(t *testing.T, s *crashScript, every int, lasting bool) {
	var runs, poisoned, hung, unharmed atomic.Int64
	var workers sync.WaitGroup
	var next, last atomic.Int64
	last.Store(1 << 40)
	failures := make(chan string, 64)
	step := int64(atMost(every, 40))
	for range 16 {
		workers.Go(func() {
			for {
				i := next.Add(step)
				if i > last.Load() || len(failures) > 0 {
					return
				}
				f := failedWrite{script: s, at: i, lasting: lasting, err: syscall.EIO}
				if err := caught(f.run); err != nil {
					failures <- fmt.Sprintf("seed %d, %v fails, lasting %v, steps %d to %d: %v",
						s.seed, f.op, lasting, f.lo, f.hi, err)
					return
				}
				switch {
				case f.op.index == 0:
					last.Store(min(i, last.Load()))
				case f.poisoned:
					poisoned.Add(1)
				default:
					unharmed.Add(1)
				}
				if f.hung {
					hung.Add(1)
				}
				runs.Add(1)
			}
		})
	}
	workers.Wait()
	if len(failures) > 0 {
		t.Fatal(<-failures)
	}
	t.Logf("%d runs: %d poisoned, %d went on, %d closed by the deadline",
		runs.Load(), poisoned.Load(), unharmed.Load(), hung.Load())
	if !raceDetector || lasting { // of ten runs half end so, and nearly all where it lasts
		require.Positive(t, poisoned.Load())
	}
	if !raceDetector { // of so few runs none may meet a write that does no harm
		require.Positive(t, unharmed.Load())
	}
}

// failedWrite is one run of a script in which a write fails.
type failedWrite struct {
	script  *crashScript
	at      int64 // the write, counted from the last opening of the script on
	lasting bool
	err     error

	op             fsOp // that failed first
	lo, hi         int
	poisoned, hung bool
}

func (f *failedWrite) run(t require.TestingT) {
	fs := newCrashFS()
	var armed atomic.Int64 // the write that fails; 0: none
	var first sync.Once
	fs.write = func(op fsOp) error {
		at := armed.Load()
		if at == 0 || op.index < at || op.index > at && !f.lasting {
			return nil
		}
		first.Do(func() { f.op = op })
		return f.err
	}
	d := newDriver(f.script, fs)
	d.timeout = shortTimeout
	lastOpen := slices.IndexFunc(f.script.steps, func(s crashStep) bool { return s.kind == stepBatch })
	for i, s := range f.script.steps {
		if s.kind == stepOpen {
			lastOpen = max(lastOpen, i)
		}
	}
	for i, s := range f.script.steps {
		f.hi = i + 1
		begun := time.Now()
		err := d.step(t, s)
		require.Less(t, time.Since(begun), shortTimeout+slack, "step %d", i)
		if err != nil && s.kind != stepDrain {
			require.True(t, errors.Is(err, store.ErrPoisoned) || errors.Is(err, store.ErrBacklog),
				"step %d: %v", i, err)
			break
		}
		f.lo = i + 1
		if i == lastOpen {
			armed.Store(fs.writes.Load() + f.at)
		}
	}
	f.poisoned = errors.Is(d.store.Err(), store.ErrPoisoned)
	if f.poisoned {
		// The state lasts, and every call says so.
		n, err := d.space(0)
		if err == nil {
			err = n.Update(func(*store.Batch) error { return nil })
		}
		require.ErrorIs(t, err, store.ErrPoisoned)
	} else {
		require.NoError(t, d.store.Err())
	}
	begun := time.Now()
	err := d.close()
	require.Less(t, time.Since(begun), closeBound+slack)
	f.hung = errors.Is(err, store.ErrCloseTimeout)

	// Whatever it had acknowledged is there, also when only what was synced is.
	rng := rand.New(rand.NewPCG(f.script.seed, uint64(f.at)))
	for _, percent := range []int{0, 100} {
		d := newDriver(f.script, fs.crash(percent, rng))
		require.NoError(t, d.open())
		at := d.find(t, f.lo, f.hi)
		d.check(t, at)
		if percent == 0 && rng.IntN(8) == 0 {
			d.play(t, at)
		}
		require.NoError(t, d.close())
	}
}

// A table that cannot be written is no harm: its markers stand in runs. It is
// tried again in a new file, the failed one is never synced again.
func TestFault_B02_B03_FailedTablesAreTriedAgain(t *testing.T) {
	for _, kind := range []string{"create", "write", "sync data"} {
		for _, code := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s/%v", kind, code), func(t *testing.T) {
				t.Parallel()
				failTables(t, kind, code)
			})
		}
	}
}

func failTables(t *testing.T, kind string, code error) {
	s := writeScript(400, usual())
	fs := newCrashFS()
	var mu sync.Mutex
	failed, dead := map[string]bool{}, map[string]bool{}
	fs.write = func(op fsOp) error {
		if !strings.Contains(op.path, "/spill/") {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op.kind == "create":
			dead[op.path] = false // a new file, of a name that an earlier opening used
		case dead[op.path] && strings.HasPrefix(op.kind, "sync"):
			t.Errorf("%v: a file that failed is synced again", op)
		}
		if op.kind != kind || len(failed) >= 4 || failed[op.path] {
			return nil
		}
		failed[op.path], dead[op.path] = true, kind == "sync data"
		return &iofs.PathError{Op: op.kind, Path: op.path, Err: code}
	}
	d := newDriver(s, fs)
	for i, st := range s.steps {
		err := d.step(t, st)
		for deadline := time.Now().Add(slack); errors.Is(err, store.ErrBacklog); {
			require.ErrorIs(t, err, code)
			require.True(t, time.Now().Before(deadline), "the tables are not tried again")
			<-time.After(10 * time.Millisecond) // the call may be made again
			err = d.step(t, st)
		}
		if st.kind != stepDrain {
			require.NoError(t, err, "step %d", i)
		}
	}
	require.NoError(t, d.store.Err())
	d.check(t, len(s.steps))
	require.NoError(t, d.close())
	require.NotEmpty(t, failed, "no table failed")
	d = newDriver(s, fs.crash(0, nil))
	require.NoError(t, d.open())
	d.check(t, len(s.steps))
	require.NoError(t, d.close())
}
