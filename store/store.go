package store

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Store is a directory of namespaces on one Pebble database. Its methods may be
// called from any goroutine.
type Store struct {
	dir     string
	fs      vfs.FS
	opts    Options
	limits  limits
	fault   *fault
	queue   *queue
	disk    *disk
	working bool // queue runs
	lock    *pebble.Lock
	db      *pebble.DB
	tables  sstable.WriterOptions

	scratch   scratch
	maxTables int  // that may be open
	readOnly  bool // the database takes no write
	still     bool // and does nothing in the background

	id       ID
	secret   uint64
	openID   ID
	opens    []ID   // the last 64, the newest last
	openings uint64 // how many there were

	memory    atomic.Int64          // bytes of markers in memory, filters apart
	unwritten atomic.Int64          // of memory, bytes of markers that have no table yet
	filters   atomic.Int64          // bytes of filters
	refilled  atomic.Int64          // filters that were made anew
	uses      atomic.Int64          // counts batches, to tell who was idle longest
	writing   map[*tableWriter]bool // the queue's, open files; Close removes them when it has ended
	written   uint64                // the queue's, files that it began
	batches   atomic.Uint64         // durable ones, of all namespaces since each was made; see tally
	witness   *witness
	// tablesLock holds a token while a table is put into the database or removed
	// from it, and while a checkpoint is taken.
	tablesLock chan struct{}

	closing chan struct{} // closed when Close begins
	idle    chan struct{} // closed when the last call has left after that

	mu       sync.Mutex // guards what follows; never held over a write or a call upward
	record   storeRecord
	spaces   map[string]*Namespace // those in use
	byNumber map[uint32]*Namespace
	names    map[string][]byte // the registry: every namespace's stored settings
	calls    int
	closed   bool
	closeErr error
	ended    chan struct{} // closed when Close has ended

	creating sync.Mutex // one namespace is created or deleted at a time; held over its write
}

// limits are what tests make small.
type limits struct {
	full  int // markers of a full segment
	small int // markers below which a closed segment stays in memory
	merge int // segments above which neighbours are merged
	share int // markers below which no segment is shared; 0: sharedLeast
	table int // bytes of Pebble's memtable; 0: memTable
	cache int // bytes of blocks that are cached; 0: cacheSize
}

// seams are where tests reach in: the file system and the limits.
type seams struct {
	fs     vfs.FS
	limits limits
}

const (
	openTimeout = 10 * time.Minute // replaying a log, not only opening it
	opensKept   = 64
	cacheSize   = 64 << 20
	memTable    = 64 << 20
)

// Open opens the store in dir and creates it when dir is empty or missing. It
// fails with ErrLocked while somebody else has it open, with ErrFormat when dir
// holds something else, and with ErrCorrupt when what it finds is not what was
// acknowledged. A store is for one process at a time, on a local disk: its lock
// means nothing on a network file system.
func Open(dir string, opts *Options) (*Store, error) {
	return open(dir, opts, seams{})
}

// newStore returns a store of which nothing is open yet.
func newStore(dir string, o Options, sm seams) *Store {
	s := &Store{
		dir: dir, opts: o, fs: sm.fs, limits: sm.limits,
		fault: newFault(o.Logger), queue: newQueue(), tablesLock: make(chan struct{}, 1),
		closing: make(chan struct{}), idle: make(chan struct{}), ended: make(chan struct{}),
		spaces: map[string]*Namespace{}, byNumber: map[uint32]*Namespace{}, names: map[string][]byte{},
		writing: map[*tableWriter]bool{},
	}
	if s.limits.full == 0 {
		s.limits.full, s.limits.small, s.limits.merge = fullSegment, smallSegment, mergeAbove
	}
	s.limits.share = cmp.Or(s.limits.share, sharedLeast)
	s.limits.table, s.limits.cache = cmp.Or(s.limits.table, memTable), cmp.Or(s.limits.cache, cacheSize)
	switch {
	case s.fs != nil:
	case o.InMemory:
		s.fs, s.dir = vfs.NewMem(), "memory"
	default:
		s.fs = vfs.Default
	}
	s.fs = private{s.fs}
	s.disk = &disk{
		fs: s.fs, dir: s.dir, floor: o.MinFree, pending: s.unwritten.Load, timeout: o.CommitTimeout, logger: o.Logger,
		failed: s.fault.done, stop: s.closing, done: make(chan struct{}), asks: make(chan chan struct{}),
	}
	return s
}

