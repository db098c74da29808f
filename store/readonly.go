package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// A store that is opened to look into it (Options.ReadOnly) is opened as any
// other one, without what writes: nothing is made, mended, signed or removed, no
// ballast and no witness is kept, and nothing is done in the background. What an
// opening would finish that a crash has left is read as it stands, which loading
// a namespace can, and stays for the next one.

// find is prepare for a store that is only looked into: it has to be there.
func (s *Store) find() (id ID, err error) {
	s.readOnly, s.still = true, true
	if s.maxTables, err = tablesFor(openFiles()); err != nil {
		return id, unfit([]error{err})
	}
	if err := s.witness.expect(s.fs, s.dir); err != nil {
		return id, err
	}
	i, err := s.present()
	if err != nil {
		return id, err
	}
	if err := admit(s.fs, s.dir); err != nil {
		return id, err
	}
	return i.id, s.lockThere()
}

// present returns what a directory is that has to be a store, or a checkpoint.
func (s *Store) present() (id identity, err error) {
	name, err := foreign(s.fs, s.dir)
	if err != nil {
		return id, err
	}
	if name != "" {
		return id, fmt.Errorf("%w: it holds %q, so it is no store; give the directory of one", ErrFormat, name)
	}
	id, there, err := readIdentity(s.fs, s.dir)
	if err == nil && !there {
		err = fmt.Errorf("%w: there is no %s, so it is no store; give the directory of one", ErrFormat, identityFile)
	}
	return id, err
}

// lockThere locks a database that has to be there.
func (s *Store) lockThere() (err error) {
	data := s.fs.PathJoin(s.dir, dataDir)
	s.lock, err = pebble.LockDirectory(data, s.fs)
	if s.readOnly && errors.Is(err, syscall.EROFS) {
		s.lock, err = pebble.LockDirectory(data, mounted{s.fs})
	}
	if errors.Is(err, fs.ErrNotExist) {
		return corruptf("its directory %s is gone", dataDir)
	}
	return err
}

// rest takes the place of what works in the background: Close waits for nothing
// but the calls in progress.
func (s *Store) rest() {
	s.working = true
	close(s.queue.done)
	close(s.witness.done)
	close(s.disk.done)
}

// writable refuses a deed, said in a few words, on a store that is only looked
// into.
func (s *Store) writable(deed string, args ...any) error {
	if !s.opts.ReadOnly {
		return nil
	}
	return fmt.Errorf("%w: %s; open it without ReadOnly", ErrReadOnly, fmt.Sprintf(deed, args...))
}
