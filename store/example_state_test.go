package store_test

import (
	"errors"
	"fmt"

	"github.com/firstseen/firstseen/store"
)

// What state is the store in? A monitor asks State, a caller Err.
func ExampleStore_State() {
	st := inMemory()
	fmt.Println(st.State(), st.Err())
	check(st.Close())
	fmt.Println(st.State(), st.Err())
	// Output:
	// running <nil>
	// closed store: closed
}

// How large may a batch be? End it by its size, between two records.
func ExampleBatch_Size() {
	st := inMemory()
	defer st.Close()
	ns, err := st.Namespace("payments", nil)
	check(err)
	payload := make([]byte, 100<<10)
	const most = 1 << 20 // store.MaxBatchBytes is the most that there may be
	for next, end := int64(0), int64(25); next < end; {
		check(ns.Update(func(b *store.Batch) error {
			from := next
			for ; next < end && b.Size() < most; next++ {
				r := store.Record{ID: fmt.Append(nil, next), Origin: store.Position{TopicID: store.ID{1}, Offset: next}}
				if _, err := b.Do(r, func(tx *store.Tx) error { return tx.Stage(payload) }); err != nil {
					return err
				}
			}
			fmt.Println(next-from, "records")
			return nil
		}))
	}
	// Output:
	// 11 records
	// 11 records
	// 3 records
}

// What if the disk is full? Nothing was begun: call again later.
func ExampleStore_Err() {
	st := inMemory()
	defer st.Close()
	ns, err := st.Namespace("payments", nil)
	check(err)
	switch _, err := ns.Do(store.Record{ID: []byte("a")}, nil); {
	case errors.Is(err, store.ErrDiskFull):
		fmt.Println("wait, then try again")
	case err != nil:
		fmt.Println("stop:", st.State())
	default:
		fmt.Println("durable")
	}
	// Output: durable
}
