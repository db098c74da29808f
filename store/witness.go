package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A store that was rolled back as a whole (an older copy of its directory, a
// snapshot of its volume) is consistent, and proves itself. Only somebody
// outside can tell: the witness, a file that says how far the store had come.
//
//	firstseen witness, format 1
//	id 0123456789abcdef0123456789abcdef
//	open 0123456789abcdef0123456789abcdef
//	opening 17
//	batches 4711
//	sum 0123456789abcdef
//
// It is written when the store is opened, every five seconds in which it has
// come further, and when it is closed; each time only about what is durable. So
// a store below its witness was rolled back, without exception.
type witness struct {
	path string // "": none is kept
	told bool   // the path was asked for
	last sighting
	done chan struct{} // closed when nothing more is written
	err  error         // of the last writing; read after done
}

// sighting is how far a store had come.
type sighting struct {
	id      ID
	open    ID     // the newest opening,
	opening uint64 // and how many there were
	batches uint64 // see Store.tally
}

const (
	witnessSuffix = ".witness"
	witnessNone   = "-"
	witnessHead   = "firstseen witness, format "
	witnessText   = witnessHead + "1\nid %32s\nopen %32s\nopening %d\nbatches %d\n"
	witnessEvery  = 5 * time.Second
)

func newWitness(s *Store) *witness {
	w := &witness{path: s.opts.Witness, told: s.opts.Witness != "", done: make(chan struct{})}
	switch {
	case s.opts.InMemory, w.path == witnessNone:
		w.path = ""
	case !w.told && vfs.Root(s.fs) == vfs.Default:
		w.path = absolute(s.dir) + witnessSuffix // also for "."
	case !w.told:
		w.path = s.dir + witnessSuffix
	}
	return w
}

// expect refuses to begin a new store where one was seen: it may not be there
// because its disk is not.
func (w *witness) expect(f vfs.FS, dir string) error {
	if w.path == "" {
		return nil
	}
	if within(dir, w.path) {
		return fmt.Errorf("store: Witness is %s, which is inside the store; give a path outside it", w.path)
	}
	if vfs.Root(f) == vfs.Default {
		// To be written it is replaced, and a link would be, instead of what it names.
		if fi, err := os.Lstat(w.path); err == nil && fi.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: the witness %s is a symbolic link; remove it, or set Options.Witness to where it leads",
				ErrUnfit, w.path)
		}
	}
	seen, there, err := w.read(f)
	if err != nil || !there {
		return err
	}
	if _, store, err := readIdentity(f, dir); err != nil || store {
		return err
	}
	return fmt.Errorf("%w: there is no store, %s saw store %v with %d batches; bring its directory back, "+
		"or delete the witness to start cold", ErrRolledBack, w.path, seen.id, seen.batches)
}

// judge compares the open store with what was seen of it.
func (w *witness) judge(s *Store) error {
	if w.path == "" {
		return nil
	}
	batches, _, err := s.tally()
	if err != nil {
		return err
	}
	s.batches.Store(batches)
	seen, there, err := w.read(s.fs)
	if err != nil || !there {
		return err
	}
	if what := seen.beyond(s); what != "" {
		return fmt.Errorf("%w: %s by %s; bring the newer directory back, or Adopt this one with Unsealed",
			ErrRolledBack, what, w.path)
	}
	return nil
}

// beyond says what of a sighting the store does not know, "" when there is
// nothing.
func (g sighting) beyond(s *Store) string {
	switch batches := s.batches.Load(); {
	case g.id != s.id && s.IsOurs(g.id):
		return "" // it was adopted since
	case g.id != s.id:
		return fmt.Sprintf("it is store %v, and store %v was seen", s.id, g.id)
	case g.batches > batches:
		return fmt.Sprintf("it holds %d batches, and %d were seen", batches, g.batches)
	case !g.remembered(s):
		return fmt.Sprintf("it does not know its opening %d, %v, which was seen", g.opening, g.open)
	}
	return ""
}

// remembered reports whether the store knows the opening. One that is too long
// ago for it to know is believed.
func (g sighting) remembered(s *Store) bool {
	if g.opening > s.openings {
		return false
	}
	back := s.openings - g.opening
	return back >= uint64(len(s.opens)) || s.opens[uint64(len(s.opens))-1-back] == g.open
}

// begin writes the first sighting of this opening and starts to go on.
func (w *witness) begin(s *Store) error {
	if w.path == "" {
		close(w.done)
		return nil
	}
	err := w.see(s)
	switch {
	case err == nil:
		go w.run(s)
		return nil
	case w.told:
		return fmt.Errorf("witness: %w; give a path that can be written to, or %q for none", err, witnessNone)
	}
	s.opts.Logger.Warn("store without a witness: set Options.Witness to a path that can be written to",
		"path", w.path, "err", err)
	w.path = ""
	close(w.done)
	return nil
}

// run keeps the witness until Close, whose calls in progress end first.
func (w *witness) run(s *Store) {
	defer close(w.done)
	tick := time.NewTicker(witnessEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := w.see(s); err != nil {
				s.opts.Logger.Warn("the witness is not kept up", "path", w.path, "err", err)
			}
		case <-s.closing:
			<-s.idle
			w.err = w.see(s)
			return
		}
	}
}

// see writes how far the store has come, unless that is what was written last.
func (w *witness) see(s *Store) error {
	now := sighting{id: s.id, open: s.openID, opening: s.openings, batches: s.batches.Load()}
	if now == w.last {
		return nil
	}
	err := replaceFile(s.fs, w.path,
		signNote(fmt.Sprintf(witnessText, now.id, now.open, now.opening, now.batches)))
	if err == nil {
		w.last = now
	}
	return err
}

// read returns what was seen last, and whether there is a witness.
func (w *witness) read(f vfs.FS) (g sighting, there bool, err error) {
	note, there, err := readFile(f, w.path)
	if errors.Is(err, ErrCorrupt) {
		return g, true, w.damaged()
	}
	if errors.Is(err, fs.ErrPermission) && !w.told {
		return g, false, nil // begin says that there is none
	}
	if err != nil || !there {
		return g, false, err
	}
	if format := formatOf(note, witnessHead); format > storeFormat {
		return g, true, unread("the witness "+w.path, format, storeFormat)
	}
	text, whole := openNote(note)
	var id, open string
	n, _ := fmt.Sscanf(text, witnessText, &id, &open, &g.opening, &g.batches)
	var fine, fineToo bool
	g.id, fine = parseID(id)
	g.open, fineToo = parseID(open)
	if !whole || n != 4 || !fine || !fineToo {
		return g, true, w.damaged()
	}
	return g, true, nil
}

func (w *witness) damaged() error {
	return fmt.Errorf("%w: the witness %s is damaged; make sure that the store is the newest there is, "+
		"then delete the witness", ErrCorrupt, w.path)
}

// Witnessed tells the namespace the sequence of a batch that the caller knows to
// be durable: the Status.Sequence that it had noted elsewhere, outside the
// store. It returns ErrRolledBack when the namespace has not come that far, for
// it has lost batches that were acknowledged, and nil otherwise. Call it before
// the first batch. (For Kafka the tag of a committed offset does this.)
func (n *Namespace) Witnessed(seq uint64) error {
	st, err := n.Status()
	if err != nil || st.Sequence >= seq {
		return err
	}
	return fmt.Errorf("%w: namespace %q stands at batch %d, batch %d was acknowledged; bring the newer directory back, "+
		"or Adopt this one with Unsealed", ErrRolledBack, n.name, st.Sequence, seq)
}
