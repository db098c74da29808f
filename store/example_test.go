package store_test

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// noon is when the records of the examples were written.
var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// log1 is the log that the records of the examples stand in.
var log1 = store.ID{0x01}

func record(id string, offset int64) store.Record {
	return store.Record{ID: []byte(id), At: noon, Origin: store.Position{TopicID: log1, Offset: offset}}
}

// memory opens a store in memory with one namespace.
func memory() (*store.Store, *store.Namespace) {
	s, err := store.Open("", &store.Options{InMemory: true})
	check(err)
	payments, err := s.Namespace("payments", nil)
	check(err)
	return s, payments
}

func closed(s *store.Store) { check(s.Close()) }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// How is a message handled once, however often it comes?
func Example() {
	s, payments := memory()
	defer closed(s)
	for offset, id := range []string{"a", "b", "a"} {
		d, err := payments.Do(record(id, int64(offset)), func(tx *store.Tx) error {
			balance, err := tx.Add([]byte("balance"), 100)
			fmt.Println("handle", id, "balance", balance)
			return err
		})
		fmt.Println(id, d.Verdict, err)
	}
	// Output:
	// handle a balance 100
	// a new <nil>
	// handle b balance 200
	// b new <nil>
	// a duplicate <nil>
}

// What outlives the process?
func ExampleStore() {
	dir, err := os.MkdirTemp("", "example")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	for range 2 {
		s, err := store.Open(dir, nil)
		check(err)
		payments, err := s.Namespace("payments", nil)
		check(err)
		st, err := payments.Status()
		fmt.Println("stands at", st.Position.Offset, err)
		d, err := payments.Do(record("a", st.Position.Offset), nil)
		fmt.Println(d.Verdict, err)
		fmt.Println("closed", s.Close())
	}
	// Output:
	// stands at 0 <nil>
	// new <nil>
	// closed <nil>
	// stands at 1 <nil>
	// duplicate <nil>
	// closed <nil>
}

// Can a store live without a disk?
func ExampleOptions() {
	s, err := store.Open("", &store.Options{InMemory: true, CommitTimeout: time.Second})
	fmt.Println(err, s.Err(), s.Close(), s.Err())
	_, err = store.Open("", &store.Options{InMemory: true, Memory: -1})
	fmt.Println(err)
	// Output:
	// <nil> <nil> <nil> store: closed
	// store: Memory is -1 bytes; give a positive number, or 0 for 256 MB
}

// Do two namespaces see each other's IDs?
func ExampleNamespace() {
	s, payments := memory()
	defer closed(s)
	refunds, err := s.Namespace("refunds", nil)
	check(err)
	for _, n := range []*store.Namespace{payments, refunds, payments} {
		d, err := n.Do(store.Record{ID: []byte("a"), At: noon}, nil)
		fmt.Println(n.Name(), d.Verdict, err)
	}
	// Output:
	// payments new <nil>
	// refunds new <nil>
	// payments duplicate <nil>
}

// May a namespace change its window?
func ExampleNamespaceOptions() {
	s, _ := memory()
	defer closed(s)
	hour := &store.NamespaceOptions{Window: window.Hour}
	_, err := s.Namespace("orders", hour)
	fmt.Println(err)
	_, err = s.Namespace("orders", &store.NamespaceOptions{Window: window.Hour, BucketWidth: time.Minute})
	fmt.Println(err)
	_, err = s.Namespace("orders", &store.NamespaceOptions{Window: window.Day, MaxAdvance: 450 * time.Second})
	fmt.Println(errors.Is(err, store.ErrSettings))
	// Output:
	// <nil>
	// <nil>
	// true
}

// How are many records kept with one sync?
func ExampleBatch() {
	s, payments := memory()
	defer closed(s)
	ids := [][]byte{[]byte("a"), []byte("b"), []byte("a")}
	err := payments.Update(func(b *store.Batch) error {
		b.Prepare(ids)
		for i, id := range ids {
			d, err := b.Do(record(string(id), int64(i)), nil)
			if err != nil {
				return err
			}
			fmt.Println(string(id), d.Verdict)
		}
		fmt.Println("next", b.Position().Offset, "batch", b.Sequence())
		return nil
	})
	fmt.Println(err)
	// Output:
	// a new
	// b new
	// a duplicate
	// next 3 batch 1
	// <nil>
}

// What remains of a record whose handler fails?
func ExampleTx() {
	s, payments := memory()
	defer closed(s)
	broken := errors.New("no such account")
	for _, result := range []error{broken, nil} {
		d, err := payments.Do(record("a", 0), func(tx *store.Tx) error {
			n, err := tx.Add([]byte("tries"), 1)
			fmt.Println("tries", n)
			return errors.Join(err, result)
		})
		fmt.Println(d.Verdict, err)
	}
	// Output:
	// tries 1
	// new no such account
	// tries 1
	// new <nil>
}

// How is state read from outside a handler?
func ExampleView() {
	s, payments := memory()
	defer closed(s)
	_, err := payments.Do(record("a", 0), func(tx *store.Tx) error {
		_, err := tx.Add([]byte("balance/ann"), 100)
		return errors.Join(err, tx.Set([]byte("name/ann"), []byte("Ann")))
	})
	check(err)
	err = payments.View(func(v *store.View) error {
		balance, err := v.Int([]byte("balance/ann"))
		fmt.Println(balance, err)
		return v.Scan([]byte("name/"), func(key, value []byte) error {
			fmt.Printf("%s %s\n", key, value)
			return nil
		})
	})
	fmt.Println(err)
	// Output:
	// 100 <nil>
	// name/ann Ann
	// <nil>
}

