package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
)

// storeRecord is the store's own record: written when it is created, and when a
// namespace is.
type storeRecord struct {
	id         ID
	secret     uint64 // keys every hash
	nextNS     uint32 // number of the next namespace; never used again
	namespaces ledger // of the registry
}

const storeRecordFormat = 1

func (r *storeRecord) append(dst []byte) []byte {
	dst = append(append(dst, storeRecordFormat), r.id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.secret)
	dst = binary.BigEndian.AppendUint32(dst, r.nextNS)
	return r.namespaces.append(dst)
}

func parseStoreRecord(b []byte) (r storeRecord, ok bool) {
	d := decoder{b: b}
	ok = d.byte() == storeRecordFormat
	copy(r.id[:], d.bytes(16))
	r.secret, r.nextNS, r.namespaces = d.uint64(), d.uint32(), d.ledger()
	return r, ok && !d.bad && len(d.b) == 0
}

// entryProof is the ledger of one entry of the registry.
func (r *storeRecord) entryProof(key, value []byte) ledger {
	h := xxh3.Hash128Seed(appendPrefixed(appendPrefixed(nil, key), value), r.secret)
	return ledger{n: 1, hi: h.Hi, lo: h.Lo}
}

// writeIdentity makes the directory a store. Written last, when the store record
// is durable: a crash before leaves a directory that the next Open makes whole.
func writeIdentity(f vfs.FS, dir string, id ID) error {
	path := f.PathJoin(dir, identityFile)
	tmp := path + ".tmp"
	w, err := f.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%d\nid %s\n", identityHead, storeFormat, id)
	if err = errors.Join(err, w.Sync(), w.Close()); err != nil {
		return err
	}
	if err := f.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(f, dir)
}

// readIdentity returns the ID in the identity file, and whether there is one.
func readIdentity(f vfs.FS, dir string) (id ID, there bool, err error) {
	r, err := f.Open(f.PathJoin(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, err
	}
	text, err := io.ReadAll(io.LimitReader(r, 1<<10))
	if err = errors.Join(err, r.Close()); err != nil {
		return id, false, err
	}
	var format int
	var name string
	if _, err := fmt.Sscanf(string(text), identityHead+"%d\nid %32s", &format, &name); err != nil {
		if !strings.HasPrefix(string(text), identityHead) || format == 0 {
			return id, false, corruptf("%s does not read as an identity file", identityFile)
		}
	}
	if format != storeFormat {
		return id, false, fmt.Errorf("%w: %s has format %d, this release reads %d; "+
			"open it with the release that wrote it, or a later one", ErrFormat, dir, format, storeFormat)
	}
	if n, err := hex.Decode(id[:], []byte(name)); err != nil || n != len(id) {
		return id, false, corruptf("%s holds no store ID", identityFile)
	}
	return id, true, nil
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
		case identityFile, identityFile + ".tmp", dataDir, spillDir, ballastFile:
		default:
			return name, err
		}
	}
	return "", err
}
