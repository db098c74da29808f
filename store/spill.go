package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

const (
	pageMarkers = 64       // a page holds between 32 and 64 markers on average
	chunkBytes  = 32 << 10 // of the filter, per key
	syncEvery   = 512 << 10
)

// pagesFor returns the number of pages of n markers, a power of two.
func pagesFor(n uint64) uint32 {
	pages := uint32(1)
	for uint64(pages)*pageMarkers < n {
		pages *= 2
	}
	return pages
}

// spill writes the table of a frozen segment into the file path: pages, filter,
// header, everything synced. It fails, and leaves no file, unless what it wrote
// proves to be what the segment accepted.
func (s *segment) spill(fs vfs.FS, path string, ns uint32, secret uint64, opts sstable.WriterOptions) (*sealed, error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	// Synced as it grows, so that its last sync does not delay the log's.
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: syncEvery})
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), opts)
	t, err := s.writeTable(w, ns, secret)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, fs.Remove(path))
	}
	return t, nil
}

func (s *segment) writeTable(w *sstable.Writer, ns uint32, secret uint64) (*sealed, error) {
	t := &sealed{pages: pagesFor(s.live()), filter: newFilter(make([]uint64, filterWords(s.live())))}
	places, ends := s.exact.byPage(t.pages)
	var key, page []byte
	var sum ledger
	var warm byte
	from := 0
	for p := range t.pages {
		page = page[:0]
		for _, place := range places[from:ends[p]] {
			warm += s.exact.arena.at(place)[0] // a page's cache misses overlap
		}
		for _, place := range places[from:ends[p]] {
			e := s.exact.arena.at(place)
			n, m, size := s.base.parse(e)
			if size == 0 {
				return nil, corruptf("segment %d: an entry in memory does not parse", s.num)
			}
			id := keyed(e[:n], secret)
			sum.add(proof(id.hash, m.first, m.origin.Offset, s.seed))
			t.filter.add(id.hash)
			page = append(page, e[:size]...)
		}
		runtime.KeepAlive(warm)
		from = int(ends[p])
		key = tableKey(key[:0], ns, s.num, partPage, p)
		if err := w.Set(key, page); err != nil {
			return nil, err
		}
	}
	if sum.add(s.superseded); sum != s.all {
		return nil, corruptf("segment %d: its markers in memory are not the ones it accepted", s.num)
	}
	raw := appendWords(nil, t.filter.words)
	t.filterSum = xxh3.Hash(raw)
	for i := 0; i*chunkBytes < len(raw); i++ {
		chunk := raw[i*chunkBytes : min((i+1)*chunkBytes, len(raw))]
		if err := w.Set(tableKey(nil, ns, s.num, partFilter, uint32(i)), chunk); err != nil {
			return nil, err
		}
	}
	facts := s.facts
	facts.pages, facts.words, facts.filterSum = t.pages, uint32(len(t.filter.words)), t.filterSum
	return t, w.Set(tableKey(nil, ns, s.num, partHeader, 0), facts.append(nil))
}

// byPage returns the places of the entries that still stand, page after page,
// and where each page ends. A slot's tag tells its page: no entry is read.
func (x *exact) byPage(pages uint32) (places, ends []uint32) {
	ends = make([]uint32, pages)
	pageOfSlot := func(s uint64) uint32 { return pageOf(s, pages) }
	for _, s := range x.table.slots {
		if s != 0 {
			ends[pageOfSlot(s)]++
		}
	}
	total := uint32(0)
	for p := range ends {
		n := ends[p]
		ends[p] = total // where it starts, for now
		total += n
	}
	places = make([]uint32, total)
	for _, s := range x.table.slots {
		if s != 0 {
			p := pageOfSlot(s)
			places[ends[p]] = placeOf(s)
			ends[p]++
		}
	}
	return places, ends
}

func appendWords(dst []byte, words []uint64) []byte {
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// wordsOf reads a filter as it was stored and checks it: one flipped bit in a
// filter would make members unknown.
func (f *facts) wordsOf(raw []byte) ([]uint64, error) {
	if len(raw) != int(f.words)*8 || xxh3.Hash(raw) != f.filterSum {
		return nil, corruptf("segment %d: its filter is not the one that was written", f.num)
	}
	words := make([]uint64, f.words)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[i*8:])
	}
	return words, nil
}

func spillName(ns uint32, seg uint64, try int) string {
	return fmt.Sprintf("%08x-%016x-%d.sst", ns, seg, try)
}
