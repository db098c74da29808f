package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a directory is before anything in it is touched: a store, nothing yet, a
// checkpoint, or a copy of a store. A copy of a directory whose store was
// running holds parts of different moments, so it is refused; a copy is known
// by the inode of its directory, which is not the one that the store was made
// in. Moving a directory inside its file system keeps the inode.

// admit refuses what is not to be opened.
func admit(f vfs.FS, dir string) error {
	id, there, err := readIdentity(f, dir)
	if err != nil {
		return err
	}
	_, sealed, err := readSeal(f, dir)
	switch {
	case err != nil:
		return err
	case there && id.checkpoint && !sealed:
		return fmt.Errorf("%w: its seal is missing, so it was never finished; take another one", ErrUnsealed)
	case sealed && there && !id.checkpoint:
		return fmt.Errorf("%w: its adoption was cut short; call Adopt again", ErrSealed)
	case sealed:
		return fmt.Errorf("%w of store %v; Adopt it, which gives it a new store ID", ErrSealed, id.id)
	case there && id.copied(f, dir):
		return fmt.Errorf("%w %v: %s is not the directory that it was made in; to copy a store take a Checkpoint; "+
			"if it was closed when it was copied or moved, Adopt it with Unsealed", ErrCopied, id.id, dir)
	}
	return nil
}

// copied reports whether dir is not the directory that became the store.
func (i identity) copied(f vfs.FS, dir string) bool {
	now := inodeOf(f, dir)
	return i.inode != 0 && now != 0 && now != i.inode
}

// inodeOf returns the number of a directory in its file system, 0 when it has
// none.
func inodeOf(f vfs.FS, dir string) uint64 {
	fi, err := f.Stat(dir)
	if err != nil {
		return 0
	}
	return inode(fi.Sys())
}
