//go:build race

package store

// heavy is what the loops of the heaviest tests are divided by: the race detector
// makes them ten times as slow, and finds in the first rounds what it finds.
const heavy = 8
