package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

// Small text files beside the database. A crash leaves the one before or the
// one after, never half of one.

const (
	tmpSuffix = ".tmp"
	noteMost  = 1 << 10 // bytes
)

// replaceFile makes text the content of the file path, durably.
func replaceFile(f vfs.FS, path, text string) error {
	tmp := path + tmpSuffix
	w, err := f.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		return err
	}
	if err := f.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(f, f.PathDir(path))
}

// readFile returns the content of the file path, and whether it is there.
func readFile(f vfs.FS, path string) (text string, there bool, err error) {
	r, err := f.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if fi, err := r.Stat(); err == nil && fi.IsDir() {
		return "", false, errors.Join(corruptf("%s is a directory, and no file", path), r.Close())
	}
	b, err := io.ReadAll(io.LimitReader(r, noteMost))
	if err = errors.Join(err, r.Close()); err != nil {
		return "", false, err
	}
	return string(b), true, nil
}

// note is a text with its checksum: what a store says of itself outside its
// database. A bit that flipped in it must not be believed.
//
//	firstseen witness, format 1
//	...
//	sum 0123456789abcdef
func signNote(text string) string { return fmt.Sprintf("%ssum %016x\n", text, xxh3.HashString(text)) }

// openNote returns a note's text without its checksum, and whether it is whole.
func openNote(note string) (text string, ok bool) {
	at := strings.LastIndex(strings.TrimSuffix(note, "\n"), "\n") + 1
	return note[:at], signNote(note[:at]) == note
}
