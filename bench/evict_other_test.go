//go:build !linux

package bench

import "testing"

// evict cannot be asked of this system.
func evict(*testing.B, string) bool { return false }
