package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Checkpoint makes a picture of the store in dir, while it runs: every batch
// that was durable when Checkpoint was called is in it, later ones may be. dir
// must not exist, and must lie on the file system of the store: tables are
// linked, not copied, so it takes little time and, at first, little space.
// Directories get mode 0700, files 0600.
//
// The picture is no store yet. Open refuses it with ErrSealed; copy it to
// wherever it is to be kept, and Adopt it where it is to run.
//
// Batches go on meanwhile; tables are neither written into the database nor
// removed from it until it ends. A second Checkpoint waits for the first. When
// ctx ends, so does Checkpoint, at its next step. Whatever its error, it leaves
// nothing behind; but for a crash, after which DIR.unsealed may be left, which
// the next Checkpoint to the same place removes.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	if err := s.writable("no checkpoint is taken"); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.opts.InMemory {
		s.leave()
		return errors.New("store: checkpoint: the store is in memory; open it in a directory")
	}
	c := &checkpoint{s: s, ctx: ctx, dir: filepath.Clean(dir), at: filepath.Clean(dir) + unsealedSuffix}
	ended := make(chan error, 1)
	go func() {
		defer s.leave()
		ended <- guarded(c.take)
	}()
	var err error
	select {
	case err = <-ended:
	case <-s.fault.done:
		err = s.fault.get()
	case <-ctx.Done():
		// The step in progress ends by itself, unless the disk hangs.
		select {
		case err = <-ended:
		case <-s.fault.done:
			err = s.fault.get()
		case <-time.After(s.opts.CommitTimeout):
			err = ctx.Err()
		}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrPoisoned) {
		s.fault.set(err)
	}
	if errors.Is(err, ErrClosed) {
		return err
	}
	switch {
	case unwritable(err):
		err = fmt.Errorf("%w; give a directory where this user can write", err)
	case noRoom(err):
		err = fmt.Errorf("%w; make room, then take it again", err)
	}
	return fmt.Errorf("store: checkpoint to %s: %w", dir, trimmed(err))
}

// unsealedSuffix names a checkpoint that is not finished, beside its place.
const unsealedSuffix = ".unsealed"

// checkpoint is one call of Checkpoint.
type checkpoint struct {
	s    *Store
	ctx  context.Context
	dir  string // where it is to be
	at   string // where it is now
	seal seal
}

func (c *checkpoint) take() (err error) {
	if err := c.s.lockTables(c.ctx); err != nil {
		return err
	}
	defer c.s.unlockTables()
	if err := c.room(); err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		if left := c.s.fs.RemoveAll(c.at); !unwritable(err) {
			err = errors.Join(err, left) // where nothing can be made nothing is left
		}
	}()
	for _, step := range []func() error{c.begin, c.database, c.close, c.tighten, c.publish} {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.s.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// room makes sure that nothing is in the way.
func (c *checkpoint) room() error {
	f := c.s.fs
	if within(c.s.dir, c.dir) {
		return errors.New("it lies inside the store; give a directory beside it")
	}
	if _, err := f.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("%w; give a directory that does not exist", fs.ErrExist))
	}
	if _, err := f.Stat(c.at); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if id, there, err := readIdentity(f, c.at); err != nil {
		return err
	} else if name, err := foreign(f, c.at); err != nil || name != "" || there && !id.checkpoint {
		return errors.Join(err, fmt.Errorf("%s is in the way, and is no checkpoint that was cut short; remove it", c.at))
	}
	return f.RemoveAll(c.at) // a crash left it
}

// begin makes the directory. It says that it is no store before anything else
// is in it.
func (c *checkpoint) begin() (err error) {
	f := c.s.fs
	if err := makeDir(f, c.at); err != nil {
		return err
	}
	if err := writeIdentity(f, c.at, identity{id: c.s.id, checkpoint: true}); err != nil {
		return err
	}
	// Pebble would copy where it cannot link, for as long as that takes.
	probe := f.PathJoin(c.at, sealFile+tmpSuffix)
	if err := f.Link(f.PathJoin(c.s.dir, identityFile), probe); err != nil {
		return fmt.Errorf("%w; a checkpoint needs hard links: give a directory on the file system of the store", err)
	}
	if err := f.Remove(probe); err != nil {
		return err
	}
	c.seal = seal{id: c.s.id, open: c.s.openID}
	c.seal.batches, c.seal.clock, err = c.s.tally()
	return err
}

// database takes what is Pebble's. The log is flushed before: what the seal counts
// may be a batch that is being written, and not yet in the file.
func (c *checkpoint) database() (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case runtime.Error, fatal:
			panic(r)
		case error:
			err = r // a marker file in the checkpoint could not be synced: the store has no part in it
		default:
			panic(r)
		}
	}()
	return c.s.db.Checkpoint(c.s.fs.PathJoin(c.at, dataDir), pebble.WithFlushedWAL())
}

// tighten gives everything to its owner alone. Tables are shared with the store.
func (c *checkpoint) tighten() error {
	if vfs.Root(c.s.fs) != vfs.Default {
		return nil // only a file system of the operating system has modes
	}
	return filepath.WalkDir(c.at, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		default:
			return os.Chmod(path, 0o600)
		}
	})
}

func (c *checkpoint) close() error { return writeSeal(c.s.fs, c.at, c.seal) }

// publish puts it where it is to be.
func (c *checkpoint) publish() error {
	if err := c.s.fs.Rename(c.at, c.dir); err != nil {
		return err
	}
	c.at = c.dir
	return syncDir(c.s.fs, c.s.fs.PathDir(c.dir))
}

// within reports whether path is dir or lies below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(absolute(dir), absolute(path))
	return err == nil && filepath.IsLocal(rel)
}

// absolute returns path as it is from the root.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
