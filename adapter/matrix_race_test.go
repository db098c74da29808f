//go:build race

package adapter

// matrixShare is which share of the scenarios runs: one in so many.
const matrixShare = 12
