package window_test

import (
	"flag"
	"fmt"
	"time"

	"github.com/firstseen/firstseen/window"
)

// Does a copy still count as a duplicate?
func ExampleWindow() {
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fmt.Println(window.Day.Contains(first, first.Add(24*time.Hour-time.Millisecond)))
	fmt.Println(window.Day.Contains(first, first.Add(24*time.Hour)))
	fmt.Println(window.Forever.Contains(first, first.AddDate(100, 0, 0)))
	// Output:
	// true
	// false
	// true
}

// What if a TTL makes no window?
func ExampleOf() {
	w := window.Of(90 * time.Minute)
	fmt.Println(w, w.Validate())
	w = window.Of(1500 * time.Microsecond)
	fmt.Println(w)
	fmt.Println(w.Validate())
	// Output:
	// 1h30m <nil>
	// invalid(1.5ms)
	// window: invalid window 1.5ms: give a TTL of whole milliseconds, at least 1ms
}

// How is a window written?
func ExampleParse() {
	for _, text := range []string{"90m", "24h", "7d", "4w", "1w12h", "forever"} {
		w, err := window.Parse(text)
		fmt.Println(w, w.Millis(), err)
	}
	_, err := window.Parse("soon")
	fmt.Println(err)
	// Output:
	// 1h30m 5400000 <nil>
	// 24h 86400000 <nil>
	// 7d 604800000 <nil>
	// 4w 2419200000 <nil>
	// 180h 648000000 <nil>
	// forever 9223372036854775807 <nil>
	// window: invalid window "soon": write it like 90m, 24h, 7d or 4w, at most 292 years, or forever
}

// How does a program take a window as a flag?
func ExampleWindow_UnmarshalText() {
	var w window.Window
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	flags.TextVar(&w, "window", window.Day, "how long an ID counts")
	err := flags.Parse([]string{"-window", "7d"})
	fmt.Println(w, err)
	// Output: 7d <nil>
}

// Which slices of time can still hold live markers?
func ExampleBuckets() {
	days := window.Week.Buckets(24 * time.Hour)
	clock := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	fmt.Println(days.At(clock))
	fmt.Println(days.Oldest(clock))
	// Output:
	// 20522 [2026-03-10T00:00:00Z, 2026-03-11T00:00:00Z)
	// 20515 [2026-03-03T00:00:00Z, 2026-03-04T00:00:00Z)
}

// When has a slice of time expired as a whole?
func ExampleBucket() {
	b := window.Day.Buckets(time.Hour).At(time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC))
	fmt.Println(b.Start().Format(time.TimeOnly), b.End().Format(time.TimeOnly))
	fmt.Println(b.Live(b.End().Add(23*time.Hour), window.Day))
	fmt.Println(b.Live(b.End().Add(24*time.Hour), window.Day))
	// Output:
	// 12:00:00 13:00:00
	// true
	// false
}
