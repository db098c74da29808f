package fuzz

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// faultFS is a file system that shows every operation to a test before it is
// carried out: the test may take a crash image there, or make it fail. It counts
// writes and reads apart, each from 1.
//
// In Pebble v2.1.7 the in-memory ReuseForWrite, Link and Lock deadlock with a
// concurrent CrashClone: the first is a Rename and an OpenReadWrite here, the
// others keep clones out.
type faultFS struct {
	vfs.FS
	mem *vfs.MemFS // nil over a real directory

	// Called before every operation that changes something, and before every
	// read of a file's content. Set before the first use.
	write, read func(fsOp) error
	// What is called beside write, see watch.
	watcher atomic.Pointer[func(fsOp) error]

	writes, reads atomic.Int64
	cloning       sync.RWMutex
}

// fsOp is one operation on a file.
type fsOp struct {
	index int64
	kind  string
	path  string
}

func (o fsOp) String() string { return fmt.Sprintf("operation %d (%s %s)", o.index, o.kind, o.path) }

func newCrashFS() *faultFS { return wrapFS(vfs.NewCrashableMem()) }

func wrapFS(fs vfs.FS) *faultFS {
	mem, _ := fs.(*vfs.MemFS)
	return &faultFS{FS: fs, mem: mem}
}

// crash returns what a crash at this moment may leave: what was synced, and of
// the rest each block and each name with the given probability.
func (f *faultFS) crash(unsyncedPercent int, rng *rand.Rand) *faultFS {
	f.cloning.Lock()
	defer f.cloning.Unlock()
	return wrapFS(f.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsyncedPercent, RNG: rng}))
}

func (f *faultFS) writing(kind, path string) error {
	op := fsOp{f.writes.Add(1), kind, path}
	if w := f.watcher.Load(); w != nil {
		if err := (*w)(op); err != nil {
			return err
		}
	}
	if f.write == nil {
		return nil
	}
	return f.write(op)
}

// watch has fn called, like write, from now on; nil ends that.
func (f *faultFS) watch(fn func(fsOp) error) {
	if fn == nil {
		f.watcher.Store(nil)
		return
	}
	f.watcher.Store(&fn)
}

func (f *faultFS) reading(kind, path string) error {
	i := f.reads.Add(1)
	if f.read == nil {
		return nil
	}
	return f.read(fsOp{i, kind, path})
}

// file wraps what an operation has opened.
func (f *faultFS) file(path string, opened vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{opened, f, path}, nil
}

func (f *faultFS) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.writing("create", path); err != nil {
		return nil, err
	}
	opened, err := f.FS.Create(path, c)
	return f.file(path, opened, err)
}

func (f *faultFS) Link(from, to string) error {
	if err := f.writing("link", to); err != nil {
		return err
	}
	f.cloning.RLock()
	defer f.cloning.RUnlock()
	return f.FS.Link(from, to)
}

func (f *faultFS) Open(path string, opts ...vfs.OpenOption) (vfs.File, error) {
	if err := f.reading("open", path); err != nil {
		return nil, err
	}
	opened, err := f.FS.Open(path)
	if err == nil {
		for _, o := range opts {
			o.Apply(opened)
		}
	}
	return f.file(path, opened, err)
}

func (f *faultFS) OpenReadWrite(
	path string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption,
) (vfs.File, error) {
	if err := f.writing("open for writing", path); err != nil {
		return nil, err
	}
	opened, err := f.FS.OpenReadWrite(path, c, opts...)
	return f.file(path, opened, err)
}

func (f *faultFS) OpenDir(path string) (vfs.File, error) {
	opened, err := f.FS.OpenDir(path)
	return f.file(path, opened, err)
}

func (f *faultFS) Remove(path string) error {
	if err := f.writing("remove", path); err != nil {
		return err
	}
	return f.FS.Remove(path)
}

func (f *faultFS) RemoveAll(path string) error {
	if err := f.writing("remove all", path); err != nil {
		return err
	}
	return f.FS.RemoveAll(path)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.writing("rename", to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Rename(from, to); err != nil {
		return nil, err
	}
	return f.OpenReadWrite(to, c)
}

func (f *faultFS) MkdirAll(path string, perm os.FileMode) error {
	if err := f.writing("mkdir", path); err != nil {
		return err
	}
	return f.FS.MkdirAll(path, perm)
}

func (f *faultFS) Lock(path string) (io.Closer, error) {
	if err := f.writing("lock", path); err != nil {
		return nil, err
	}
	f.cloning.RLock()
	defer f.cloning.RUnlock()
	return f.FS.Lock(path)
}

// faultFile is an open file, or a directory opened to be synced.
type faultFile struct {
	vfs.File
	fs   *faultFS
	path string
}

func (f *faultFile) Read(p []byte) (int, error) {
	if err := f.fs.reading("read", f.path); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.reading("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.fs.writing("write", f.path); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.writing("write", f.path); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) Preallocate(off, length int64) error {
	if err := f.fs.writing("preallocate", f.path); err != nil {
		return err
	}
	return f.File.Preallocate(off, length)
}

func (f *faultFile) Sync() error {
	if err := f.fs.writing("sync", f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) SyncTo(length int64) (bool, error) {
	if err := f.fs.writing("sync to", f.path); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

func (f *faultFile) SyncData() error {
	if err := f.fs.writing("sync data", f.path); err != nil {
		return err
	}
	return f.File.SyncData()
}
