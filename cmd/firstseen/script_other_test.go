//go:build !linux

package main

import "github.com/rogpeppe/go-internal/testscript"

func cmdReadOnly(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Fatalf("a directory is mounted for reading only on Linux alone")
}
