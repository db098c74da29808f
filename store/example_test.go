package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// check ends an example that does not go as planned.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// inMemory opens a store that a test would use: nothing of it is on disk.
func inMemory() *store.Store {
	st, err := store.Open("", &store.Options{InMemory: true})
	check(err)
	return st
}

// What does it do? The first time counts.
func Example() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	for _, id := range []string{"o-1", "o-2", "o-1"} {
		_, err := orders.Do(store.Record{ID: []byte(id), At: noon}, func(tx *store.Tx) error {
			fmt.Println("handle", id)
			return nil
		})
		check(err)
	}
	// Output:
	// handle o-1
	// handle o-2
}

// How is a store opened and closed? (Without InMemory it is on disk.)
func ExampleOpen() {
	st, err := store.Open("orders.firstseen", &store.Options{InMemory: true})
	check(err)
	fmt.Println(st.Err())
	check(st.Close())
	fmt.Println(st.Err())
	// Output:
	// <nil>
	// store: closed
}

// Which namespaces are there?
func ExampleStore_Namespaces() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	for _, name := range []string{"orders", "billing/payments/0"} {
		_, err := st.Namespace(name, nil)
		check(err)
	}
	for name := range st.Namespaces() {
		fmt.Println(name)
	}
	fmt.Println(st.Stats().Namespaces)
	// Output:
	// billing/payments/0
	// orders
	// 2
}

// Can a window change? A longer one at once; a shorter one would forget, and has
// to be allowed.
func ExampleNamespaceOptions() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Hour})
	check(err)
	_, err = st.Namespace("orders", &store.NamespaceOptions{Window: window.Week})
	fmt.Println(n.Window(), err)
	_, err = st.Namespace("orders", &store.NamespaceOptions{Window: window.Day})
	fmt.Println(n.Window(), errors.Is(err, store.ErrSettings))
	_, err = st.Namespace("orders", &store.NamespaceOptions{Window: window.Day, AllowShrink: true})
	fmt.Println(n.Window(), err)
	// Output:
	// 7d <nil>
	// 7d true
	// 24h <nil>
}

// How are many records handled at once? One batch, one sync; state included.
func ExampleNamespace_Update() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("payments", nil)
	check(err)
	type payment struct {
		id    string
		cents int64
	}
	err = n.Update(func(b *store.Batch) error {
		for i, p := range []payment{{"p-1", 500}, {"p-2", 250}, {"p-1", 500}} {
			r := store.Record{
				ID: []byte(p.id), At: noon,
				Origin: store.Position{TopicID: store.ID{1}, Offset: int64(i)},
			}
			d, err := b.Do(r, func(tx *store.Tx) error {
				_, err := tx.Add([]byte("total"), p.cents)
				return err
			})
			if err != nil {
				return err
			}
			fmt.Println(p.id, d.Verdict)
		}
		return nil
	})
	check(err)
	err = n.View(func(v *store.View) error {
		total, err := v.Int([]byte("total"))
		fmt.Println("total", total)
		return err
	})
	check(err)
	// Output:
	// p-1 new
	// p-2 new
	// p-1 duplicate
	// total 750
}

// What happens when a handler fails? Nothing of its record remains.
func ExampleBatch() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("payments", nil)
	check(err)
	r := store.Record{ID: []byte("p-1"), At: noon, Origin: store.Position{TopicID: store.ID{1}}}
	err = n.Update(func(b *store.Batch) error {
		_, err := b.Do(r, func(tx *store.Tx) error {
			if err := tx.Set([]byte("seen"), []byte("p-1")); err != nil {
				return err
			}
			return errors.New("the bank is closed")
		})
		fmt.Println(err)
		d, err := b.Do(r, func(tx *store.Tx) error {
			seen, err := tx.Get([]byte("seen"))
			fmt.Println(seen == nil)
			return err
		})
		fmt.Println(d.Verdict)
		return err
	})
	check(err)
	// Output:
	// the bank is closed
	// true
	// new
}

// How do outputs survive a crash between the store and where they go? They are
// staged in the batch, and settled when they have arrived.
func ExampleTx_Stage() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("payments", nil)
	check(err)
	_, err = n.Do(store.Record{ID: []byte("p-1"), At: noon}, func(tx *store.Tx) error {
		return tx.Stage([]byte("receipt for p-1"))
	})
	check(err)
	var last uint64
	check(n.Pending(func(o store.Output) error {
		fmt.Printf("send %s\n", o.Data)
		last = o.Sequence
		return nil
	}))
	check(n.Update(func(b *store.Batch) error { b.Settle(last); return nil }))
	status, err := n.Status()
	fmt.Println(status.Pending, err)
	// Output:
	// send receipt for p-1
	// 0 <nil>
}

