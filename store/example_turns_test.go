package store_test

import (
	"fmt"
	"sync"

	"github.com/firstseen/firstseen/store"
)

// How can the next batch be decided while the disk is busy with this one? Goroutines
// that take turns: each calls Update when the one before it has begun.
func ExampleNamespace_Update_takingTurns() {
	st := inMemory()
	defer st.Close()
	ns, err := st.Namespace("payments", nil)
	check(err)
	var all sync.WaitGroup
	for i, ids := range [][]string{{"a", "b"}, {"b", "c"}, {"a", "d"}} {
		turn := make(chan struct{})
		begun := sync.OnceFunc(func() { close(turn) })
		all.Go(func() {
			defer begun() // whatever happens
			check(ns.Update(func(b *store.Batch) error {
				begun()
				for j, id := range ids {
					at := store.Position{TopicID: store.ID{1}, Offset: int64(2*i + j)}
					if _, err := b.Do(store.Record{ID: []byte(id), Origin: at}, nil); err != nil {
						return err
					}
				}
				return nil
			}))
			// The batch is durable, and so is every one before it.
		})
		<-turn
	}
	all.Wait()
	status, err := ns.Status()
	check(err)
	fmt.Println(status.Counts.New, "new,", status.Counts.Duplicate, "duplicates, next", status.Position.Offset)
	// Output:
	// 4 new, 2 duplicates, next 6
}