func open(dir string, opts *Options, sm seams) (_ *Store, err error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := newStore(dir, o, sm)
	s.witness = newWitness(s)
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: open %s: %w", dir, trimmed(explained(err)))
			err = errors.Join(err, s.release())
		}
	}()
	id, there, err := s.prepare()
	if err != nil {
		return nil, err
	}
	if err := s.openDB(there); err != nil {
		return nil, err
	}
	if err := s.identify(id, there); err != nil {
		return nil, err
	}
	if err := s.loadRegistry(); err != nil {
		return nil, err
	}
	if err := s.witness.judge(s); err != nil {
		return nil, err
	}
	if err := s.loadDeleted(); err != nil {
		return nil, err
	}
	if o.ReadOnly {
		s.rest()
		return s, nil
	}
	if err := s.sign(); err != nil {
		return nil, err
	}
	if err := s.witness.begin(s); err != nil {
		return nil, err
	}
	s.working = true
	s.disk.open.Store(true)
	go s.queue.run()
	go s.disk.watch()
	return s, nil
}

// trimmed keeps "store: open x: store: " from being said twice.
func trimmed(err error) error {
	if t, ok := strings.CutPrefix(err.Error(), "store: "); ok {
		return &plain{t, err}
	}
	return err
}

// plain is an error with another text.
type plain struct {
	text string
	err  error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.err }

// prepare makes sure that the directory is a store or may become one, and
// locks it. What is refused is left as it is.
func (s *Store) prepare() (id ID, there bool, err error) {
	if s.opts.ReadOnly {
		id, err = s.find()
		return id, true, err
	}
	if name, err := foreign(s.fs, s.dir); err != nil {
		return id, false, err
	} else if name != "" {
		return id, false, fmt.Errorf("%w: it holds %q; give a directory of its own", ErrFormat, name)
	}
	if s.maxTables, err = s.preflight(); err != nil {
		return id, false, err
	}
	if err := admit(s.fs, s.dir); err != nil {
		return id, false, err
	}
	if err := s.witness.expect(s.fs, s.dir); err != nil {
		return id, false, err
	}
	i, there, err := s.take()
	return i.id, there, err
}

// take locks the directory, and reads what it is.
func (s *Store) take() (id identity, there bool, err error) {
	data := s.fs.PathJoin(s.dir, dataDir)
	if err := makeDir(s.fs, data); err != nil {
		return id, false, err
	}
	if s.lock, err = pebble.LockDirectory(data, s.fs); err != nil {
		return id, false, err
	}
	if id, there, err = readIdentity(s.fs, s.dir); err != nil {
		return id, there, err
	}
	if err := s.disk.start(); err != nil {
		return id, there, err
	}
	// What a table that was never ingested left behind.
	if err := s.fs.RemoveAll(s.spillDir()); err != nil {
		return id, there, err
	}
	if err := s.fs.MkdirAll(s.spillDir(), 0o700); err != nil {
		return id, there, err
	}
	return id, there, s.probe()
}

// unwritable reports whether err says that the directory is not ours to write.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (s *Store) spillDir() string { return s.fs.PathJoin(s.dir, spillDir) }

func uncompressed() *sstable.CompressionProfile { return sstable.NoCompression }

// openDB opens Pebble with everything set that could otherwise end the process
// or forget silently.
func (s *Store) openDB(there bool) error {
	po := &pebble.Options{
		ErrorIfNotExists:      there,
		ReadOnly:              s.readOnly,
		FS:                    newLogs(ordered{s.disk.patiently(s.fs)}),
		Lock:                  s.lock,
		Logger:                s.fault,
		EventListener:         s.fault.listener(),
		FormatMajorVersion:    pebble.FormatValueSeparation,             // pinned: a new release of Pebble changes no file
		CacheSize:             int64(s.limits.cache + 2*s.limits.table), // memtables are charged against it
		MemTableSize:          uint64(s.limits.table),
		BytesPerSync:          syncEvery,
		WALBytesPerSync:       syncEvery,
		MaxOpenFiles:          s.maxTables,
		L0CompactionThreshold: 2,
		// Compactions fail while the disk is full, and writes must not wait for
		// them until they are given up.
		L0StopWritesThreshold: 100,

		DisableAutomaticCompactions: s.still,
	}
	po.Experimental.FileCacheShards = 1 // of each, a hundred tables may stand open that wait to be closed
	po.EnsureDefaults()
	po.Levels[0].Compression = uncompressed // what is flushed is mostly runs, and soon gone
	s.tables = po.MakeWriterOptions(6, po.FormatMajorVersion.MaxTableFormat())
	s.tables.Compression = uncompressed() // IDs and filters are noise to it
	s.tables.BlockSize, s.tables.IndexBlockSize = 4<<10, 16<<10
	s.tables.FilterPolicy = nil
	path := s.fs.PathJoin(s.dir, dataDir)
	opened := make(chan *pebble.DB, 1)
	err := s.fault.write("open the database", openTimeout, func() (err error) {
		var db *pebble.DB
		defer func() { opened <- db }()
		db, err = pebble.Open(path, po)
		return err
	})
	// A fault found meanwhile ends the wait above before the database is open:
	// it has to be closed all the same, and until then the lock is held.
	select {
	case s.db = <-opened:
	case <-time.After(min(s.opts.CommitTimeout, closeTimeout)):
		s.lock = nil // leaked with the database that never opened
	}
	for _, world := range []error{
		nil, ErrPoisoned, ErrCorrupt, fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT,
		syscall.EMFILE, syscall.ENFILE, syscall.EIO,
	} {
		if errors.Is(err, world) {
			return err
		}
	}
	// Pebble does not tell damage from anything else that keeps it from opening.
	return corruptf("%v", err)
}

