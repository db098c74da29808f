package store_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// message is what a source that is not Kafka hands out: a file of lines, a table
// of events, the queue of another broker. All that a store needs of it is an ID,
// a time, and a number that only grows and by which it can be read again.
type message struct {
	id    string
	at    time.Duration // since noon
	cents int64
}

// How is another source than Kafka consumed? Read from Status.Position on, hand
// Update an ID, a time and a position, and acknowledge to the source, if it wants
// that, what Update has returned for.
//
// Kafka remembers how far a consumer has come. Without it, a store that was
// rolled back (an old disk image, a backup copied over it) would be believed: keep
// Options.Witness on another disk, or note Status.Sequence where the results go,
// and hand it to Namespace.Witnessed before the first batch.
func Example_withoutKafka() {
	source := []message{
		{"p-1", 0, 500}, {"p-2", 1 * time.Second, 250},
		{"p-1", 2 * time.Second, 500}, // sent twice
		{"p-3", 3 * time.Second, 100}, {"p-2", 4 * time.Second, 250},
	}
	top, err := os.MkdirTemp("", "firstseen")
	check(err)
	defer func() { check(os.RemoveAll(top)) }()
	dir := filepath.Join(top, "payments")

	errStopped := errors.New("the process was stopped")
	noted, err := consume(dir, source, 0, func(m message) error {
		if m.id == "p-3" {
			return errStopped
		}
		return nil
	})
	fmt.Println(errors.Is(err, errStopped), "batches:", noted)
	noted, err = consume(dir, source, noted, func(message) error { return nil })
	fmt.Println(err, "batches:", noted)
	// Output:
	// from 0
	// p-1 total 500
	// p-2 total 750
	// true batches: 1
	// from 2
	// p-3 total 850
	// <nil> batches: 3
}

// consume handles what of the source was not handled yet, two messages a batch.
// It returns the sequence of the newest durable batch, to be noted elsewhere.
func consume(dir string, source []message, noted uint64, handle func(message) error) (_ uint64, err error) {
	st, err := store.Open(dir, nil) // the witness is the file "payments.witness" beside it
	if err != nil {
		return noted, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ns, err := st.Namespace("payments", &store.NamespaceOptions{Window: window.Day})
	if err != nil {
		return noted, err
	}
	if err := ns.Witnessed(noted); err != nil {
		return noted, err // older than what was noted: never go on from there
	}
	status, err := ns.Status()
	if err != nil {
		return noted, err
	}
	topic := sha256.Sum256([]byte("the source's name")) // it has no ID of its own
	log := store.Position{TopicID: store.ID(topic[:16])}
	next := status.Position.Offset
	fmt.Println("from", next)
	for int(next) < len(source) {
		end := min(int(next)+2, len(source))
		err := ns.Update(func(b *store.Batch) error {
			for i, m := range source[next:end] {
				at := log
				at.Offset = next + int64(i)
				r := store.Record{ID: []byte(m.id), At: noon.Add(m.at), Origin: at}
				_, err := b.Do(r, func(tx *store.Tx) error {
					if err := handle(m); err != nil {
						return err
					}
					total, err := tx.Add([]byte("total"), m.cents)
					fmt.Println(m.id, "total", total)
					return err
				})
				if err != nil {
					return err // nothing of the batch remains
				}
			}
			return nil
		})
		if err != nil {
			return noted, err
		}
		if status, err = ns.Status(); err != nil {
			return noted, err
		}
		next, noted = status.Position.Offset, status.Sequence
	}
	return noted, nil
}
