package fuzz

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A crash leaves what was synced, and of the rest, names of files among it, any
// part: in any order, as the strictest reading of POSIX allows. That is no
// damage, whoever saw the store before: it opens against the newest witness,
// against every sequence that was acknowledged, and answers right.
func TestFault_B11_NoFalseAlarm(t *testing.T) {
	images, want := 0, atMost(300, 30)
	for n := range atMost(3, 1) {
		s := writeScript(uint64(720+n), usual())
		crashed := crashImages(t, s, int64(atMost(5, 40)))
		inParallel(t, len(crashed), func(i int) error {
			im := crashed[i]
			err := caught(func(t require.TestingT) {
				d := newDriver(s, im.fs)
				require.NoError(t, d.open(), "a false alarm")
				for k, sequence := range im.acked {
					if p := s.after[im.hi][k]; !p.made || p.status.Sequence < sequence {
						continue // the step in progress deletes the namespace
					}
					n, err := d.space(k)
					require.NoError(t, err, "a false alarm")
					require.NoError(t, n.Witnessed(sequence), "a false alarm")
				}
				d.check(t, d.find(t, im.lo, im.hi))
				require.NoError(t, d.close())
			})
			if err != nil {
				return fmt.Errorf("seed %d, crash before %v: %w", s.seed, im.op, err)
			}
			return nil
		})
		images += len(crashed)
	}
	t.Logf("%d crash images, 0 false alarms", images)
	require.GreaterOrEqual(t, images, want)
}

// crashImage is what a crash left, with the witness of that moment, which
// another disk kept.
type crashImage struct {
	op     fsOp
	fs     *faultFS
	lo, hi int            // steps that were acknowledged, and that were begun
	acked  map[int]uint64 // the sequences that were acknowledged, by namespace
}

// crashImages plays a script, and crashes it at every so many writes.
func crashImages(t require.TestingT, s *crashScript, every int64) []crashImage {
	var c crasher // of which the counters are used
	images := make(chan crashImage, 1<<16)
	fs := newCrashFS()
	acked := map[int]uint64{}
	fs.write = func(op fsOp) error {
		n := 0
		switch {
		case strings.Contains(op.path, "marker."), strings.Contains(op.path, "MANIFEST-"):
			n = atMost(3, 1) // names that refer to names
		case op.index%every == 0:
			n = 1
		}
		rng := rand.New(rand.NewPCG(s.seed, uint64(op.index)))
		for range n {
			im := crashImage{op: op, lo: int(c.acked.Load())}
			c.mu.Lock()
			im.acked = maps.Clone(acked)
			c.mu.Unlock()
			// Before the image: the witness goes on beside it.
			var seen []byte
			if exists(fs, witnessFile) {
				seen = contents(t, wrapFS(fs.FS), witnessFile)
			}
			im.fs = fs.crash([]int{0, 50, 100}[rng.IntN(3)], rng)
			im.hi = int(c.begun.Load())
			if seen != nil {
				replace(t, im.fs, witnessFile, slices.Clone(seen))
			}
			images <- im
		}
		return nil
	}
	d := newDriver(s, fs)
	for i, step := range s.steps {
		c.begun.Store(int64(i + 1))
		require.NoError(t, d.step(t, step), "step %d", i)
		c.mu.Lock()
		for k, p := range s.after[i+1] {
			if p.made {
				acked[k] = p.status.Sequence
			}
		}
		c.mu.Unlock()
		c.acked.Store(int64(i + 1))
	}
	require.NoError(t, d.close())
	close(images)
	var list []crashImage
	for im := range images {
		list = append(list, im)
	}
	return list
}
