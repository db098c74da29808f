//go:build unix

package store

import "syscall"

// inode reads what FileInfo.Sys holds.
func inode(sys any) uint64 {
	if st, ok := sys.(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0 // a file system in memory
}
