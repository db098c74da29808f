package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	tablesOpen  = 1000 // tables that are kept open, when the process may
	tablesLeast = 100
	// filesSpare are the descriptors that are not for such tables: a hundred for
	// those that wait to be closed, the others for logs, manifest, tables that are
	// being written, and what else the process has open.
	filesSpare = 200
)

// preflight finds, before anything is written, what would stop the store later
// on or let other users into it. It returns how many tables may be open.
//
// The rights of what the store has made itself are mended, those of its own
// directory only while it is empty: a directory that others could write to may
// hold what they have put there.
func (s *Store) preflight() (tables int, err error) {
	if s.opts.InMemory {
		return tablesOpen, nil
	}
	if fi, err := s.fs.Stat(s.dir); err == nil && !onDisk(fi) {
		return tablesOpen, nil
	}
	tables, short := tablesFor(openFiles())
	faults := []error{short}
	names, err := s.fs.List(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return tables, unfit(faults)
	} else if err != nil {
		return 0, err
	}
	faults = append(faults, checkDir(s.dir, len(names) == 0))
	for _, name := range names {
		path := s.fs.PathJoin(s.dir, name)
		fault := checkOwn(path)
		faults = append(faults, fault)
		if name != dataDir || fault != nil {
			continue
		}
		files, err := s.fs.List(path)
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			if fault := checkOwn(s.fs.PathJoin(path, file)); fault != nil {
				faults = append(faults, fault)
				break // its like would follow by the thousand
			}
		}
	}
	return tables, unfit(faults)
}

func unfit(faults []error) error {
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("%w: %w", ErrUnfit, err)
	}
	return nil
}

// tablesFor returns how many tables may be open in a process that may open so
// many files.
func tablesFor(files uint64) (int, error) {
	if files < tablesLeast+filesSpare {
		return 0, fmt.Errorf("the process may open %d files, the store needs %d; raise the limit "+
			"(ulimit -n, LimitNOFILE= of systemd)", files, tablesLeast+filesSpare)
	}
	return int(min(files-filesSpare, tablesOpen)), nil
}

// fileOnly refuses a directory that stands where the store makes a file of its own.
func fileOnly(f vfs.FS, path string) error {
	if fi, err := f.Stat(path); err == nil && fi.IsDir() {
		return fmt.Errorf("%w: %s is a directory, and a file of the store has to be there; move it away", ErrUnfit, path)
	}
	return nil
}

// checkOwn refuses what is not the store's own file or directory, and takes the
// rights of others from what is.
func checkOwn(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // gone meanwhile
	case err != nil:
		return err
	case fi.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; put the file itself there, or mount the other disk", path)
	case !fi.Mode().IsRegular() && !fi.IsDir():
		return fmt.Errorf("%s is neither a file nor a directory; remove it", path)
	}
	if err := checkOwner(path, fi); err != nil {
		return err
	}
	if mode := fi.Mode().Perm(); mode&0o077 != 0 {
		return os.Chmod(path, mode&^0o077)
	}
	return nil
}

// checkDir refuses a store's directory that others own or may write to.
func checkDir(path string, empty bool) error {
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := checkOwner(path, fi); err != nil {
		return err
	}
	switch others := fi.Mode().Perm() & 0o022; {
	case fi.Mode()&fs.ModeSticky != 0 && others != 0:
		return fmt.Errorf("%s is everybody's; give a directory of its own below it", path)
	case empty:
		return os.Chmod(path, 0o700)
	case others != 0:
		return fmt.Errorf("%s may be written by other users (mode %v); chmod go-w it, and make sure that they have not",
			path, fi.Mode().Perm())
	}
	return nil
}

// probe makes sure that files can be made, written, synced and removed. One that
// a crash leaves behind is replaced by the next.
func (s *Store) probe() error {
	path := s.fs.PathJoin(s.dir, dataDir, "probe")
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte("probe"))
	return errors.Join(err, f.Sync(), f.Close(), s.fs.Remove(path))
}
