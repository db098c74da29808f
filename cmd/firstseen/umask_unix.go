//go:build unix

package main

import "syscall"

// privateFiles keeps what the program writes from other users: IDs are often
// order numbers or addresses.
func privateFiles() { syscall.Umask(0o077) }
