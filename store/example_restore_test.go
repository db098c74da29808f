package store_test

import (
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
)

// How does a store learn what another one has handled? By the same records, which
// are read again: no handler is called, and copies that come later are duplicates.
func ExampleRestore() {
	st, err := store.Open("", &store.Options{InMemory: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = st.Close() }()
	ns, err := st.Namespace("payments/0", nil)
	if err != nil {
		panic(err)
	}
	log := store.ID{1}
	at := time.Now().Add(-time.Hour)
	record := func(id string, offset int64) store.Record {
		return store.Record{ID: []byte(id), At: at.Add(time.Duration(offset) * time.Second),
			Origin: store.Position{TopicID: log, Offset: offset, LeaderEpoch: -1}}
	}
	// The other one committed offset 3, at that clock.
	err = ns.Update(func(b *store.Batch) error {
		if err := b.BeginRestore(store.Restore{To: 3, Until: at.Add(2 * time.Second)}); err != nil {
			return err
		}
		for i, id := range []string{"one", "two", "three"} { // in as many batches as one likes
			if _, err := b.Restore(record(id, int64(i))); err != nil {
				return err
			}
		}
		return b.EndRestore()
	})
	if err != nil {
		panic(err)
	}
	for i, id := range []string{"two", "four"} {
		d, err := ns.Do(record(id, int64(3+i)), nil)
		fmt.Println(id, d.Verdict, err)
	}
	m, _, _ := ns.Lookup([]byte("two"))
	fmt.Println(m.Origin.Offset, m.Restored)
	// Output:
	// two duplicate <nil>
	// four new <nil>
	// 1 true
}
