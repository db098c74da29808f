package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/firstseen/firstseen/store"
)

// Was this ID seen? Ask beside the consumer that is running.
func ExampleNamespace_Lookup() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	for _, id := range []string{"o-1", "o-2"} {
		m, found, err := orders.Lookup([]byte(id))
		check(err)
		fmt.Println(id, found, m.First.Format(time.TimeOnly))
	}
	// Output:
	// o-1 true 12:00:00
	// o-2 false 00:00:00
}

// Why would a record be a duplicate, or not?
func ExampleNamespace_Why() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	check(orders.Update(func(b *store.Batch) error {
		for i := range 20 {
			r := store.Record{ID: fmt.Appendf(nil, "o-%d", i), At: noon.Add(time.Duration(i) * time.Minute)}
			if _, err := b.Do(r, nil); err != nil {
				return err
			}
		}
		return nil
	}))
	w, err := orders.Why([]byte("o-15"))
	check(err)
	fmt.Println(w.Decision.Verdict, "of", w.Marker.First.Format(time.TimeOnly), "age", w.Age)
	fmt.Println("counts until", w.Marker.Leaves.Format(time.DateTime))
	fmt.Println(w.Place, "coverage", w.Coverage)
	// Output:
	// duplicate of 12:15:00 age 4m0s
	// counts until 2026-03-02 12:15:00
	// segment 0 (open) coverage from the beginning
}

// Which IDs does the store remember?
func ExampleNamespace_Markers() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	for _, id := range []string{"o-1", "o-2", "o-1", "0e37df36-f698-11e6-8dd4-cb9ced3df976"} {
		_, err := orders.Do(store.Record{ID: []byte(id), At: noon}, nil)
		check(err)
	}
	check(orders.Markers(func(m store.MarkerEntry) error {
		fmt.Printf("%s (%v)\n", m.ID, m.Kind)
		return nil
	}))
	// Unordered output:
	// o-1 (raw)
	// o-2 (raw)
	// 0e37df36-f698-11e6-8dd4-cb9ced3df976 (uuid)
}

// What does a namespace consist of?
func ExampleNamespace_Segments() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	for i := range 20 {
		_, err := orders.Do(store.Record{ID: fmt.Appendf(nil, "o-%d", i), At: noon}, nil)
		check(err)
	}
	segments, err := orders.Segments()
	check(err)
	for _, g := range segments {
		fmt.Println(g.Number, g.State, g.Markers, "markers in memory")
	}
	// Output:
	// 0 open 20 markers in memory
}

// Is everything still as it was written?
func ExampleStore_Verify() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(err)
	report, err := st.Verify(context.Background(), nil)
	check(err) // it could not be read
	fmt.Println(report.Namespaces, "namespace,", len(report.Damage), "damages:", report.Err())
	// Output:
	// 1 namespace, 0 damages: <nil>
}

// How is a damaged store made usable again? What cannot be repaired is restored
// from a backup.
func ExampleRepair() {
	dir, err := os.MkdirTemp("", "firstseen")
	check(err)
	defer func() { check(os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "orders.firstseen")
	st, err := store.Open(path, nil)
	check(err)
	check(st.Close())

	ctx := context.Background()
	if report, err := store.VerifyDir(ctx, path, nil); err == nil && report.Err() == nil {
		fmt.Println("nothing is damaged")
	}
	report, err := store.Repair(ctx, path, &store.RepairOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if errors.Is(err, store.ErrBeyondRepair) {
		fmt.Println("restore a backup")
		return
	}
	check(err)
	for _, m := range report.Mended {
		fmt.Println(m.Namespace, "can vouch for what came", m.After)
	}
	fmt.Println(len(report.SetAside), "segments are set aside")
	// Output:
	// nothing is damaged
	// 0 segments are set aside
}
