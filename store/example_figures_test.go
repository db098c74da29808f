package store_test

import (
	"context"
	"fmt"

	"github.com/firstseen/firstseen/store"
)

// How many records were what? Since the store was opened.
func ExampleCounts() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	for _, id := range []string{"o-1", "o-2", "o-1"} {
		_, err := orders.Do(store.Record{ID: []byte(id), At: noon}, nil)
		check(err)
	}
	status, err := orders.Status()
	check(err)
	fmt.Println(status.Counts.New, status.Counts.Duplicate, status.Counts.Unknown)
	// Output: 2 1 0
}

// How is another client of Kafka's used? What its group has acknowledged is kept
// with the next batch, so that a later start knows who moved the group.
func ExampleCommitted() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	check(orders.Update(func(b *store.Batch) error {
		_, err := b.Do(store.Record{ID: []byte("o-1"), At: noon, Origin: store.Position{TopicID: store.ID{1}}}, nil)
		return err
	}))
	acknowledged := store.Committed{Offset: 1, LeaderEpoch: -1, Tag: "ours"} // by the group, only now
	check(orders.Update(func(b *store.Batch) error {
		b.SetCommitted(acknowledged)
		return nil
	}))
	status, err := orders.Status()
	check(err)
	fmt.Println(status.Position.Offset, status.Committed.Offset, status.Committed.Tag)
	// Output: 1 1 ours
}

// How far has a verification come?
func ExampleVerifyOptions() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	var last store.VerifyProgress
	report, err := st.Verify(context.Background(), &store.VerifyOptions{
		Progress: func(p store.VerifyProgress) { last = p },
	})
	check(err)
	fmt.Println(last.Done, "of", last.Namespaces, report.Err())
	// Output: 1 of 1 <nil>
}
