package store

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	defaultMinFree = 64 << 20
	ballastFile    = "ballast"
	// openRoom is what opening needs at the very most: Pebble cannot be told
	// of a full disk while it opens, and may end the process there.
	openRoom = 8 << 20
	// reliefRoom is what a batch needs at the very most that only advances a
	// clock and drops what has expired: its record, and a step of the log.
	reliefRoom = 2 << 20
	diskEvery  = 250 * time.Millisecond
	askedMost  = time.Second
)

// disk keeps the store from ever filling its disk, which Pebble answers by
// trying again for ever, or by a failed log.
//
// Three things together: a floor of free space, checked before a batch begins
// and once more, with the batch's size, before it is committed; a ballast file,
// removed the moment a write finds no room, so that what is under way can end;
// and patience (patient.go) for what must not fail. A batch that only drops what
// has expired passes the floor: it is how the store makes room itself.
//
// The state is entered below the floor and left an eighth above it, when the
// ballast stands again: it does not flutter.
type disk struct {
	fs      vfs.FS // without OnDiskFull: the ballast is made and removed on it
	dir     string
	floor   int64 // bytes; negative: nothing is watched
	pending func() int64
	timeout time.Duration // of patience
	logger  *slog.Logger
	failed  <-chan struct{} // closed when the store has a fault
	stop    <-chan struct{}
	done    chan struct{} // closed when watch has ended
	asks    chan chan struct{}
	watched bool
	open    atomic.Bool // the database is: from now on patience is right

	// left is what was free at the last measurement, less what was accepted
	// since: batches of all namespaces together stay above the floor between
	// two measurements, too.
	left atomic.Int64
	full atomic.Pointer[error]
	// short is when a write found no room last, in ns of Unix time.
	short atomic.Int64

	mu      sync.Mutex // guards the ballast; held over its writing and its removal
	ballast bool       // it stands
	told    bool       // the state that was logged last is disk-full
}

// start measures for the first time and makes the ballast. It fails when there
// is no room to open in.
func (d *disk) start() error {
	if d.floor < 0 {
		return nil
	}
	if err := fileOnly(d.fs, d.ballastPath()); err != nil {
		return err
	}
	// The last opening's ballast: it may be cut short, or just the room needed.
	if err := d.fs.Remove(d.ballastPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u, err := d.fs.GetDiskUsage(d.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil // in memory
	} else if err != nil {
		return err
	}
	d.watched = true
	if free := clamp(u.AvailBytes); free < min(d.floor, openRoom) {
		return d.error(free, min(d.floor, openRoom))
	}
	d.measure()
	return nil
}

func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// watch measures until the store is closed.
func (d *disk) watch() {
	defer close(d.done)
	if !d.watched {
		return
	}
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.measure()
		case asked := <-d.asks:
			d.measure()
			close(asked)
		case <-d.stop:
			return
		}
	}
}

// measure asks how much is free and enters or leaves the state. Only start and
// watch call it: a disk that does not answer holds up nobody else.
func (d *disk) measure() {
	u, err := d.fs.GetDiskUsage(d.dir)
	if err != nil {
		return // the last measurement stands
	}
	free, need := clamp(u.AvailBytes), d.need()
	d.left.Store(free)
	d.mu.Lock()
	defer d.mu.Unlock()
	missing := int64(0)
	if !d.ballast {
		missing = d.ballastSize()
	}
	full := d.full.Load() != nil
	switch {
	case free < need:
		err := d.error(free, need)
		d.full.Store(&err)
	case full && free < need+need/8+missing, free < need+missing:
	default:
		// A store that found no room goes on when its ballast stands: not
		// before, whatever it was that there was no room for.
		if missing > 0 && d.load() != nil {
			break
		}
		d.full.Store(nil)
		d.left.Add(-missing)
	}
	d.tell()
}

