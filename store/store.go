package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/firstseen/firstseen/window"
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
	working bool // queue runs
	lock    *pebble.Lock
	db      *pebble.DB
	tables  sstable.WriterOptions

	id     ID
	secret uint64
	openID ID
	opens  []ID // the last 64, the newest last

	memory  atomic.Int64  // bytes of markers that are in no table
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

	creating sync.Mutex // one namespace is created at a time; held over its write
}

// limits are what tests make small.
type limits struct {
	full  int // markers of a full segment
	small int // markers below which a closed segment stays in memory
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

func open(dir string, opts *Options, sm seams) (_ *Store, err error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: o, fs: sm.fs, limits: sm.limits,
		fault: newFault(o.Logger), queue: newQueue(),
		closing: make(chan struct{}), idle: make(chan struct{}), ended: make(chan struct{}),
		spaces: map[string]*Namespace{}, byNumber: map[uint32]*Namespace{}, names: map[string][]byte{},
	}
	if s.limits == (limits{}) {
		s.limits = limits{full: fullSegment, small: smallSegment}
	}
	switch {
	case s.fs != nil:
	case o.InMemory:
		s.fs, s.dir = vfs.NewMem(), "memory"
	default:
		s.fs = vfs.Default
	}
	defer func() {
		if err != nil {
			if unwritable(err) {
				err = fmt.Errorf("%w; the directory must be writable", err)
			}
			err = fmt.Errorf("store: open %s: %w", dir, trimmed(err))
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
	if err := s.sign(); err != nil {
		return nil, err
	}
	s.working = true
	go s.queue.run()
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
// locks it.
func (s *Store) prepare() (id ID, there bool, err error) {
	if name, err := foreign(s.fs, s.dir); err != nil {
		return id, false, err
	} else if name != "" {
		return id, false, fmt.Errorf("%w: it holds %q; give a directory of its own", ErrFormat, name)
	}
	data := s.fs.PathJoin(s.dir, dataDir)
	if err := makeDir(s.fs, data); err != nil {
		return id, false, err
	}
	if s.lock, err = pebble.LockDirectory(data, s.fs); err != nil {
		if unwritable(err) {
			return id, false, err
		}
		return id, false, fmt.Errorf("%w: %w; close it there first", ErrLocked, err)
	}
	if id, there, err = readIdentity(s.fs, s.dir); err != nil {
		return id, there, err
	}
	// What a table that was never ingested left behind.
	if err := s.fs.RemoveAll(s.spillDir()); err != nil {
		return id, there, err
	}
	return id, there, s.fs.MkdirAll(s.spillDir(), 0o700)
}

// unwritable reports whether err says that the directory is not ours to write.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

func (s *Store) spillDir() string { return s.fs.PathJoin(s.dir, spillDir) }

// openDB opens Pebble with everything set that could otherwise end the process
// or forget silently.
func (s *Store) openDB(there bool) error {
	po := &pebble.Options{
		ErrorIfNotExists:      there,
		FS:                    ordered{s.fs},
		Lock:                  s.lock,
		Logger:                s.fault,
		EventListener:         s.fault.listener(),
		FormatMajorVersion:    pebble.FormatValueSeparation, // pinned: a new release of Pebble changes no file
		CacheSize:             cacheSize + 2*memTable,       // memtables are charged against it
		MemTableSize:          memTable,
		BytesPerSync:          syncEvery,
		WALBytesPerSync:       syncEvery,
		MaxOpenFiles:          1000,
		L0CompactionThreshold: 2,
	}
	po.EnsureDefaults()
	s.tables = po.MakeWriterOptions(6, po.FormatMajorVersion.MaxTableFormat())
	s.tables.Compression = sstable.NoCompression // IDs and filters are noise to it
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
		nil, ErrPoisoned, fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE,
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
			return corruptf("the store record does not parse")
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
	return writeIdentity(s.fs, s.dir, s.record.id)
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

// loadRegistry reads the namespaces' names and settings and proves them.
func (s *Store) loadRegistry() error {
	var sum ledger
	err := s.scan([]byte{kindName}, func(key, value []byte) error {
		sum.add(s.record.entryProof(key, value))
		s.names[string(key[1:])] = slices.Clone(value)
		return nil
	})
	if err == nil && sum != s.record.namespaces {
		err = corruptf("the store record counts %d namespaces, %d are there, or they are others",
			s.record.namespaces.n, sum.n)
	}
	return err
}

// sign gives this opening an ID of its own, durably, before anybody can see it.
func (s *Store) sign() error {
	v, err := s.get([]byte{kindOpens})
	if err != nil {
		return err
	}
	for ; len(v) >= len(ID{}); v = v[len(ID{}):] {
		s.opens = append(s.opens, ID(v[:len(ID{})]))
	}
	random(s.openID[:])
	s.opens = append(s.opens, s.openID)
	s.opens = s.opens[max(0, len(s.opens)-opensKept):]
	var all []byte
	for _, id := range s.opens {
		all = append(all, id[:]...)
	}
	return s.fault.write("sign the store", s.opts.CommitTimeout, func() error {
		return s.db.Set([]byte{kindOpens}, all, pebble.Sync)
	})
}

// ID returns the store's identity, the same for as long as it lives.
func (s *Store) ID() ID { return s.id }

// OpenID returns the identity of this opening. It was durable before Open
// returned.
func (s *Store) OpenID() ID { return s.openID }

// KnowsOpen reports whether id is one of the last 64 openings of this store.
func (s *Store) KnowsOpen(id ID) bool { return slices.Contains(s.opens, id) }

// Err returns nil while the store is running, and otherwise the error of the
// state that it is in: ErrPoisoned, ErrCorrupt or ErrClosed.
func (s *Store) Err() error {
	if err := s.fault.get(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return nil
	}
}

// Namespaces returns the names of all namespaces, in order.
func (s *Store) Namespaces() iter.Seq[string] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(slices.Sorted(maps.Keys(s.names)))
}

// Namespace returns the namespace of that name, and creates it, durably, when
// there is none. Settings are those it was created with: asking for others is
// ErrSettings, asking for none (nil) always fits.
func (s *Store) Namespace(name string, opts *NamespaceOptions) (*Namespace, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("store: namespace %q: %w", name, err)
	}
	if name == "" || len(name) > 1<<10 {
		return nil, fmt.Errorf("store: a namespace's name has 1 to 1024 bytes, not %d", len(name))
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	s.mu.Lock()
	n, value := s.spaces[name], s.names[name]
	s.mu.Unlock()
	if n == nil {
		var err error
		if value == nil {
			value, err = s.register(name, o)
		}
		if err == nil {
			n, err = s.newNamespace(name, value, o.BucketWidth)
		}
		if err != nil {
			return nil, s.fault.found(err)
		}
	}
	if opts != nil {
		if err := n.same(o); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces[name], s.byNumber[n.num] = n, n
	return n, nil
}

// register creates a namespace and returns its entry of the registry. The
// caller holds creating.
func (s *Store) register(name string, o NamespaceOptions) ([]byte, error) {
	r := s.record
	value := binary.BigEndian.AppendUint32(nil, r.nextNS)
	for _, ms := range []int64{o.Window.Millis(), o.MaxAdvance.Milliseconds(), o.MaxAhead.Milliseconds()} {
		value = binary.BigEndian.AppendUint64(value, uint64(ms))
	}
	value = append(value, o.IDSource...)
	key := nameKey(name)
	r.nextNS++
	r.namespaces.add(r.entryProof(key, value))
	err := s.fault.write("create a namespace", s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		must(w.Set(key, value, nil))
		must(w.Set([]byte{kindStore}, r.append(nil), nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
	s.names[name] = value
	return value, nil
}

// newNamespace makes a namespace of its entry in the registry and its head.
func (s *Store) newNamespace(name string, value []byte, width time.Duration) (*Namespace, error) {
	d := decoder{b: value}
	n := &Namespace{s: s, name: name, num: d.uint32(), owner: make(chan struct{}, 1), failed: -1}
	w, advance, ahead := int64(d.uint64()), int64(d.uint64()), int64(d.uint64())
	if d.bad {
		return nil, corruptf("namespace %q: its settings do not parse", name)
	}
	ms := func(v int64) time.Duration { return time.Duration(v) * time.Millisecond }
	win := window.Forever
	if w != win.Millis() {
		win = window.Of(ms(w))
	}
	n.opts = NamespaceOptions{
		Window: win, BucketWidth: width, MaxAdvance: ms(advance), MaxAhead: ms(ahead), IDSource: string(d.b),
	}
	n.rules = rules{w: win, maxAdvance: advance, maxAhead: ahead}
	if advance == 0 {
		n.rules.maxAdvance = window.Forever.Millis() // no limit
	}
	if err := n.loadHead(); err != nil {
		return nil, err
	}
	n.publish()
	return n, nil
}

// enter begins a call that needs the database, leave ends it: Close waits.
func (s *Store) enter() error {
	if err := s.fault.get(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.calls++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.closed && s.calls == 0 {
		close(s.idle)
	}
}

// Close ends the store: calls that wait return ErrClosed, batches in progress
// end first, and the lock is given back. It waits at most ten seconds for them
// and for the disk, and then returns ErrCloseTimeout. It returns every error,
// may be called more than once, and must not be called inside a batch.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.ended
		return s.closeErr
	}
	s.closed = true
	close(s.closing)
	if s.calls == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	s.closeErr = s.release()
	close(s.ended)
	return s.closeErr
}

// release gives back what open took, as far as it came.
func (s *Store) release() error {
	timeout := time.NewTimer(closeTimeout)
	defer timeout.Stop()
	late := func(what string) error {
		return fmt.Errorf("%w: %s; restart the process", ErrCloseTimeout, what)
	}
	if s.working {
		close(s.queue.stop)
		for _, w := range []struct {
			on   <-chan struct{}
			what string
		}{{s.idle, "a call has not returned"}, {s.queue.done, "a table is still being written"}} {
			select {
			case <-w.on:
			case <-timeout.C:
				return late(w.what)
			}
		}
	}
	ended := make(chan error, 1)
	go func() {
		ended <- guarded(func() error {
			var err error
			if s.db != nil {
				err = s.db.Close()
			}
			if s.lock != nil {
				err = errors.Join(err, s.lock.Close())
			}
			return err
		})
	}()
	select {
	case err := <-ended:
		return err
	case <-timeout.C:
		return late("the database does not close")
	}
}

// settle lets an idle namespace let go of what the queue has put into a table.
// A busy one does so itself, when its next batch begins.
func (s *Store) settle(ns uint32) {
	s.mu.Lock()
	n := s.byNumber[ns]
	s.mu.Unlock()
	if n != nil && n.tryOwn() {
		if n.loaded {
			n.index.adopt()
		}
		<-n.owner
	}
}

func (s *Store) excised(ns uint32, seg uint64) {
	s.mu.Lock()
	n := s.byNumber[ns]
	s.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = append(n.gone, seg)
}

// relieve keeps the budget after a batch of n, whose owner calls it: n itself
// gives up first, then namespaces that nobody owns just now.
func (s *Store) relieve(n *Namespace) {
	excess := s.memory.Load() - s.opts.Memory
	if excess <= 0 {
		return
	}
	if excess = n.index.relieve(excess); excess <= 0 {
		return
	}
	s.mu.Lock()
	others := slices.Collect(maps.Values(s.byNumber))
	s.mu.Unlock()
	for _, o := range others {
		if excess <= 0 {
			return
		}
		if o != n && o.tryOwn() {
			if o.loaded {
				excess = o.index.relieve(excess)
			}
			<-o.owner
		}
	}
}
