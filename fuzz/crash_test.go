package fuzz

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// Every script is crashed at every write operation: what a crash there may
// leave is opened, must be the script after a whole number of steps, all that
// were acknowledged and at most the one in progress, and must then come to the
// same end as the script without a crash.

func TestFault_A03_A04_A09_CrashAtEveryWrite(t *testing.T) {
	for seed := range uint64(atMost(4, 1)) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if seed < 3 {
				crashEverywhere(t, writeScript(seed, usual()), atMost(1, 12))
				return
			}
			c := crashEverywhere(t, writeScript(seed, tight()), 1)
			require.Greater(t, c.shared.Load(), c.images.Load()/2)
		})
	}
}

// Whatever a store does is crashed in the middle of it: the counts are of images
// that were taken there.
func TestFault_A10_CrashInsideEverything(t *testing.T) {
	sh := usual()
	sh.forgets, sh.batches = 3, 60
	c := crashEverywhere(t, writeScript(350, sh), atMost(2, 60))
	if raceDetector {
		return // so few images are not everywhere
	}
	for kind := range stepKinds {
		require.Positive(t, c.inside[kind].Load(), "no crash inside a step of kind %d", kind)
	}
	require.Positive(t, c.merging.Load(), "no crash while a merged table is written")
	require.Positive(t, c.spilling.Load(), "no crash while a table is written")
	require.Positive(t, c.excising.Load(), "no crash while the manifest is written, for a table that comes or goes")
}

// A row of 1,000 jumps moves the clock by ten seconds: everything expires.
func TestFault_A03_C04_CrashWhileTheClockFollowsARow(t *testing.T) {
	sh := usual()
	sh.row = true
	crashEverywhere(t, writeScript(100, sh), atMost(2, 64))
}

// The slow namespace stands still while the fast one expires everything it
// has: C13.
func TestFault_C12_C13_CrashWhileOneNamespaceLags(t *testing.T) {
	sh := usual()
	sh.spaces = sh.spaces[:2]
	sh.still = true
	crashEverywhere(t, writeScript(200, sh), atMost(1, 12))
}

// atMost returns n, or few under the race detector.
func atMost(n, few int) int {
	if raceDetector {
		return few
	}
	return n
}

// image is what a crash left.
type image struct {
	op     fsOp
	fs     *faultFS
	lo, hi int // steps that were acknowledged, and that were begun
	id     store.ID
	opens  []store.ID // acknowledged openings
	rng    *rand.Rand
}

// crasher plays a script and lets every image be examined.
type crasher struct {
	script *crashScript
	every  int64 // of every so many operations, one is an image

	acked, begun atomic.Int64
	mu           sync.Mutex // guards id and opens
	id           store.ID
	opens        []store.ID

	images, deeper atomic.Int64
	shared         atomic.Int64            // images that hold shared tables
	inside         [stepKinds]atomic.Int64 // images, by the step in progress

	spilling, merging, excising atomic.Int64 // images, by the operation in progress

	queue chan image
	done  chan struct{} // closed when no image is wanted any more
}

func crashEverywhere(t *testing.T, s *crashScript, every int) *crasher {
	c := &crasher{script: s, every: int64(every), queue: make(chan image), done: make(chan struct{})}
	failed := make(chan string, 1)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for {
				var im image
				select {
				case im = <-c.queue:
				case <-c.done:
					return
				}
				if len(failed) > 0 {
					continue
				}
				if err := caught(func(t require.TestingT) { c.examine(t, im) }); err != nil {
					select {
					case failed <- fmt.Sprintf("seed %d, crash before %v, steps %d to %d: %v",
						s.seed, im.op, im.lo, im.hi, err):
					default:
					}
				}
			}
		})
	}
	err := caught(c.run)
	close(c.done)
	workers.Wait()
	require.NoError(t, err, "seed %d", s.seed)
	if len(failed) > 0 {
		t.Fatal(<-failed)
	}
	t.Logf("seed %d: %d images, %d of them with shared tables, and %d of crashes while one was opened",
		s.seed, c.images.Load(), c.shared.Load(), c.deeper.Load())
	return c
}

