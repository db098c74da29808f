//go:build unix

package store

import (
	"fmt"
	"os"
	"syscall"
)

// onDisk reports whether a file is the operating system's, and not one in memory.
func onDisk(fi os.FileInfo) bool {
	_, ok := fi.Sys().(*syscall.Stat_t)
	return ok
}

// openFiles returns how many files the process may have open.
func openFiles() uint64 {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return tablesOpen + filesSpare
	}
	return uint64(l.Cur) //nolint:unconvert // signed on FreeBSD
}

// checkOwner refuses what belongs to another user, root's own included.
func checkOwner(path string, fi os.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if uid := os.Geteuid(); ok && int(st.Uid) != uid {
		return fmt.Errorf("%s belongs to user %d, the process runs as user %d; run it as that user, or chown the store",
			path, st.Uid, uid)
	}
	return nil
}

// makePrivate takes the rights of others from an open file.
func makePrivate(fd uintptr) error { return syscall.Fchmod(int(fd), 0o600) }
