package store

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// fault is the store's named state: running until a write fails (poisoned) or
// damage is found (corrupt). Neither ends while the process lives.
//
// Pebble tells an embedder of a failed sync or a failed manifest only through
// Logger.Fatalf, and expects the process to end there; the commit then returns
// nil. So fault is the Logger: Fatalf remembers, and never returns. And every
// call that can end there runs on a goroutine of ours that may be abandoned.
type fault struct {
	logger *slog.Logger
	done   chan struct{} // closed with the first fault

	// sparing counts readers that expect damage. Whoever else meets it meanwhile
	// gets it as the error of a read, which stops the store as well.
	sparing atomic.Int32

	mu  sync.Mutex
	err error // the first fault
}

func newFault(l *slog.Logger) *fault {
	return &fault{logger: l, done: make(chan struct{})}
}

// set enters a named state. Only the first call counts.
func (f *fault) set(err error) {
	f.mu.Lock()
	first := f.err == nil
	if first {
		f.err = err
		close(f.done)
	}
	f.mu.Unlock()
	if first {
		f.logger.Error("store stopped", "err", err)
	}
}

// get returns the first fault, nil while the store is running.
func (f *fault) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Infof implements pebble.Logger. What Pebble does in the background is not news.
func (f *fault) Infof(string, ...any) {}

// Errorf implements pebble.Logger. Pebble reports an error again wherever it
// matters, and a full disk thousands of times a second here.
func (f *fault) Errorf(string, ...any) {}

// fatal is what Fatalf throws through a goroutine of ours.
type fatal struct{ err error }

// Fatalf implements pebble.Logger: it poisons the store and never returns. On
// a goroutine of ours it panics, which guarded turns into an error. Pebble's
// own goroutines would go on as if nothing had happened, or take the process
// with them: they are parked, and leaked, on purpose.
func (f *fault) Fatalf(format string, args ...any) {
	err := fmt.Errorf("%w: %s", ErrPoisoned, fmt.Sprintf(format, args...))
	f.set(err)
	if onGuarded() {
		panic(fatal{err})
	}
	select {}
}

// onGuarded reports whether guarded is among the callers.
func onGuarded() bool {
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		fr, more := frames.Next()
		if strings.HasSuffix(fr.Function, "/store.guarded") {
			return true
		}
		if !more {
			return false
		}
	}
}

// guarded calls fn, which calls Pebble and no code of the user's, and returns
// a panic as an error.
func guarded(fn func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fatal:
			err = r.err
		default:
			err = fmt.Errorf("%w: the storage engine panicked: %v\n%s", ErrPoisoned, r, debug.Stack())
		}
	}()
	return fn()
}

// write calls fn, which writes, on a goroutine that is abandoned when it does
// not end by the timeout and a tenth of it. A fault of any kind, found meanwhile by whichever
// goroutine, is its error: nothing is acknowledged by a store that has one.
func (f *fault) write(deed string, timeout time.Duration, fn func() error) error {
	return f.start(deed, timeout, fn)()
}

// start begins what write does, in steps, and returns what waits for the end of the
// first, then of the next. After an error there is no next.
func (f *fault) start(deed string, timeout time.Duration, steps ...func() error) (wait func() error) {
	if err := f.get(); err != nil {
		return func() error { return err }
	}
	ended := make(chan error, len(steps))
	go func() {
		for _, step := range steps {
			err := guarded(step)
			if ended <- err; err != nil {
				return
			}
		}
	}()
	return func() error {
		var err error
		select {
		case err = <-ended:
		case <-f.done:
		case <-time.After(timeout):
			// A process that was stopped and goes on finds both the deadline
			// passed and the write done, or about to be.
			select {
			case err = <-ended:
			case <-f.done:
			case <-time.After(timeout / 10):
				err = fmt.Errorf("%w: %s: no answer from the disk within %v", ErrPoisoned, deed, timeout)
			}
		}
		if errors.Is(err, ErrPoisoned) {
			f.set(err)
		}
		if fault := f.get(); fault != nil {
			return fault
		}
		if err != nil {
			return fmt.Errorf("store: %s: %w", deed, err)
		}
		return nil
	}
}

// read calls fn, which reads, and tells damage from other failures. A read
// that fails is never "not there".
func (f *fault) read(deed string, fn func() error) error {
	err := guarded(fn)
	switch {
	case err == nil:
		return f.get()
	case errors.Is(err, ErrCorrupt):
		f.set(err)
		return err
	case errors.Is(err, ErrPoisoned) || pebble.IsCorruptionError(err):
		err = corruptf("%s: %v", deed, err)
		f.set(err)
		return err
	case errors.Is(err, syscall.EIO):
		return diskFails(fmt.Errorf("store: %s: %w", deed, err))
	default:
		return fmt.Errorf("store: %s: %w", deed, err)
	}
}

// found enters the corrupt state when err says that there is damage, and returns
// err.
func (f *fault) found(err error) error {
	if errors.Is(err, ErrCorrupt) {
		f.set(err)
	}
	return err
}

// listener returns the events that Pebble would otherwise end the process for.
func (f *fault) listener() *pebble.EventListener {
	return &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			if f.sparing.Load() > 0 {
				return
			}
			f.set(corruptf("%s: %v", i.Path, i.Details))
		},
	}
}
