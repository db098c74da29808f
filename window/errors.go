package window

import "errors"

var (
	// ErrInvalid is returned when a text or a TTL does not make a [Window]: by
	// [Parse], [Window.Validate], [Window.MarshalText], [Window.UnmarshalText]
	// and [Buckets.Validate].
	ErrInvalid = errors.New("window: invalid window")

	// ErrWidth is returned by [Buckets.Validate] when the width is negative or
	// not a whole number of milliseconds.
	ErrWidth = errors.New("window: invalid bucket width")
)