// run plays the script, and hands out an image at every write.
func (c *crasher) run(t require.TestingT) {
	fs := newCrashFS()
	fs.write = func(op fsOp) error {
		if op.index%c.every == 0 {
			c.offer(c.image(fs, op))
		}
		return nil
	}
	d := newDriver(c.script, fs)
	for i, s := range c.script.steps {
		c.begun.Store(int64(i + 1))
		require.NoError(t, d.step(t, s), "step %d", i)
		if s.kind == stepOpen {
			c.mu.Lock()
			c.id, c.opens = d.store.ID(), append(c.opens, d.store.OpenID())
			c.mu.Unlock()
		}
		c.acked.Store(int64(i + 1))
	}
	require.NoError(t, d.close())
	c.offer(c.image(fs, fsOp{index: fs.writes.Load() + 1, kind: "the end"}))
}

// offer hands an image to a worker.
func (c *crasher) offer(im image) {
	select {
	case c.queue <- im:
	case <-c.done:
	}
}

func (c *crasher) image(fs *faultFS, op fsOp) image {
	c.mu.Lock()
	im := image{op: op, id: c.id, opens: c.opens}
	c.mu.Unlock()
	im.rng = rand.New(rand.NewPCG(c.script.seed, uint64(op.index)))
	im.lo = int(c.acked.Load())
	im.fs = fs.crash([]int{0, 50, 100}[im.rng.IntN(3)], im.rng)
	im.hi = int(c.begun.Load())
	c.count(im)
	return im
}

// count counts an image by what was going on.
func (c *crasher) count(im image) {
	if im.hi > im.lo {
		c.inside[c.script.steps[im.hi-1].kind].Add(1)
	}
	var ns uint32
	var segment uint64
	switch n, _ := fmt.Sscanf(path.Base(im.op.path), "%08x-%016x-", &ns, &segment); {
	case strings.Contains(im.op.path, "MANIFEST-"):
		c.excising.Add(1)
	case n < 2:
	case segment&0xffff != 0: // of merges, see store/segment.go
		c.merging.Add(1)
	default:
		c.spilling.Add(1)
	}
}

// examine opens an image, crashes while it is opened, and plays the rest.
func (c *crasher) examine(t require.TestingT, im image) {
	c.images.Add(1)
	d := newDriver(c.script, im.fs)
	d.width = time.Duration(im.rng.IntN(3)) * 5 * time.Millisecond
	more := newCollector(im)
	im.fs.write = more.take
	require.NoError(t, d.open())
	at := d.find(t, im.lo, im.hi)
	if len(im.opens) > 0 {
		require.Equal(t, im.id, d.store.ID(), "another store")
		for _, id := range im.opens {
			require.True(t, d.store.KnowsOpen(id), "an acknowledged opening is forgotten")
		}
	}
	d.check(t, at)
	if d.shared > 0 {
		c.shared.Add(1)
	}
	again := more.end()
	if im.rng.IntN(3) == 0 {
		d.play(t, at)
	}
	require.NoError(t, d.close())
	for i, fs := range again {
		c.deeper.Add(1)
		d := newDriver(c.script, fs)
		err := caught(func(t require.TestingT) {
			require.NoError(t, d.open())
			d.check(t, d.find(t, at, at))
			require.NoError(t, d.close())
		})
		require.NoError(t, err, "crash %d while it was opened", i)
	}
}

// collector takes images while an image is opened: at one write, or at every
// write.
type collector struct {
	from image
	one  int64 // 0: every write

	mu    sync.Mutex // guards the rest
	rng   *rand.Rand
	list  []*faultFS
	ended bool
}

func newCollector(from image) *collector {
	c := &collector{from: from, rng: rand.New(rand.NewPCG(from.rng.Uint64(), 2))}
	if c.rng.IntN(60) > 0 {
		c.one = 1 + c.rng.Int64N(60)
	}
	return c
}

func (c *collector) take(op fsOp) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended && (c.one == 0 || c.one == op.index) {
		c.list = append(c.list, c.from.fs.crash([]int{0, 50, 100}[c.rng.IntN(3)], c.rng))
	}
	return nil
}

func (c *collector) end() []*faultFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	return c.list
}
