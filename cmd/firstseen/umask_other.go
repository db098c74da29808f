//go:build !unix

package main

// privateFiles does nothing where files take their rights from their directory.
func privateFiles() {}
