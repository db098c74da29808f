package store

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// hanging is a disk in memory that, once armed, does not answer what concerns
// the files that match.
type hanging struct {
	vfs.FS
	armed atomic.Bool
	end   chan struct{}
}

func newHanging(match func(op errorfs.Op) bool) *hanging {
	return newHangingOn(vfs.NewMem(), match)
}

func newHangingOn(fs vfs.FS, match func(op errorfs.Op) bool) *hanging {
	h := &hanging{end: make(chan struct{})}
	h.FS = errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if h.armed.Load() && match(op) {
			<-h.end
		}
		return nil
	}))
	return h
}

// Whatever hangs, Close comes to its end and says what it was.
func TestFault_F08_WhateverHangs(t *testing.T) {
	for _, c := range []struct {
		name  string
		match func(op errorfs.Op) bool
		words string
	}{
		{"a table", func(op errorfs.Op) bool { return strings.Contains(op.Path, "/spill/") },
			"a table is still being written"},
		{"the log, as it is closed", func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".log") && op.Kind == errorfs.OpFileSyncData
		}, "the database does not close"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := newHanging(c.match)
				l := limits{full: 100, small: 10, merge: mergeAbove}
				s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: l})
				require.NoError(t, err)
				n, err := s.Namespace("a", nil)
				require.NoError(t, err)
				fs.armed.Store(strings.Contains(c.words, "table"))
				require.NoError(t, n.Update(func(b *Batch) error {
					for o := range int64(150) {
						if _, err := b.Do(rec(fmt.Sprint(o), o, 0), nil); err != nil {
							return err
						}
					}
					return nil
				}))
				fs.armed.Store(true)
				begun := time.Now()
				err = s.Close()
				require.ErrorIs(t, err, ErrCloseTimeout)
				require.ErrorContains(t, err, c.words)
				require.ErrorContains(t, err, "restart the process")
				require.Equal(t, closeTimeout, time.Since(begun))
				require.Equal(t, err, s.Close(), "a second Close says something else")
				inState(t, s, StateClosed, ErrClosed)
				close(fs.end)
				synctest.Wait()
				if strings.Contains(c.words, "table") { // what it gave up before it came to the database
					require.NoError(t, errors.Join(s.db.Close(), s.lock.Close()))
				}
			})
		})
	}
}

// A handler that does not return holds Close up no longer.
func TestFault_F08_HungHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := open("store", &Options{InMemory: true}, seams{})
		require.NoError(t, err)
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		end := make(chan struct{})
		go func() { _ = n.Update(func(*Batch) error { <-end; return errors.New("never mind") }) }()
		synctest.Wait()
		err = s.Close()
		require.ErrorIs(t, err, ErrCloseTimeout)
		require.ErrorContains(t, err, "a call has not returned")
		close(end)
		synctest.Wait()
		require.NoError(t, errors.Join(s.db.Close(), s.lock.Close()))
	})
}

// badLock cannot be given back.
type badLock struct{ vfs.FS }

var errLock = errors.New("the lock does not go")

func (b badLock) Lock(path string) (io.Closer, error) {
	l, err := b.FS.Lock(path)
	return badCloser{l}, err
}

type badCloser struct{ io.Closer }

func (c badCloser) Close() error { return errors.Join(c.Closer.Close(), errLock) }

func TestFault_F08_EveryErrorIsReturned(t *testing.T) {
	var armed atomic.Bool
	errClose := errors.New("the log does not take its end")
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			return errClose
		}
		return nil
	}))
	s, err := open("store", nil, seams{fs: badLock{fs}})
	require.NoError(t, err)
	armed.Store(true)
	err = s.Close()
	require.ErrorIs(t, err, errLock)
	require.ErrorIs(t, err, errClose)
}
