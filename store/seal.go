package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// seal says that a checkpoint is whole. It is written last, when everything else
// in the checkpoint is durable, and removed last, when the checkpoint has become
// a store.
type seal struct {
	id      ID     // of the store
	open    ID     // the opening in which it was taken
	batches uint64 // that the checkpoint holds, at least: see Store.tally
	clock   int64  // ms; the highest clock of any namespace, 0 for none
}

const (
	sealFile = "SEAL"
	sealHead = "firstseen checkpoint, format "
	sealText = sealHead + "1\nid %32s\nopen %32s\nbatches %d\nclock %d\n"
)

func writeSeal(f vfs.FS, dir string, s seal) error {
	return replaceFile(f, f.PathJoin(dir, sealFile),
		signNote(fmt.Sprintf(sealText, s.id, s.open, s.batches, s.clock)))
}

// readSeal returns the seal of a directory, and whether it has one.
func readSeal(f vfs.FS, dir string) (s seal, there bool, err error) {
	note, there, err := readFile(f, f.PathJoin(dir, sealFile))
	if err != nil || !there {
		return s, false, err
	}
	if format := formatOf(note, sealHead); format > storeFormat {
		return s, true, unread("its seal", format, storeFormat)
	}
	text, whole := openNote(note)
	var id, open string
	n, _ := fmt.Sscanf(text, sealText, &id, &open, &s.batches, &s.clock)
	var fine, fineToo bool
	s.id, fine = parseID(id)
	s.open, fineToo = parseID(open)
	if !whole || n != 4 || !fine || !fineToo {
		return s, true, fmt.Errorf("%w: its seal is damaged; take another one", ErrUnsealed)
	}
	return s, true, nil
}

// tally returns the number of batches that all namespaces together have made
// durable, and the highest of their clocks. The number only goes up, so an older
// state of the store has a lower one.
func (s *Store) tally() (batches uint64, clock int64, err error) {
	s.mu.Lock()
	batches = s.record.gone // before the others: a namespace that is deleted meanwhile counts once at most
	s.mu.Unlock()
	err = s.scan([]byte{kindHead}, func(_, value []byte) error {
		h, ok := parseHead(value)
		if !ok {
			return unparsed("the head of a namespace", value, headFormat)
		}
		batches += h.sequence
		clock = max(clock, h.reached().now)
		return nil
	})
	return batches, clock, err
}
