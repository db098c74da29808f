package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// What Repair takes out of a store goes into files, one a segment, for whoever
// wants to know what was lost:
//
//	ns-00000001-segment-0000000000010000.raw
//
//	+---------------+-----+-----------------+-------+
//	| uvarint(len)  | key | uvarint(len)    | value |   again and again
//	+---------------+-----+-----------------+-------+
//
// Keys and values are those of the store: its catalogue entry, its runs, its
// pages, in that order. What cannot be read is left out.

// keep copies what a plan sets aside into files.
func (r *repairs) keep(p *plan) error {
	for _, g := range p.aside {
		if err := makeDir(r.s.fs, r.opts.Quarantine); err != nil {
			return err
		}
		path := r.s.fs.PathJoin(r.opts.Quarantine, fmt.Sprintf("ns-%08x-segment-%016x.raw", p.num, g.num))
		f, err := r.s.fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			return err
		}
		w := &pieces{Writer: bufio.NewWriterSize(f, syncEvery)}
		for _, kind := range []byte{kindCat, kindRun, kindPage, kindShared} {
			r.copyReadable(w, segKey(kind, p.num, g.num))
		}
		if err = errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
			return err
		}
		if w.keys > 0 {
			p.inFile[g.num] = path
		} else if err := r.s.fs.Remove(path); err != nil {
			return err
		}
		if err := syncDir(r.s.fs, r.opts.Quarantine); err != nil {
			return err
		}
	}
	return nil
}

// pieces is a file of keys and values. What a write met is told by Flush.
type pieces struct {
	*bufio.Writer
	keys    int
	scratch []byte
}

func (w *pieces) add(key, value []byte) {
	w.scratch = appendPrefixed(appendPrefixed(w.scratch[:0], key), value)
	_, _ = w.Write(w.scratch)
	w.keys++
}

// triesMost bounds how often it is tried to read behind what cannot be read.
const triesMost = 100

// copyReadable copies the keys with a prefix that can be read. Behind one that
// cannot, it tries where the next block may begin: a few pages on.
func (r *repairs) copyReadable(w *pieces, prefix []byte) {
	from := slices.Clone(prefix)
	for tries := 0; from != nil && tries < triesMost; tries++ {
		last := from
		err := guarded(func() error {
			it, err := r.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
			if err != nil {
				return err
			}
			defer func() { _ = it.Close() }() // its error was met by the step that met it
			for ok := it.First(); ok; ok = it.Next() {
				value, err := it.ValueAndErr()
				if err != nil {
					return err
				}
				w.add(it.Key(), value)
				last = slices.Clone(it.Key())
			}
			return it.Error()
		})
		if err == nil {
			return
		}
		from = beyond(last)
	}
}

// beyond returns a key of the same table a little behind one of its pages, nil
// when the key is not a page's.
func beyond(key []byte) []byte {
	if len(key) < 13 || key[0] != kindPage && key[0] != kindShared {
		return nil
	}
	page := uint32(0)
	if len(key) == 18 {
		if key[13] != partPage {
			return nil
		}
		page = binary.BigEndian.Uint32(key[14:])
	}
	const step = 4
	if page > 1<<31 {
		return nil
	}
	next := append(slices.Clone(key[:13]), partPage)
	return binary.BigEndian.AppendUint32(next, page+step)
}
