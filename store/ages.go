package store

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/firstseen/firstseen/window"
)

// ages.go: how old duplicates are, by which a window can be chosen.

// ageEdges are where the classes of Ages end, in ms; the last class has no end.
var ageEdges = func() (e [ageClasses - 1]int64) {
	const minute, hour, day = 60_000, 3_600_000, 86_400_000
	copy(e[:], []int64{
		minute, 5 * minute, 15 * minute, hour, 3 * hour, 6 * hour, 12 * hour,
		day, 2 * day, 3 * day, 7 * day, 14 * day, 28 * day, 90 * day, 365 * day,
	})
	return e
}()

const ageClasses = 16

// Ages counts a namespace's duplicates by their age: the time, by the
// namespace's clock, since the accepted copy was first seen. It is kept with
// every batch, from the namespace's first one on. The zero value counts
// nothing; a value never changes and may be compared.
//
// The classes end at 1 m, 5 m, 15 m, 1 h, 3 h, 6 h, 12 h, 24 h, 2 d, 3 d, 7 d,
// 14 d, 28 d, 90 d, 365 d and never. A class holds the ages from the end of the
// one before it up to, but not including, its own.
type Ages [ageClasses]uint64

// add counts one duplicate; an age below 0 counts as 0 (R2).
func (a *Ages) add(age int64) {
	for i, edge := range ageEdges {
		if age < edge {
			a[i]++
			return
		}
	}
	a[ageClasses-1]++
}

// Edge returns where class i ends: math.MaxInt64 nanoseconds for the last one,
// which has no end. It panics when there is no such class.
func (Ages) Edge(i int) time.Duration {
	if i == ageClasses-1 {
		return window.Forever.TTL()
	}
	return time.Duration(ageEdges[i]) * time.Millisecond
}

// Total returns how many duplicates were counted.
func (a Ages) Total() uint64 {
	total := uint64(0)
	for _, n := range a {
		total += n
	}
	return total
}

// Caught returns the share of the counted duplicates, from 0 to 1, that a window
// w would have caught, at least: exact where w is the end of a class, otherwise
// that of the end below it. Duplicates beyond the window that was in force were
// never known as such, so a longer window may catch more than is counted here.
// It is 1 when nothing was counted.
func (a Ages) Caught(w window.Window) float64 {
	caught, total := uint64(0), a.Total()
	if total == 0 {
		return 1
	}
	for i, n := range a {
		if a.Edge(i) <= w.TTL() {
			caught += n
		}
	}
	return float64(caught) / float64(total)
}

// String advises: for every class in which a duplicate was counted, what a
// window up to its end would have caught.
func (a Ages) String() string {
	if a.Total() == 0 {
		return "no duplicates"
	}
	var said []string
	for i, n := range a {
		if n > 0 {
			w := window.Of(a.Edge(i))
			said = append(said, fmt.Sprintf("%.3g%% within %v", 100*a.Caught(w), w))
		}
	}
	return strings.Join(said, ", ")
}

// append writes the counts as uvarints.
func (a *Ages) append(dst []byte) []byte {
	for _, n := range a {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

func parseAges(b []byte) (a Ages, ok bool) {
	d := decoder{b: b}
	for i := range a {
		a[i] = d.uvarint()
	}
	return a, !d.bad && len(d.b) == 0
}

// loadAges reads the ages that were kept with the newest batch.
func (n *Namespace) loadAges() error {
	v, err := n.s.get(nsKey(kindAges, n.num))
	if err != nil || v == nil {
		return err
	}
	var ok bool
	if n.ages, ok = parseAges(v); !ok {
		return corruptf("namespace %q: its ages of duplicates do not parse", n.name)
	}
	return nil
}
