package store_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
)

// How is one message let through again? Its ID is forgotten.
func ExampleNamespace_Forget() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	see := func(id string) {
		d, err := orders.Do(store.Record{ID: []byte(id), At: noon}, nil)
		check(err)
		fmt.Println(id, d.Verdict)
	}
	see("o-1")
	see("o-1")
	there, err := orders.Forget([]byte("o-1"))
	fmt.Println(there, err)
	there, err = orders.Forget([]byte("o-2"))
	fmt.Println(there, err)
	see("o-1")
	// Output:
	// o-1 new
	// o-1 duplicate
	// true <nil>
	// false <nil>
	// o-1 new
}

// How is a customer forgotten, with what the handler kept of them? In one batch.
func ExampleBatch_Forget() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("logins", nil)
	check(err)
	_, err = n.Do(store.Record{ID: []byte("ann@example.com"), At: noon}, func(tx *store.Tx) error {
		return tx.Set([]byte("ann"), []byte("seen"))
	})
	check(err)
	err = n.Update(func(b *store.Batch) error {
		if _, err := b.Forget([]byte("ann@example.com")); err != nil {
			return err
		}
		return b.Pass(store.Record{}, func(tx *store.Tx) error { return tx.Delete([]byte("ann")) })
	})
	fmt.Println(err)
	// Output:
	// <nil>
}

// How is a part of a log handled once more? What it left is forgotten.
func ExampleNamespace_ForgetOrigins() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", nil)
	check(err)
	topic := store.ID{1}
	for o := range int64(4) {
		_, err := n.Do(store.Record{
			ID: fmt.Appendf(nil, "o-%d", o), At: noon, Origin: store.Position{TopicID: topic, Offset: o},
		}, nil)
		check(err)
	}
	check(n.ForgetOrigins(topic, 0, 1, 3))
	for o := range int64(4) {
		d, err := n.Do(store.Record{ID: fmt.Appendf(nil, "o-%d", o), At: noon.Add(time.Minute)}, nil)
		check(err)
		fmt.Println(o, d.Verdict)
	}
	// Output:
	// 0 duplicate
	// 1 new
	// 2 new
	// 3 duplicate
}

// How does a namespace go that nobody needs any more? Whole, and its name is
// free.
func ExampleStore_DeleteNamespace() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	old, err := st.Namespace("orders", nil)
	check(err)
	_, err = old.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	check(st.DeleteNamespace("orders"))
	_, err = old.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	fmt.Println(errors.Is(err, store.ErrDeleted))
	fmt.Println(errors.Is(st.DeleteNamespace("orders"), store.ErrNoNamespace))
	again, err := st.Namespace("orders", nil)
	check(err)
	d, err := again.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	fmt.Println(d.Verdict, err)
	// Output:
	// true
	// true
	// new <nil>
}