// tell logs that the state was entered or left. The caller holds mu.
func (d *disk) tell() {
	full := d.full.Load()
	if (full != nil) == d.told {
		return
	}
	d.told = full != nil
	if d.told {
		d.logger.Warn("store accepts nothing", "err", *full)
	} else {
		d.logger.Info("store goes on: there is room on its disk", "dir", d.dir)
	}
}

// need is the free space below which nothing is accepted: the floor, and what
// the markers in memory will take when they are written as tables.
func (d *disk) need() int64 { return d.floor + d.pending() }

func (d *disk) error(free, need int64) error {
	return fmt.Errorf("%w: %s has %.1f MB free, and the store keeps %.1f MB free for what is under way; "+
		"make room, and it goes on by itself", ErrDiskFull, d.dir, mega(free), mega(need))
}

func mega(n int64) float64 { return float64(n) / (1 << 20) }

// err returns the error of the state, nil while there is room.
func (d *disk) err() error {
	if err := d.full.Load(); err != nil {
		return *err
	}
	return nil
}

// admit refuses a batch that is about to begin on a full disk.
func (d *disk) admit() error {
	if !d.watched {
		return nil
	}
	if d.full.Load() != nil || d.left.Load() < d.need() {
		d.ask() // it may have room by now
	}
	return d.err()
}

// spend counts a batch of that size as written, and refuses one that would not
// fit into all that is left.
func (d *disk) spend(size int64) error {
	if !d.watched {
		return nil
	}
	for range 2 {
		left := d.left.Add(-size)
		if left >= 0 {
			return nil
		}
		d.left.Add(size)
		d.ask()
	}
	return fmt.Errorf("%w: %s has %.1f MB free, and a batch needs %.1f MB; make room, then try again",
		ErrDiskFull, d.dir, mega(d.left.Load()), mega(size))
}

// relief admits a batch that brings nothing and drops what has expired: below the
// floor, too, and where there is no room at all the ballast is given up for it. It
// refuses where such a batch could not be sure of its room, as a write of the log
// that waits in vain would poison the store.
func (d *disk) relief() error {
	if !d.watched || d.full.Load() == nil && d.left.Load() >= d.need() {
		return nil
	}
	need := min(d.ballastSize(), reliefRoom)
	d.ask()
	if d.left.Load() < need {
		d.release()
		d.ask()
	}
	if left := d.left.Load(); left < need {
		return fmt.Errorf("%w: %s has %.1f MB free, and to give back what has expired takes %.1f MB; "+
			"make room, then try again", ErrDiskFull, d.dir, mega(left), mega(need))
	}
	return nil
}

// ask has the space measured now, and waits for it, but not for ever.
func (d *disk) ask() {
	timeout := time.NewTimer(askedMost)
	defer timeout.Stop()
	asked := make(chan struct{})
	select {
	case d.asks <- asked:
	case <-timeout.C:
		return
	case <-d.stop:
		return
	}
	select {
	case <-asked:
	case <-timeout.C:
	case <-d.stop:
	}
}

func (d *disk) ballastPath() string { return d.fs.PathJoin(d.dir, ballastFile) }
func (d *disk) ballastSize() int64  { return d.floor / 4 }

// load makes the ballast. The caller holds mu.
func (d *disk) load() error {
	f, err := d.fs.Create(d.ballastPath(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = reserve(f, d.ballastSize())
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.fs.Remove(d.ballastPath()))
	}
	d.ballast = true
	return nil
}

// reserve makes a file take size bytes of the disk.
func reserve(f vfs.File, size int64) error {
	if runtime.GOOS == "linux" && f.Preallocate(0, size) == nil {
		return nil // elsewhere it does nothing, and says nothing
	}
	for size > 0 {
		n, err := f.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// release gives the ballast up: a write has found no room. It runs on whatever
// goroutine wrote, while all other writes wait, so it does the least.
func (d *disk) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full.Load() == nil {
		err := d.error(0, d.need())
		d.full.Store(&err)
	}
	if d.ballast {
		d.ballast = d.fs.Remove(d.ballastPath()) != nil
	}
}
