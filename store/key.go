package store

import "encoding/binary"

// On-disk keys. The first byte is the kind, in an order that keeps the tables
// of markers apart from everything that lives in a memtable: no flushed file
// spans them, so Ingest puts them into the bottom level at once.
//
//	+------+-----------+------------------------------------------------+
//	| kind | namespace | rest                                           |
//	| 1 B  | 4 B BE    |                                                |
//	+------+-----------+------------------------------------------------+
//	  page   ns          segment 8 B BE | part 1 B | index 4 B BE
//	  cat    ns          segment 8 B BE
//	  run    ns          segment 8 B BE | sequence 8 B BE
//	  head   ns
//	  out    ns          batch 8 B BE | index among its outputs 4 B BE
//	  store  -
//	  name   -           the namespace's name
//	  state  ns          the user's key
//	  row    ns
//	  dead   ns          segment 8 B BE, or nothing: the whole namespace
//	  opens  -
//	  ages   ns
//	  sweeps ns
//	  shared ns          segment 8 B BE | part 1 B | index 4 B BE
//
// Every part but the last has a fixed width, so no two keys are equal unless
// all their parts are (injective), and keys of one namespace or segment are
// one range in number order (big endian).
const (
	kindPage   = 0x01
	kindCat    = 0x02
	kindRun    = 0x03
	kindHead   = 0x04
	kindOut    = 0x05
	kindStore  = 0x06
	kindName   = 0x07
	kindState  = 0x08
	kindRow    = 0x09
	kindDead   = 0x0a
	kindOpens  = 0x0b
	kindAges   = 0x0c
	kindSweeps = 0x0d
	kindShared = 0x0e
)

// spaceKinds are the kinds of which a namespace has keys, but for its tables,
// tableKinds those of its tables.
var (
	spaceKinds = []byte{kindCat, kindRun, kindHead, kindOut, kindState, kindRow, kindAges, kindSweeps}
	tableKinds = []byte{kindPage, kindShared}
)

// The parts of a segment's table, in key order.
const (
	partPage   = 0x00
	partFilter = 0x01
	partHeader = 0x02
)

func nsKey(kind byte, ns uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, ns)
}

func segKey(kind byte, ns uint32, seg uint64) []byte {
	return binary.BigEndian.AppendUint64(nsKey(kind, ns), seg)
}

func runKey(ns uint32, seg, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(segKey(kindRun, ns, seg), seq)
}

func tableKey(dst []byte, ns uint32, seg uint64, part byte, index uint32) []byte {
	dst = append(dst, kindPage)
	dst = binary.BigEndian.AppendUint32(dst, ns)
	dst = binary.BigEndian.AppendUint64(dst, seg)
	dst = append(dst, part)
	return binary.BigEndian.AppendUint32(dst, index)
}

// key returns a key of the segment's table.
func (f *facts) key(dst []byte, ns uint32, part byte, index uint32) []byte {
	at := len(dst)
	dst = tableKey(dst, ns, f.num, part, index)
	dst[at] = f.kind()
	return dst
}

// prefix returns what the keys of the segment's table begin with.
func (f *facts) prefix(ns uint32) []byte { return segKey(f.kind(), ns, f.num) }

func (f *facts) kind() byte {
	if f.shared {
		return kindShared
	}
	return kindPage
}

func outKey(ns uint32, batch uint64, index uint32) []byte {
	return binary.BigEndian.AppendUint32(segKey(kindOut, ns, batch), index)
}

func nameKey(name string) []byte { return append([]byte{kindName}, name...) }

func stateKey(ns uint32, key []byte) []byte { return append(nsKey(kindState, ns), key...) }

// after returns the smallest key above every key that begins with prefix, nil
// when there is none.
func after(prefix []byte) []byte {
	k := append([]byte(nil), prefix...)
	for i := len(k) - 1; i >= 0; i-- {
		if k[i] != 0xff {
			k[i]++
			return k[:i+1]
		}
	}
	return nil
}

// segOf returns the segment number of a page, catalogue, run or dead key.
func segOf(key []byte) (uint64, bool) {
	if len(key) < 13 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[5:]), true
}
