package store_test

import (
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// How are records put aside that the store cannot know? As dead letters here:
// this namespace begins in the middle of its log.
func ExampleUnknownPolicy() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{
		Unknown: store.UnknownPolicy{Cold: store.DeadLetter},
	})
	check(err)
	d, err := n.Do(store.Record{
		ID: []byte("o-1"), At: noon, Origin: store.Position{TopicID: store.ID{1}, Offset: 500},
	}, func(tx *store.Tx) error {
		if d := tx.Decision(); d.Action == store.DeadLetter {
			return tx.Stage([]byte("o-1, " + d.Reason.String()))
		}
		_, err := tx.Add([]byte("orders"), 1)
		return err
	})
	check(err)
	fmt.Println(d.Verdict, d.Reason, d.Action, d.Coverage)
	check(n.Pending(func(o store.Output) error {
		fmt.Printf("%s\n", o.Data)
		return nil
	}))
	// Output:
	// unknown cold dead-letter open (cold)
	// o-1, cold
}

// What is known once a window has grown?
func ExampleCoverage_grown() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Hour})
	check(err)
	for i := range 27 { // 95 minutes, after the 8 times that set the clock
		at := noon.Add(time.Duration(max(0, i-7)) * 5 * time.Minute)
		_, err := n.Do(store.Record{ID: fmt.Append(nil, i), At: at}, nil)
		check(err)
	}
	s, err := n.Status()
	check(err)
	fmt.Println(s.Coverage)
	n, err = st.Namespace("orders", &store.NamespaceOptions{Window: window.Day})
	check(err)
	s, err = n.Status()
	check(err)
	fmt.Println(s.Coverage)
	// Output:
	// from the beginning
	// since 2026-03-01T12:35:00Z (cold)
}

// How does a topic that has fallen silent give its space back?
func ExampleNamespace_Advance() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Hour})
	check(err)
	for i := range 100 {
		_, err := n.Do(store.Record{ID: fmt.Append(nil, i), At: noon}, nil)
		check(err)
	}
	s, err := n.Status()
	check(err)
	fmt.Println(s.Markers, "markers")
	check(n.Advance(noon.Add(time.Hour)))
	s, err = n.Status()
	check(err)
	fmt.Println(s.Markers, "markers")
	// Output:
	// 100 markers
	// 0 markers
}

// How long should the window be? Ask the duplicates.
func ExampleAges() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Week})
	check(err)
	for i := range 60 {
		at := noon.Add(time.Duration(i) * 10 * time.Minute)
		for _, id := range []int{i, max(0, i-1), i / 2} { // a retry, and a replay
			_, err := n.Do(store.Record{ID: fmt.Append(nil, id), At: at}, nil)
			check(err)
		}
	}
	s, err := n.Status()
	check(err)
	fmt.Println(s.Ages)
	fmt.Printf("an hour would have caught %.0f %%\n", 100*s.Ages.Caught(window.Hour))
	// Output:
	// 4.17% within 1m, 50.8% within 15m, 59.2% within 1h, 79.2% within 3h, 100% within 6h
	// an hour would have caught 59 %
}
