//go:build !unix

package store

// inode finds none: a copy is not known by its directory here.
func inode(any) uint64 { return 0 }
