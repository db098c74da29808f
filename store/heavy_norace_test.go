//go:build !race

package store

// heavy is what the loops of the heaviest tests are divided by.
const heavy = 1
