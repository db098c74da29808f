package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// tableWriter writes a segment's table into a file of its own: pages, filter,
// header, in that order, everything synced. The database ingests the file.
type tableWriter struct {
	tableContent
	s    *Store
	path string
	w    *sstable.Writer // nil once closed
}

// newTable begins the table of a segment with facts f. Every try has a file of its
// own: one that could not be synced is never synced again, and a merge that is over
// may still have to remove its file when the next one of the same segments writes.
func (s *Store) newTable(ns uint32, f facts) (*tableWriter, error) {
	s.written++
	t := &tableWriter{
		tableContent: newTableContent(ns, f), s: s,
		path: s.fs.PathJoin(s.spillDir(), fmt.Sprintf("%08x-%016x-%d.sst", ns, f.num, s.written)),
	}
	file, err := s.fs.Create(t.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// Synced as it grows, so that its last sync does not delay the log's.
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: syncEvery})
	t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(file), s.tables)
	t.put = t.w.Set
	s.writing[t] = true
	return t, nil
}

// end writes filter and header and syncs the file.
func (t *tableWriter) end() error {
	if err := t.writeFilter(); err != nil {
		return err
	}
	if err := t.writeKey(partHeader, 0, t.facts.append(nil)); err != nil {
		return err
	}
	return t.close()
}

// failed gives the file up and returns err.
func (t *tableWriter) failed(err error) error { return errors.Join(err, t.remove()) }

// remove deletes the file. What could not be written to it does not matter any
// more.
func (t *tableWriter) remove() error {
	if t.w != nil {
		_ = t.close()
	}
	return t.s.fs.Remove(t.path)
}

func (t *tableWriter) close() error {
	w := t.w
	t.w = nil
	delete(t.s.writing, t)
	return w.Close()
}
