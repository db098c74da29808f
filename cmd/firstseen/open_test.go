package main

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Root, as which tests may run, may enter any directory: so the error is made here.
func TestNotSeen(t *testing.T) {
	err := notSeen(&fs.PathError{Op: "stat", Path: "st/FIRSTSEEN", Err: syscall.EACCES})
	require.EqualError(t, err, "store: not fit to be opened: stat st/FIRSTSEEN: permission denied; "+
		"run firstseen as the user that the store belongs to")
	require.Equal(t, exitStore, exitCode(err))
	err = notSeen(&fs.PathError{Op: "stat", Path: "st", Err: syscall.ELOOP})
	require.EqualError(t, err, "the store cannot be looked at: stat st: too many levels of symbolic links; "+
		"give the directory of a store that can be read")
	require.Equal(t, exitFailed, exitCode(err))
}
