package store_test

import (
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
)

// An operator has set the source back to offset 1. The records from there on are
// read once more, and meet their markers.
func ExampleBatch_MoveTo() {
	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	orders, err := st.Namespace("orders", nil)
	if err != nil {
		panic(err)
	}
	log := store.ID{1}
	see := func(id string, offset int64) {
		r := store.Record{ID: []byte(id), At: time.Now(), Origin: store.Position{TopicID: log, Offset: offset}}
		d, err := orders.Do(r, nil)
		fmt.Println(offset, id, d.Verdict, err)
	}
	see("a", 0)
	see("b", 1)
	err = orders.Update(func(b *store.Batch) error {
		return b.MoveTo(store.Position{TopicID: log, Offset: 1})
	})
	if err != nil {
		panic(err)
	}
	see("b", 1)
	see("c", 2)
	// Output:
	// 0 a new <nil>
	// 1 b new <nil>
	// 1 b duplicate <nil>
	// 2 c new <nil>
}
