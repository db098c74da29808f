package store_test

import (
	"fmt"

	"github.com/firstseen/firstseen/store"
)

// What becomes of an output that its destination refuses for good? Another one
// takes its place, in one step, so that no crash sends both or neither.
func ExampleBatch_Replace() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("payments", nil)
	check(err)
	_, err = n.Do(store.Record{ID: []byte("p-1"), At: noon}, func(tx *store.Tx) error {
		return tx.Stage([]byte("receipt for p-1"))
	})
	check(err)
	var refused store.Output
	check(n.Pending(func(o store.Output) error { refused = o; return nil }))
	check(n.Update(func(b *store.Batch) error {
		return b.Replace(refused, append([]byte("dead letter: "), refused.Data...))
	}))
	check(n.Pending(func(o store.Output) error { fmt.Printf("send %s\n", o.Data); return nil }))
	// Output:
	// send dead letter: receipt for p-1
}
