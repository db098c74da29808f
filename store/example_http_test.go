package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/firstseen/firstseen/store"
)

// How are the results served while they are made? From a View: it never waits for
// a handler, no batch waits for it, and it shows all of a batch or nothing. So
// money that one batch moves from one account to another is never in both, and
// never in none.
func Example_http() {
	st := inMemory()
	defer func() { check(st.Close()) }()
	accounts, err := st.Namespace("accounts", nil)
	check(err)
	_, err = accounts.Do(store.Record{ID: []byte("opening"), At: noon}, func(tx *store.Tx) error {
		_, err := tx.Add([]byte("ann"), 1000)
		return err
	})
	check(err)
	server := httptest.NewServer(balances(accounts))
	defer server.Close()

	consumed := make(chan error, 1)
	go func() { consumed <- transfer(accounts, 1000) }()
	wrong := 0
	for done := false; !done; { // at least once after the last batch
		select {
		case err := <-consumed:
			check(err)
			done = true
		default:
		}
		if b := ask(server.URL); b["ann"]+b["bob"] != 1000 {
			wrong++
		}
	}
	fmt.Println(wrong, "wrong answers")
	fmt.Println(ask(server.URL))
	// Output:
	// 0 wrong answers
	// map[ann:500 bob:500]
}

// balances answers with every account's balance, all as of one batch.
func balances(ns *store.Namespace) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all := map[string]int64{}
		err := ns.View(func(v *store.View) error {
			return v.Scan(nil, func(key, _ []byte) error {
				cents, err := v.Int(key)
				all[string(key)] = cents
				return err
			})
		})
		if err != nil {
			http.Error(w, "no balance just now", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // the client may have gone
	})
}

// transfer consumes orders to move a cent from Ann to Bob; every second one comes
// for the second time.
func transfer(ns *store.Namespace, orders int) error {
	for from := 0; from < orders; from += 10 {
		err := ns.Update(func(b *store.Batch) error {
			for i := from; i < from+10; i++ {
				r := store.Record{
					ID: fmt.Append(nil, i/2), At: noon.Add(time.Duration(i) * time.Second),
					Origin: store.Position{TopicID: store.ID{1}, Offset: int64(i)},
				}
				_, err := b.Do(r, func(tx *store.Tx) error {
					_, err := tx.Add([]byte("ann"), -1)
					_, err2 := tx.Add([]byte("bob"), 1)
					return errors.Join(err, err2)
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask is a client.
func ask(url string) (balances map[string]int64) {
	resp, err := http.Get(url)
	check(err)
	check(json.NewDecoder(resp.Body).Decode(&balances))
	check(resp.Body.Close())
	return balances
}
