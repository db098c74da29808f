package store

import (
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// patienceEvery is how often a write that found no room is tried again.
	patienceEvery = 50 * time.Millisecond
	// flushAfter and compactAfter are how long after the last such write a new
	// table is begun: a log that waits goes first, compactions last.
	flushAfter   = 100 * time.Millisecond
	compactAfter = time.Second
	compaction   = "pebble-compaction" // Pebble's category of such files
)

// patient is a file system on which writes that find no room wait for it.
//
// Where the log, the manifest or a marker cannot be written, Pebble panics or
// calls Fatalf: the store would be poisoned for want of a few bytes. A write
// that found no room has done no harm and may be tried again; a sync may not,
// and is not. A table fails at once and frees what it took, as nothing depends on
// it; but Pebble begins it anew at once, thousands of times a second, and would
// take the room from the log again and again: so the next one begins late.
type patient struct {
	vfs.FS
	d *disk
}

// patiently returns the file system as Pebble should see it: a write that finds
// no room first takes the ballast's, then waits.
func (d *disk) patiently(fs vfs.FS) vfs.FS {
	return patient{vfs.OnDiskFull(fs, d.release), d}
}

// noRoom reports whether err says that there is no room, on the disk or for this
// user.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// again waits a little after err, the error of a write to path that was first
// tried at begun, and reports whether it may be tried again.
func (d *disk) again(path string, begun time.Time, err error) bool {
	if !noRoom(err) || !d.open.Load() {
		return false
	}
	d.short.Store(time.Now().UnixNano())
	if isTable(path) || time.Since(begun) > d.timeout {
		return false
	}
	wait := time.NewTimer(patienceEvery)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-d.failed:
		return false
	}
}

func isTable(path string) bool { return strings.HasSuffix(path, ".sst") }

// yield lets a new table wait until no write has found no room for a while.
func (d *disk) yield(c vfs.DiskWriteCategory) {
	after := flushAfter
	if c == compaction {
		after = compactAfter
	}
	for begun := time.Now(); time.Since(begun) < d.timeout; {
		left := after - time.Since(time.Unix(0, d.short.Load()))
		if left <= 0 {
			return
		}
		wait := time.NewTimer(left)
		select {
		case <-wait.C:
		case <-d.failed:
			return
		case <-d.stop:
			return
		}
	}
}

// retry tries op until there is room for it.
func (d *disk) retry(path string, op func() error) error {
	begun := time.Now()
	for {
		err := op()
		if err == nil || !d.again(path, begun, err) {
			return err
		}
	}
}

func (p patient) Unwrap() vfs.FS { return p.FS }

func (p patient) file(path string, open func() (vfs.File, error)) (f vfs.File, err error) {
	err = p.d.retry(path, func() error {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return patientFile{f, p.d, path}, nil
}

func (p patient) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if isTable(path) {
		p.d.yield(c)
	}
	return p.file(path, func() (vfs.File, error) { return p.FS.Create(path, c) })
}

func (p patient) OpenReadWrite(path string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return p.file(path, func() (vfs.File, error) { return p.FS.OpenReadWrite(path, c, o...) })
}

func (p patient) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return p.file(to, func() (vfs.File, error) { return p.FS.ReuseForWrite(from, to, c) })
}

func (p patient) Link(from, to string) error {
	return p.d.retry(to, func() error { return p.FS.Link(from, to) })
}

func (p patient) Rename(from, to string) error {
	return p.d.retry(to, func() error { return p.FS.Rename(from, to) })
}

// patientFile is a file that was opened to be written.
type patientFile struct {
	vfs.File
	d    *disk
	path string
}

func (f patientFile) Write(p []byte) (n int, err error) {
	err = f.d.retry(f.path, func() error {
		k, err := f.File.Write(p[n:])
		n += k
		return err
	})
	return n, err
}

func (f patientFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.d.retry(f.path, func() error {
		k, err := f.File.WriteAt(p[n:], off+int64(n))
		n += k
		return err
	})
	return n, err
}
