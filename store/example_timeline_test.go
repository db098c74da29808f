package store_test

import (
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
)

// A relay keeps each marker with what it sends. Another store has them from there, and
// the clock with them: one of a record whose time is far ahead stands apart, as it does
// with the relay.
func ExampleTimeline() {
	open := func() (*store.Store, *store.Namespace) {
		st, err := store.Open("", &store.Options{InMemory: true})
		if err != nil {
			panic(err)
		}
		ns, err := st.Namespace("payments/0", nil)
		if err != nil {
			panic(err)
		}
		return st, ns
	}
	relay, ns := open()
	defer func() { _ = relay.Close() }()
	type sent struct {
		id       string
		first    time.Time
		timeline string
		origin   store.Position
	}
	var out []sent
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for i := range 10 {
		r := store.Record{ID: fmt.Append(nil, "id", i), At: start.Add(time.Duration(i) * time.Second),
			Origin: store.Position{TopicID: store.ID{1}, Offset: int64(i)}}
		if i == 9 {
			r.At = r.At.Add(4 * time.Hour)
		}
		_, err := ns.Do(r, func(tx *store.Tx) error {
			out = append(out, sent{string(r.ID), tx.Clock(), tx.Timeline().String(), r.Origin})
			return nil
		})
		if err != nil {
			panic(err)
		}
	}
	end, err := ns.Status()
	if err != nil {
		panic(err)
	}

	another, ns := open()
	defer func() { _ = another.Close() }()
	err = ns.Update(func(b *store.Batch) error {
		err := b.BeginRestore(store.Restore{To: 10, Until: end.Clock, Timeline: end.Timeline, Anew: true})
		if err != nil {
			return err
		}
		for _, s := range out {
			told, err := store.ParseTimeline(s.timeline)
			if err != nil {
				return err
			}
			r := store.Record{ID: []byte(s.id), At: s.first, Origin: s.origin}
			if err := b.RestoreMarker(r, told); err != nil {
				return err
			}
		}
		return b.EndRestore()
	})
	if err != nil {
		panic(err)
	}
	status, err := ns.Status()
	m, _, _ := ns.Lookup([]byte("id9"))
	fmt.Println(status.Markers, status.Clock.Sub(start), m.First.Sub(start), err)
	fmt.Println(status.Timeline == end.Timeline)
	// Output:
	// 10 8s 4h0m9s <nil>
	// true
}
