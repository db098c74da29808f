package window

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	foreverText = "forever"
	week        = 7 * day
)

// Parse returns the window that s describes: "forever", or a duration as Go
// writes it ("90m", "1h30m", "250ms"), before which whole weeks and then whole
// days may stand ("4w", "7d", "1w2d12h"). A day is always 24 hours. Letters are
// lower case and there is no space.
//
// An error wraps [ErrInvalid]; the Window is then the zero Window. Parse is the
// inverse of [Window.String].
func Parse(s string) (Window, error) {
	if s == foreverText {
		return Forever, nil
	}
	ttl, err := parseTTL(s)
	if err != nil {
		return Window{}, fmt.Errorf("%w %.64q: write it like 90m, 24h, 7d or 4w, "+
			"at most 292 years, or %s", ErrInvalid, s, foreverText)
	}
	w := Of(ttl)
	if err := w.Validate(); err != nil {
		return Window{}, err
	}
	return w, nil
}

// parseTTL turns weeks and days into hours and leaves the rest, the sum and its
// overflow to time.ParseDuration.
func parseTTL(s string) (time.Duration, error) {
	var hours string
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"w", week}, {"d", day}} {
		count, rest, found := strings.Cut(s, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil {
			return 0, err
		}
		hours += strconv.FormatUint(n*uint64(unit.length/time.Hour), 10) + "h"
		s = rest
	}
	return time.ParseDuration(hours + s)
}

// String returns w in the form that [Parse] reads: two or more whole weeks as
// "4w", two or more whole days as "7d", anything else as Go's duration without
// its zero units ("24h", "1h30m", "250ms"), and "forever". The zero Window is
// "24h". An invalid Window is shown as "invalid(1.5ms)", which Parse refuses.
func (w Window) String() string {
	ttl := w.TTL()
	switch {
	case w.IsForever():
		return foreverText
	case w.ms < 0:
		return fmt.Sprintf("invalid(%v)", ttl)
	case ttl%week == 0 && ttl >= 2*week:
		return fmt.Sprintf("%dw", ttl/week)
	case ttl%day == 0 && ttl >= 2*day:
		return fmt.Sprintf("%dd", ttl/day)
	}
	s := ttl.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns [Window.String], or the error of [Window.Validate]. The
// zero Window is written as the Day that it counts as.
func (w Window) MarshalText() ([]byte, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return []byte(w.String()), nil
}

// UnmarshalText sets w to what [Parse] makes of text. On an error w stays as it
// was. It must not be called concurrently with any other use of the same w.
func (w *Window) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*w = parsed
	return nil
}