// What does a decision say of a duplicate?
func ExampleDecision() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Hour})
	check(err)
	for i, at := range []time.Duration{0, 5 * time.Minute} {
		d, err := n.Do(store.Record{
			ID: []byte("o-1"), At: noon.Add(at),
			Origin: store.Position{TopicID: store.ID{1}, Offset: int64(i)},
		}, nil)
		check(err)
		fmt.Println(d.Verdict, d.Origin.Offset, d.First.Format(time.TimeOnly))
	}
	// Output:
	// new 0 00:00:00
	// duplicate 0 12:00:00
}

// What if the records before were never seen? The store says that it cannot
// know, and since when it can.
func ExampleCoverage() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", &store.NamespaceOptions{Window: window.Hour})
	check(err)
	fmt.Println(covered(n))
	for i := range 9 { // from the middle of a log
		d, err := n.Do(store.Record{
			ID: fmt.Appendf(nil, "o-%d", i), At: noon.Add(time.Duration(i) * 30 * time.Second),
			Origin: store.Position{TopicID: store.ID{1}, Offset: 1000 + int64(i)},
		}, nil)
		check(err)
		if i == 0 {
			fmt.Println(d.Verdict, d.Reason)
			fmt.Println(covered(n))
		}
	}
	fmt.Println(covered(n))
	// Output:
	// from the beginning
	// unknown cold
	// open (cold)
	// since 2026-03-01T12:04:00Z (cold)
}

func covered(n *store.Namespace) store.Coverage {
	status, err := n.Status()
	check(err)
	return status.Coverage
}

// How does a position work? What lies below it was decided, and is never decided
// again.
func ExamplePosition() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("orders", nil)
	check(err)
	r := store.Record{ID: []byte("o-1"), At: noon,
		Origin: store.Position{TopicID: store.ID{1}, Offset: 7}}
	for range 2 {
		d, err := n.Do(r, nil)
		fmt.Println(d.Verdict, err)
	}
	status, err := n.Status()
	fmt.Println(status.Position.Offset, err)
	// Output:
	// unknown <nil>
	// none store: record was decided before
	// 8 <nil>
}

// How is a namespace walked while it works on? A View is a picture of one moment.
func ExampleView_Scan() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	n, err := st.Namespace("carts", nil)
	check(err)
	_, err = n.Do(store.Record{ID: []byte("c-1"), At: noon}, func(tx *store.Tx) error {
		return errors.Join(
			tx.Set([]byte("cart/2"), []byte("pears")),
			tx.Set([]byte("cart/1"), []byte("apples")),
			tx.Set([]byte("other"), nil))
	})
	check(err)
	err = n.View(func(v *store.View) error {
		return v.Scan([]byte("cart/"), func(key, value []byte) error {
			fmt.Printf("%s: %s\n", key, value)
			return nil
		})
	})
	fmt.Println(err)
	// Output:
	// cart/1: apples
	// cart/2: pears
	// <nil>
}

// How is a running store backed up?
func ExampleStore_Checkpoint() {
	top, err := os.MkdirTemp("", "firstseen")
	check(err)
	defer func() { check(os.RemoveAll(top)) }()
	st, err := store.Open(filepath.Join(top, "orders"), nil)
	check(err)
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)

	backup := filepath.Join(top, "backup") // on the same file system; copy it away from there
	check(st.Checkpoint(context.Background(), backup))
	_, err = store.Open(backup, nil)
	fmt.Println(errors.Is(err, store.ErrSealed))
	// Output:
	// true
}

// How is a backup put to use?
func ExampleAdopt() {
	top, err := os.MkdirTemp("", "firstseen")
	check(err)
	defer func() { check(os.RemoveAll(top)) }()
	st, err := store.Open(filepath.Join(top, "orders"), nil)
	check(err)
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	backup := filepath.Join(top, "backup")
	check(st.Checkpoint(context.Background(), backup))
	check(st.Close())

	check(store.Adopt(backup, nil)) // once; from now on it is a store of its own
	again, err := store.Open(backup, nil)
	check(err)
	defer func() { check(again.Close()) }()
	orders, err = again.Namespace("orders", nil)
	check(err)
	d, err := orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	fmt.Println(d.Verdict)
	fmt.Println(again.ID() == st.ID(), again.IsOurs(st.ID()))
	// Output:
	// duplicate
	// false true
}

// How does a caller without Kafka find out that it was given an older store?
func ExampleNamespace_Witnessed() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	noted := uint64(1) // Status.Sequence, as it was noted elsewhere
	err = orders.Witnessed(noted)
	fmt.Println(errors.Is(err, store.ErrRolledBack))
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	fmt.Println(orders.Witnessed(noted))
	// Output:
	// true
	// <nil>
}