// Which copy was the first?
func ExampleDecision() {
	s, payments := memory()
	defer closed(s)
	for _, offset := range []int64{7, 8} {
		d, _ := payments.Do(record("a", offset), nil)
		fmt.Println(d.Verdict, d.Reason, d.First.Format(time.TimeOnly), d.Origin.Offset)
	}
	// Output:
	// unknown cold 00:00:00 0
	// duplicate  12:00:00 7
}

// Is the verdict that nobody gave a verdict?
func ExampleVerdict() {
	var unset store.Verdict
	fmt.Println(unset, store.New, store.Duplicate, store.Unknown)
	// Output:
	// none new duplicate unknown
}

// Why does a store not know?
func ExampleReason() {
	fmt.Println(store.Late, store.Clock, store.Cold, store.Evicted, store.Lost)
	// Output:
	// late clock cold evicted lost
}

// What does a namespace vouch for that starts in the middle of a log?
func ExampleCoverage() {
	s, payments := memory()
	defer closed(s)
	for i := range 10 {
		r := record(fmt.Sprint("id-", i), int64(500+i))
		r.At = noon.Add(time.Duration(i) * time.Second)
		_, err := payments.Do(r, nil)
		check(err)
		if st, _ := payments.Status(); i == 0 || i == 9 {
			fmt.Println(st.Coverage)
		}
	}
	// Output:
	// open (cold)
	// since 2025-03-01T12:00:08Z (cold)
}

// Does a record need a time and a log?
func ExampleRecord() {
	s, payments := memory()
	defer closed(s)
	for range 2 {
		d, err := payments.Do(store.Record{ID: []byte("a")}, nil)
		fmt.Println(d.Verdict, err)
	}
	_, err := payments.Do(store.Record{At: noon}, nil)
	fmt.Println(err)
	// Output:
	// new <nil>
	// duplicate <nil>
	// store: record has no ID
}

// What happens to a record that is read again?
func ExamplePosition() {
	s, payments := memory()
	defer closed(s)
	for range 2 {
		_, err := payments.Do(record("a", 0), nil)
		fmt.Println(err)
	}
	st, err := payments.Status()
	fmt.Println(st.Position, err)
	// Output:
	// <nil>
	// store: record was decided before
	// 01000000000000000000000000000000/0@1 <nil>
}

// How is an output sent that a crash has held up?
func ExampleOutput() {
	s, payments := memory()
	defer closed(s)
	_, err := payments.Do(record("a", 0), func(tx *store.Tx) error { return tx.Stage([]byte("receipt")) })
	check(err)
	var last uint64
	send := func(o store.Output) error {
		fmt.Printf("send %s of offset %d\n", o.Data, o.Origin.Offset)
		last = o.Sequence
		return nil
	}
	fmt.Println(payments.Pending(send))
	err = payments.Update(func(b *store.Batch) error {
		b.Settle(last) // it was acknowledged
		return nil
	})
	fmt.Println(err, payments.Pending(send))
	// Output:
	// send receipt of offset 0
	// <nil>
	// <nil> <nil>
}

// Where is it kept what the outside acknowledged?
func ExampleCommitted() {
	s, payments := memory()
	defer closed(s)
	err := payments.Update(func(b *store.Batch) error {
		if _, err := b.Do(record("a", 0), nil); err != nil {
			return err
		}
		b.SetCommitted(store.Committed{Offset: 1, LeaderEpoch: -1, Tag: "ours"})
		return nil
	})
	check(err)
	st, err := payments.Status()
	fmt.Println(st.Committed.Offset, st.Committed.Tag, err)
	// Output:
	// 1 ours <nil>
}

// What does a namespace know of itself?
func ExampleStatus() {
	s, payments := memory()
	defer closed(s)
	for offset, id := range []string{"a", "b", "a"} {
		_, err := payments.Do(record(id, int64(offset)), nil)
		check(err)
	}
	st, err := payments.Status()
	fmt.Println("next", st.Position.Offset, "clock", st.Clock.Format(time.TimeOnly), err)
	fmt.Println("covered", st.Coverage, "markers", st.Markers, "batches", st.Sequence)
	// Output:
	// next 3 clock 12:00:00 <nil>
	// covered from the beginning markers 2 batches 3
}

// How often was which verdict given?
func ExampleCounts() {
	s, payments := memory()
	defer closed(s)
	for _, id := range []string{"a", "b", "a", "a"} {
		_, err := payments.Do(store.Record{ID: []byte(id), At: noon}, nil)
		check(err)
	}
	st, err := payments.Status()
	fmt.Println("new", st.Counts.New, "duplicate", st.Counts.Duplicate, err)
	// Output:
	// new 2 duplicate 2 <nil>
}

// What does a store hold?
func ExampleStats() {
	s, payments := memory()
	defer closed(s)
	fmt.Println("before", s.Stats().Namespaces, s.Stats().MemoryBytes > 0)
	_, err := payments.Do(store.Record{ID: []byte("a")}, nil)
	check(err)
	fmt.Println("after", s.Stats().Namespaces, s.Stats().MemoryBytes > 0)
	// Output:
	// before 1 false
	// after 1 true
}

// How is one opening of a store told from another?
func ExampleID() {
	s, _ := memory()
	defer closed(s)
	fmt.Println(s.ID() != s.OpenID(), s.KnowsOpen(s.OpenID()), s.KnowsOpen(store.ID{}))
	fmt.Println(store.ID{0xab})
	// Output:
	// true true false
	// ab000000000000000000000000000000
}
