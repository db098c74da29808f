package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// storeFiles are the files of one script: as a crash at its end leaves them, as
// Close does, and as they were at earlier moments.
type storeFiles struct {
	script        *crashScript
	left, closed  *faultFS
	moments       []*faultFS
	other         *faultFS // of another store
	witness       []byte   // of the newest moment
	tables, merge int
	shared        int // keys of shared tables
}

// filesOfScript plays a script and keeps its files.
func filesOfScript(t require.TestingT, s *crashScript) *storeFiles {
	st := &storeFiles{script: s}
	d := newDriver(s, newCrashFS())
	for i, step := range s.steps {
		require.NoError(t, d.step(t, step), "step %d", i)
		if i > 3 && i%4 == 0 {
			st.moments = append(st.moments, d.fs.crash(0, nil))
		}
	}
	st.left = d.fs.crash(0, nil)
	require.NoError(t, d.close())
	st.closed = d.fs.crash(0, nil)
	st.witness = contents(t, st.closed, witnessFile)
	kinds, merged := holdings(t, st.closed.crash(0, nil), scriptDir)
	st.tables, st.merge, st.shared = kinds[0x02], merged, kinds[0x0e]
	return st
}

// image returns a copy of the files with one damage, and what it is. Its number
// draws everything, but for the numbers of files, which the background gives.
func (st *storeFiles) image(t require.TestingT, i int) (fs *faultFS, kind, what string) {
	rng := rand.New(rand.NewPCG(st.script.seed, uint64(i)))
	d := damages[i%len(damages)]
	for what == "" {
		fs = []*faultFS{st.left, st.closed}[rng.IntN(2)].crash(0, nil)
		if rng.IntN(2) == 0 {
			require.NoError(t, fs.Remove(witnessFile)) // the caller alone knows better
		} else {
			replace(t, fs, witnessFile, slices.Clone(st.witness))
		}
		what = d.do(t, rng, fs, st)
	}
	return fs, d.name, what
}

// tally counts what became of images of one kind of damage.
type tally struct{ atOpen, later, whole int }

// Any file of a store is damaged in any way: the store says so by an error that
// has a name, before it gives an answer that is wrong.
func TestFault_B01_B05_B06_B07_B08_B09_AnyDamage(t *testing.T) {
	scripts, images := atMost(8, 2), atMost(480, 48)
	counts := map[string]*tally{}
	merged, shared := 0, 0
	other := filesOfScript(t, writeScript(699, usual())).closed
	for n := range scripts {
		sh := usual()
		if n == scripts-1 {
			sh = tight()
		}
		st := filesOfScript(t, writeScript(uint64(700+n), sh))
		st.other = other
		merged, shared = merged+st.merge, shared+st.shared
		inParallel(t, images, func(i int) error { return st.tryImage(t, i, counts) })
	}
	require.Positive(t, merged, "no script leaves a merged table")
	require.Positive(t, shared, "no script leaves a shared table")
	all := 0
	for _, d := range damages {
		c := counts[d.name]
		all += c.atOpen + c.later + c.whole
		t.Logf("%-40s %4d refused at Open, %4d later, %4d whole, 0 silent", d.name, c.atOpen, c.later, c.whole)
	}
	require.Equal(t, scripts*images, all)
	t.Logf("%d damaged images, 0 silent; %d merged tables", all, merged)
}

var countsLock sync.Mutex

// tryImage opens a damaged image, asks it for everything, and, where it is
// whole, once more when it has been in use and was opened again.
func (st *storeFiles) tryImage(t require.TestingT, i int, counts map[string]*tally) error {
	var fs *faultFS
	var kind, what string
	if err := caught(func(t require.TestingT) { fs, kind, what = st.image(t, i) }); err != nil {
		return fmt.Errorf("image %d: %w", i, err)
	}
	d := newDriver(st.script, fs)
	var opened bool
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if opened, err = st.ask(d, i); err == nil {
			opened, err = st.ask(d, i+1)
		}
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		return fmt.Errorf("seed %d, image %d, %s: %s: no answer", st.script.seed, i, kind, what)
	}
	countsLock.Lock()
	defer countsLock.Unlock()
	c := counts[kind]
	if c == nil {
		c = &tally{}
		counts[kind] = c
	}
	var w *wrong
	switch {
	case err == nil:
		c.whole++
	case errors.As(err, &w) || !named(err):
		return fmt.Errorf("seed %d, image %d, %s: %s: %w", st.script.seed, i, kind, what, err)
	case !strings.Contains(err.Error(), "; "):
		return fmt.Errorf("seed %d, image %d, %s: %s: no way out: %w", st.script.seed, i, kind, what, err)
	case opened:
		c.later++
	default:
		c.atOpen++
	}
	return nil
}

// ask opens the image and holds it against the end of the script.
func (st *storeFiles) ask(d *driver, i int) (opened bool, err error) {
	if err := d.open(); err != nil {
		return false, err
	}
	s := d.store
	err = d.answersAs(len(st.script.steps), i%4 < 2)
	closing := d.close()
	if err == nil {
		err = s.Err() // what was found behind the answers, which may well end Close early
	}
	if err == nil || errors.Is(err, store.ErrClosed) {
		err = closing
	}
	return true, err
}

// inParallel calls fn with 0 to n-1 on a few goroutines, and fails with the
// first error, after which it calls fn no more.
func inParallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var workers sync.WaitGroup
	next, errs := make(chan int), make(chan error, n)
	for range 3 {
		workers.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					errs <- err
				}
			}
		})
	}
	for i := 0; i < n && len(errs) == 0; i++ {
		next <- i
	}
	close(next)
	workers.Wait()
	close(errs)
	require.NoError(t, <-errs)
}
