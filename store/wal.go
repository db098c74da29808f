package store

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logs is the file system on which Pebble writes its log. A sync of a file that
// has grown also writes where its new blocks are, and takes longer than one that
// overwrites blocks which are there. So a log is filled with zeros a step
// ahead of what is written: only one sync in many finds the file grown. Zeros
// behind the last record are what a log ends with anyway; Pebble reads them as
// its end.
type logs struct{ vfs.FS }

func (l logs) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(path, c)
	if err != nil || !strings.HasSuffix(path, ".log") {
		return f, err
	}
	return &logFile{File: f}, nil
}

// ReuseForWrite overwrites an old log, whose blocks are there.
func (l logs) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(from, to, c)
	if err != nil || !strings.HasSuffix(to, ".log") {
		return f, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return &logFile{File: f, filled: info.Size()}, nil
}

func (l logs) Unwrap() vfs.FS { return l.FS }

// logFile is a log that is being written. One goroutine writes it.
type logFile struct {
	vfs.File
	end    int64 // of what was written
	filled int64 // up to here there are blocks
}

// A log doubles, so that a small store has a small one, up to steps of logStep.
const (
	logStepMin = 16 << 10
	logStep    = 512 << 10
)

var zeros [logStep]byte

func (f *logFile) Write(b []byte) (int, error) {
	for f.end+int64(len(b)) > f.filled {
		step := min(max(f.filled, logStepMin), logStep)
		if _, err := f.File.WriteAt(zeros[:step], f.filled); err != nil {
			return 0, err
		}
		f.filled += step
	}
	n, err := f.File.Write(b)
	f.end += int64(n)
	return n, err
}
