package store

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logs is the file system on which Pebble writes its log. A sync of a file that
// has grown also writes where its new blocks are, and takes longer than one that
// overwrites blocks which are there. So a log is filled with zeros a step
// ahead of what is written: only one sync in many finds the file grown. Zeros
// behind the last record are what a log ends with anyway; Pebble reads them as
// its end.
type logs struct {
	vfs.FS
	mu      sync.Mutex
	written map[string]*logFile // those that are being written, by path
}

func newLogs(f vfs.FS) *logs { return &logs{FS: f, written: map[string]*logFile{}} }

// Open reads a log that is being written as far as it goes by now. A checkpoint
// copies it meanwhile: it would find the zeros ahead of it, and behind them what
// was written since, and a log with a hole is damaged.
func (l *logs) Open(path string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := l.FS.Open(path, o...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.written[path]; err == nil && w != nil {
		return &logSoFar{f, io.LimitReader(f, w.end.Load())}, nil
	}
	return f, err
}

// logSoFar is what was written of a log, to be read from its beginning.
type logSoFar struct {
	vfs.File
	r io.Reader
}

func (f *logSoFar) Read(b []byte) (int, error) { return f.r.Read(b) }

func (l *logs) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(path, c)
	if err != nil || !strings.HasSuffix(path, ".log") {
		return f, err
	}
	return l.writes(path, f, 0), nil
}

// ReuseForWrite overwrites an old log, whose blocks are there.
func (l *logs) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(from, to, c)
	if err != nil || !strings.HasSuffix(to, ".log") {
		return f, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return l.writes(to, f, info.Size()), nil
}

func (l *logs) writes(path string, f vfs.File, filled int64) vfs.File {
	w := &logFile{File: f, filled: filled}
	w.closed = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.written, path)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written[path] = w
	return w
}

func (l *logs) Unwrap() vfs.FS { return l.FS }

// logFile is a log that is being written. One goroutine writes it.
type logFile struct {
	vfs.File
	end    atomic.Int64 // of what was written
	filled int64        // up to here there are blocks
	closed func()
}

// A log doubles, so that a small store has a small one, up to steps of logStep.
const (
	logStepMin = 16 << 10
	logStep    = 512 << 10
)

var zeros [logStep]byte

func (f *logFile) Write(b []byte) (int, error) {
	for f.end.Load()+int64(len(b)) > f.filled {
		step := min(max(f.filled, logStepMin), logStep)
		if _, err := f.File.WriteAt(zeros[:step], f.filled); err != nil {
			return 0, err
		}
		f.filled += step
	}
	n, err := f.File.Write(b)
	f.end.Add(int64(n))
	return n, err
}

func (f *logFile) Close() error {
	f.closed()
	return f.File.Close()
}