// identify reads the store record, or writes the first one.
func (s *Store) identify(id ID, there bool) error {
	v, err := s.get([]byte{kindStore})
	if err != nil {
		return err
	}
	opens, err := s.get([]byte{kindOpens})
	if err != nil {
		return err
	}
	if opens != nil && !there {
		return corruptf("%s is gone", identityFile) // a store that was opened had it
	}
	if err := s.loadOpenings(opens); err != nil {
		return err
	}
	if v == nil {
		if there {
			return corruptf("the store record is gone")
		}
		if err := s.create(); err != nil {
			return err
		}
	} else {
		r, ok := parseStoreRecord(v)
		if !ok {
			return unparsed("the store record", v, storeRecordFormat)
		}
		if there && r.wasAdoptedFrom(id) {
			return fmt.Errorf("%w: its adoption was cut short; call Adopt again", ErrSealed)
		}
		if there && r.id != id {
			return corruptf("%s says %v, the store record %v", identityFile, id, r.id)
		}
		s.record = r
	}
	s.id, s.secret = s.record.id, s.record.secret
	if there {
		return nil
	}
	return writeIdentity(s.fs, s.dir, identity{id: s.id, inode: inodeOf(s.fs, s.dir)})
}

// create writes the store record of a new store.
func (s *Store) create() error {
	empty := true
	if err := s.scan(nil, func(_, _ []byte) error { empty = false; return nil }); err != nil {
		return err
	}
	if !empty {
		return corruptf("there is data and no store record")
	}
	var secret [8]byte
	random(s.record.id[:])
	random(secret[:])
	s.record.secret, s.record.nextNS = binary.BigEndian.Uint64(secret[:]), 1
	err := s.fault.write("create the store", s.opts.CommitTimeout, func() error {
		if err := s.db.Set([]byte{kindStore}, s.record.append(nil), pebble.Sync); err != nil {
			return err
		}
		return s.db.Flush() // the first log of a new database is in an old format
	})
	return err
}

// random fills b. crypto/rand does not fail (it ends the process where the
// kernel has no randomness at all).
func random(b []byte) { _, _ = rand.Read(b) }

// sign gives this opening an ID of its own, durably, before anybody can see it.
// On disk: how many openings there were, and the IDs of the last ones.
func (s *Store) sign() error {
	random(s.openID[:])
	s.openings++
	s.opens = append(s.opens, s.openID)
	s.opens = s.opens[max(0, len(s.opens)-opensKept):]
	all := binary.BigEndian.AppendUint64(nil, s.openings)
	for _, id := range s.opens {
		all = append(all, id[:]...)
	}
	return s.fault.write("sign the store", s.opts.CommitTimeout, func() error {
		return s.db.Set([]byte{kindOpens}, all, pebble.Sync)
	})
}

// loadOpenings reads the openings so far.
func (s *Store) loadOpenings(v []byte) error {
	if v == nil {
		return nil // none yet
	}
	d := decoder{b: v}
	s.openings = d.uint64()
	for !d.bad && len(d.b) > 0 {
		s.opens = append(s.opens, ID(d.bytes(len(ID{}))))
	}
	if d.bad || uint64(len(s.opens)) != min(s.openings, opensKept) {
		return corruptf("the record of its openings does not parse")
	}
	return nil
}

// ID returns the store's identity, the same for as long as it lives.
func (s *Store) ID() ID { return s.id }

// Ancestors returns the identities that the store had before it was adopted, the
// last one last.
func (s *Store) Ancestors() []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.record.ancestors)
}

// IsOurs reports whether id is the store's identity or an ancestor's: what was
// written under it is this store's own.
func (s *Store) IsOurs(id ID) bool { return id == s.id || slices.Contains(s.Ancestors(), id) }

// OpenID returns the identity of this opening, which was durable before Open
// returned: the zero ID when the store is open to look into it.
func (s *Store) OpenID() ID { return s.openID }

// KnowsOpen reports whether id is one of the last 64 openings of this store.
func (s *Store) KnowsOpen(id ID) bool { return slices.Contains(s.opens, id) }
