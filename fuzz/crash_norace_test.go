//go:build !race

package fuzz

// raceDetector tells that the tests run many times slower.
const raceDetector = false
