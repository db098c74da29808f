package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/firstseen/firstseen/store"
)

// Look into a store that nobody has open, and leave it as it is.
func ExampleOptions_readOnly() {
	above, err := os.MkdirTemp("", "firstseen")
	check(err)
	defer func() { check(os.RemoveAll(above)) }()
	dir := filepath.Join(above, "orders")
	st, err := store.Open(dir, nil)
	check(err)
	orders, err := st.Namespace("orders", nil)
	check(err)
	_, err = orders.Do(store.Record{ID: []byte("o-1"), At: noon}, nil)
	check(errors.Join(err, st.Close()))

	st, err = store.Open(dir, &store.Options{ReadOnly: true})
	check(err)
	defer func() { check(st.Close()) }()
	orders, err = st.Namespace("orders", nil)
	check(err)
	_, found, err := orders.Lookup([]byte("o-1"))
	fmt.Println(found, err)
	_, err = orders.Forget([]byte("o-1"))
	fmt.Println(err)
	// Output:
	// true <nil>
	// store: opened read-only: namespace "orders" takes no batch; open it without ReadOnly
}
