package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"
)

// What tells a store from any other directory, and one store from another: the
// identity file, and the store record inside.

// storeFormat is the format that this release writes, and the only one it reads.
const storeFormat = 1

const (
	identityFile = "FIRSTSEEN"
	identityHead = "firstseen store, format "
	dataDir      = "db"
	spillDir     = "spill"

	// runDir is for the program that has the store open, such as for the socket
	// on which it answers questions. The store leaves alone what is in it.
	runDir = "run"
)

// storeRecord is the store's own record: written when it is created, and when a
// namespace is, or is deleted.
type storeRecord struct {
	id         ID
	secret     uint64 // keys every hash
	nextNS     uint32 // number of the next namespace; never used again
	namespaces ledger // of the registry
	gone       uint64 // batches of the namespaces that were deleted
	ancestors  []ID   // the stores that this one was, before it was adopted; the last one last
}

const storeRecordFormat = 1

// append writes the record, with a checksum over all of it at its end: nothing
// else proves the next number and the batches that are gone.
func (r *storeRecord) append(dst []byte) []byte {
	from := len(dst)
	dst = append(append(dst, storeRecordFormat), r.id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.secret)
	dst = binary.BigEndian.AppendUint32(dst, r.nextNS)
	dst = binary.BigEndian.AppendUint64(r.namespaces.append(dst), r.gone)
	for _, id := range r.ancestors {
		dst = append(dst, id[:]...)
	}
	return binary.BigEndian.AppendUint64(dst, xxh3.Hash(dst[from:]))
}

func parseStoreRecord(b []byte) (r storeRecord, ok bool) {
	sum := len(b) - 8
	if sum < 0 || binary.BigEndian.Uint64(b[sum:]) != xxh3.Hash(b[:sum]) {
		return r, false
	}
	d := decoder{b: b[:sum]}
	ok = d.byte() == storeRecordFormat
	copy(r.id[:], d.bytes(16))
	r.secret, r.nextNS, r.namespaces, r.gone = d.uint64(), d.uint32(), d.ledger(), d.uint64()
	for !d.bad && len(d.b) > 0 {
		r.ancestors = append(r.ancestors, ID(d.bytes(len(ID{}))))
	}
	return r, ok && !d.bad && len(d.b) == 0
}

// wasAdoptedFrom reports whether the store was id before its last adoption.
func (r *storeRecord) wasAdoptedFrom(id ID) bool {
	n := len(r.ancestors)
	return n > 0 && r.ancestors[n-1] == id
}

// entryProof is the ledger of one entry of the registry.
func (r *storeRecord) entryProof(key, value []byte) ledger {
	h := xxh3.Hash128Seed(appendPrefixed(appendPrefixed(nil, key), value), r.secret)
	return ledger{n: 1, hi: h.Hi, lo: h.Lo}
}

// identity is what the identity file says: which store it is, and of which
// directory. It is text:
//
//	firstseen store, format 1
//	id 0123456789abcdef0123456789abcdef
//	inode 4711                           or: checkpoint
type identity struct {
	id         ID
	inode      uint64 // of the directory when it became the store; 0: it has none
	checkpoint bool   // no store yet: Adopt makes it one
}

const identityCheckpoint = "checkpoint"

// writeIdentity makes the directory a store. Written last, when the store record
// is durable: a crash before leaves a directory that the next Open makes whole.
func writeIdentity(f vfs.FS, dir string, i identity) error {
	what := fmt.Sprintf("inode %d", i.inode)
	if i.checkpoint {
		what = identityCheckpoint
	}
	return replaceFile(f, f.PathJoin(dir, identityFile),
		fmt.Sprintf("%s%d\nid %s\n%s\n", identityHead, storeFormat, i.id, what))
}

// readIdentity returns what the identity file says, and whether there is one.
func readIdentity(f vfs.FS, dir string) (i identity, there bool, err error) {
	text, there, err := readFile(f, f.PathJoin(dir, identityFile))
	if err != nil || !there {
		return i, false, err
	}
	lines := strings.Split(text, "\n")
	switch format := formatOf(lines[0], identityHead); format {
	case storeFormat:
	case 0:
		return i, false, corruptf("%s does not read as an identity file", identityFile)
	default:
		return i, false, unread(dir, format, storeFormat)
	}
	if len(lines) != 4 || lines[3] != "" || !i.parse(lines[1], lines[2]) {
		return i, false, corruptf("%s holds no store ID", identityFile)
	}
	return i, true, nil
}

func (i *identity) parse(id, what string) (ok bool) {
	if i.id, ok = parseID(strings.TrimPrefix(id, "id ")); !ok {
		return false
	}
	if i.checkpoint = what == identityCheckpoint; i.checkpoint {
		return true
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(what, "inode "), 10, 64)
	i.inode = n
	return err == nil
}

// parseID reads an ID in hexadecimal.
func parseID(s string) (id ID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return ID(b), true
}

// foreign returns a name in the directory that no store has, "" when there is
// none.
func foreign(f vfs.FS, dir string) (string, error) {
	names, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return "", fmt.Errorf("%w: %w; give a directory of its own", ErrFormat, err)
	}
	for _, name := range names {
		switch name {
		case identityFile, identityFile + tmpSuffix, sealFile, sealFile + tmpSuffix, dataDir, spillDir, ballastFile, runDir:
		default:
			return name, err
		}
	}
	return "", err
}
