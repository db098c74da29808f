// Package window is the arithmetic of time behind deduplication: how long a
// marker counts, and into which slice of time it falls.
//
// There are only a few types: a [Window] (a TTL, W), the [Buckets] that cut time
// into slices of one width, and a single [Bucket].
//
//	    bucket 0      bucket 1      bucket 2      bucket 3
//	|-------------|-------------|-------------|-------------|---> time
//	|<-- width -->|   E                           C
//	                  |<------- TTL, W ---------->|
//	  expired, F <= E |       live, F > E         :
//
//	C = the clock of a namespace     E = Edge(C) = C - W
//	F = the first-seen time of a marker
//
// A marker is live while C - F < W and expired from C - F = W on, exact to the
// millisecond. A marker ahead of the clock (F > C) has age 0 and is live. Bucket
// 0 above has expired as a whole; bucket 1 is Buckets.Oldest(C), since the part
// of it after E can still hold live markers. The width of a bucket decides what
// dropping expired markers costs, and never whether a marker counts.
//
// A record whose own time is E is at the edge and not late; one below E is late.
//
// # Times
//
// Every time is a count of Unix milliseconds in UTC, an int64. Time zones,
// daylight saving and leap seconds do not exist here: a day is 24 hours, a week
// 168. A time.Time is cut to the millisecond at or below it. Times before 1970
// are ordinary times. At the ends of int64 every function saturates; nothing
// wraps and nothing panics.
//
// The clock is always an argument. Nothing in this package reads the wall clock.
//
// All types are small comparable values: copy them, and use them from any number
// of goroutines.
package window
