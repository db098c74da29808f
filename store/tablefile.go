package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

// tableWriter writes a segment's table into a file of its own: pages, filter,
// header, in that order, everything synced. The database ingests the file.
type tableWriter struct {
	s      *Store
	ns     uint32
	path   string
	w      *sstable.Writer // nil once closed
	facts  facts           // pages is set; what follows from the content is not yet
	filter *filter
	sum    ledger // of what was added
	key    []byte
}

// newTable begins the table of a segment with facts f. A file that could not be
// synced is never synced again, so every try has one of its own.
func (s *Store) newTable(ns uint32, f facts, try int) (*tableWriter, error) {
	t := &tableWriter{
		s: s, ns: ns, facts: f, filter: newFilter(make([]uint64, filterWords(f.live()))),
		path: s.fs.PathJoin(s.spillDir(), fmt.Sprintf("%08x-%016x-%d.sst", ns, f.num, try)),
	}
	file, err := s.fs.Create(t.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// Synced as it grows, so that its last sync does not delay the log's.
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: syncEvery})
	t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(file), s.tables)
	s.writing[t] = true
	return t, nil
}

// add enters a marker that is in the pages.
func (t *tableWriter) add(hash xxh3.Uint128, p ledger) {
	t.filter.add(hash)
	t.sum.add(p)
}

func (t *tableWriter) writeKey(part byte, index uint32, value []byte) error {
	t.key = tableKey(t.key[:0], t.ns, t.facts.num, part, index)
	return t.w.Set(t.key, value)
}

// end writes filter and header and syncs the file.
func (t *tableWriter) end() error {
	raw := appendWords(make([]byte, 0, len(t.filter.words)*8), t.filter.words)
	t.facts.words, t.facts.filterSum = uint32(len(t.filter.words)), xxh3.Hash(raw)
	for i := 0; i*chunkBytes < len(raw); i++ {
		chunk := raw[i*chunkBytes : min((i+1)*chunkBytes, len(raw))]
		if err := t.writeKey(partFilter, uint32(i), chunk); err != nil {
			return err
		}
	}
	if err := t.writeKey(partHeader, 0, t.facts.append(nil)); err != nil {
		return err
	}
	return t.close()
}

// sealed returns what answers for the table.
func (t *tableWriter) sealed() *sealed {
	return &sealed{pages: t.facts.pages, filter: t.filter, filterSum: t.facts.filterSum}
}

// failed gives the file up and returns err.
func (t *tableWriter) failed(err error) error { return errors.Join(err, t.remove()) }

// remove deletes the file.
func (t *tableWriter) remove() error {
	var err error
	if t.w != nil {
		err = t.close()
	}
	return errors.Join(err, t.s.fs.Remove(t.path))
}

func (t *tableWriter) close() error {
	w := t.w
	t.w = nil
	delete(t.s.writing, t)
	return w.Close()
}
