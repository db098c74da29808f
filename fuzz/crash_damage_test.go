package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// Files that are not what was written, and reads that fail: the store either
// says so, or answers right.

// played plays a script to its end and leaves the store's files as a crash at
// the end does.
func played(t require.TestingT, s *crashScript) *faultFS {
	d := newDriver(s, newCrashFS())
	for i, st := range s.steps {
		require.NoError(t, d.step(t, st), "step %d", i)
	}
	left := d.fs.crash(0, nil)
	require.NoError(t, d.close())
	return left
}

func contents(t require.TestingT, fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, errors.Join(err, f.Close()))
	return b
}

func replace(t require.TestingT, fs vfs.FS, path string, b []byte) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
}

func dataFiles(t require.TestingT, fs vfs.FS, part string) []string {
	return filesOf(t, fs, scriptDir, part)
}

func filesOf(t require.TestingT, fs vfs.FS, dir, part string) []string {
	dir += "/db"
	names, err := fs.List(dir)
	require.NoError(t, err)
	slices.Sort(names)
	var paths []string
	for _, n := range names {
		if strings.HasPrefix(n, part) || strings.HasSuffix(n, part) {
			paths = append(paths, dir+"/"+n)
		}
	}
	return paths
}

// What follows the last acknowledged batch in the log may be cut or anything.
func TestFault_B01_TornLogTail(t *testing.T) {
	s := writeScript(500, usual())
	fs := newCrashFS()
	var acked, begun, syncs atomic.Int64
	rng := rand.New(rand.NewPCG(500, 1))
	tails := 0
	fs.write = func(op fsOp) error {
		if !strings.HasSuffix(op.path, ".log") || !strings.HasPrefix(op.kind, "sync") ||
			syncs.Add(1)%3 != 0 {
			return nil
		}
		lo, hi := int(acked.Load()), int(begun.Load())
		was, written := contents(t, fs.crash(0, nil), op.path), contents(t, fs.crash(100, rng), op.path)
		synced := 0 // the log is filled with zeros ahead of its end
		for synced < min(len(was), len(written)) && was[synced] == written[synced] {
			synced++
		}
		end := len(bytes.TrimRight(written, "\x00"))
		if end <= synced {
			return nil
		}
		for damage := range 4 {
			torn := slices.Clone(written)
			tail := torn[synced:end]
			switch damage {
			case 0:
				torn = torn[:synced+rng.IntN(len(tail))]
			case 1:
				tail[rng.IntN(len(tail))] ^= byte(1 + rng.IntN(255))
			case 2:
				clear(tail[rng.IntN(len(tail)):])
			case 3:
				for i := range tail {
					tail[i] = byte(rng.Uint32())
				}
			}
			image := fs.crash(100, rng)
			replace(t, image, op.path, torn)
			tails++
			err := caught(func(t require.TestingT) {
				d := newDriver(s, image)
				require.NoError(t, d.open())
				d.check(t, d.find(t, lo, hi))
				require.NoError(t, d.close())
			})
			if err != nil {
				return fmt.Errorf("seed 500, %v, damage %d of the bytes from %d: %w", op, damage, synced, err)
			}
		}
		return nil
	}
	d := newDriver(s, fs)
	for i, st := range s.steps {
		begun.Store(int64(i + 1))
		require.NoError(t, d.step(t, st), "step %d", i)
		acked.Store(int64(i + 1))
	}
	require.NoError(t, d.close())
	require.Greater(t, tails, 20)
	t.Logf("%d torn tails", tails)
}

// The first failed sync of the log ends the store: nothing is tried again.
func TestFault_B02_FailedSyncPoisons(t *testing.T) {
	s := writeScript(501, usual())
	fs := newCrashFS()
	d := newDriver(s, fs)
	var armed atomic.Bool
	var syncs atomic.Int64
	fs.write = func(op fsOp) error {
		if armed.Load() && strings.HasSuffix(op.path, ".log") && strings.HasPrefix(op.kind, "sync") &&
			syncs.Add(1) == 1 {
			return syscall.EIO
		}
		return nil
	}
	for i := range 10 {
		require.NoError(t, d.step(t, s.steps[i]))
	}
	armed.Store(true)
	n, err := d.space(0)
	require.NoError(t, err)
	before, err := n.Status()
	require.NoError(t, err)
	skip := before.Position
	skip.Offset++
	pass := func(b *store.Batch) error { return b.SetPosition(skip) }
	require.ErrorIs(t, n.Update(pass), store.ErrPoisoned)
	for range 2 {
		require.ErrorIs(t, n.Update(pass), store.ErrPoisoned)
	}
	require.ErrorIs(t, d.store.Err(), store.ErrPoisoned)
	_, err = n.Status()
	require.ErrorIs(t, err, store.ErrPoisoned)
	require.ErrorIs(t, n.View(func(*store.View) error { return nil }), store.ErrPoisoned)
	require.ErrorIs(t, n.Pending(func(store.Output) error { return nil }), store.ErrPoisoned)
	require.EqualValues(t, 1, syncs.Load(), "the log was synced again after a failed sync")
	_ = d.close() // it may give up by its deadline

	d = newDriver(s, fs.crash(0, nil))
	require.NoError(t, d.open())
	d.check(t, 10)
	require.NoError(t, d.close())
}

// A read that fails is an error, never "not seen", and is gone with its cause.
func TestFault_B04_ReadErrorsEverywhere(t *testing.T) {
	const full, tables = 512, 3
	written := &driver{fs: newCrashFS(), full: full}
	require.NoError(t, written.open())
	n, err := written.store.Namespace("a", nil)
	require.NoError(t, err)
	var ids [][]byte
	for range tables {
		require.NoError(t, n.Update(func(b *store.Batch) error {
			for range full {
				at := store.Position{TopicID: store.ID{1}, Offset: int64(len(ids))}
				ids = append(ids, fmt.Appendf(nil, "id-%0100d", len(ids))) // tables of many blocks
				if _, err := b.Do(store.Record{ID: ids[at.Offset], Origin: at}, nil); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, storehook.Drain(written.store))
	require.NoError(t, written.close())

	met, runs, done := 0, 0, false
	for k := int64(1); !done; k += int64(atMost(1, 7)) {
		fs := written.fs.crash(0, nil)
		d := &driver{fs: fs, full: full}
		var opened atomic.Bool
		var count atomic.Int64
		fs.read = func(op fsOp) error {
			if opened.Load() && count.Add(1) == k {
				return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EIO}
			}
			return nil
		}
		require.NoError(t, d.open())
		opened.Store(true)
		err := d.answers(t, ids, k%2 == 0)
		done = count.Load() < k
		runs++
		if err != nil {
			met++
			require.ErrorIs(t, err, syscall.EIO)
			require.NoError(t, d.store.Err())
			require.NoError(t, d.answers(t, ids, k%2 == 0), "read %d had failed", k)
		}
		require.NoError(t, d.close())
	}
	t.Logf("%d reads failed, %d of them under a call", runs, met)
	require.Greater(t, met, atMost(3*tables, 1))
}

// answers looks every ID up, and one that never came: each answer is right, or
// an error.
func (d *driver) answers(t require.TestingT, ids [][]byte, prepare bool) error {
	n, err := d.store.Namespace("a", nil)
	if err != nil {
		return err
	}
	err = n.Update(func(b *store.Batch) error {
		if prepare {
			b.Prepare(ids)
		}
		for i, id := range ids {
			got, err := b.Do(store.Record{ID: id}, nil)
			if err != nil {
				return err
			}
			require.Equal(t, store.Duplicate, got.Verdict, "ID %s", id)
			require.EqualValues(t, i, got.Origin.Offset)
		}
		got, err := b.Do(store.Record{ID: []byte("absent")}, nil)
		if err != nil {
			return err
		}
		require.Equal(t, store.New, got.Verdict)
		return errAbort
	})
	if errors.Is(err, errAbort) {
		return nil
	}
	return err
}

func TestFault_B06_DamagedManifest(t *testing.T) {
	for seed := range uint64(4) { // what a manifest can lose depends on what stands in the end
		damagedManifest(t, writeScript(4+seed, usual()))
	}
}

func damagedManifest(t *testing.T, s *crashScript) {
	left := played(t, s)
	rng := rand.New(rand.NewPCG(s.seed, 1))
	damaged(t, s, atMost(100, 10), func(i int) *faultFS {
		fs := left.crash(0, nil)
		paths := dataFiles(t, fs, "MANIFEST-")
		path := paths[len(paths)-1]
		b := contents(t, fs, path)
		at := rng.IntN(len(b))
		switch i % 4 {
		case 0:
			b = b[:at]
		case 1:
			b[at] ^= byte(1 + rng.IntN(255))
		case 2:
			clear(b[at:])
		case 3:
			b = slices.Delete(b, at, at+1+rng.IntN(len(b)-at))
		}
		replace(t, fs, path, b)
		return fs
	})
}

func TestFault_B07_CurrentMarkerDeleted(t *testing.T) {
	for _, seed := range []uint64{504, 505, 506, 507} {
		s := writeScript(seed, usual())
		left := played(t, s)
		for _, part := range []string{"marker.manifest", "marker.format-version"} {
			damaged(t, s, 1, func(int) *faultFS {
				fs := left.crash(0, nil)
				for _, path := range dataFiles(t, fs, part) {
					require.NoError(t, fs.Remove(path))
				}
				return fs
			})
		}
	}
}

func TestFault_B05_DamagedFiles(t *testing.T) {
	for _, part := range []string{".sst", ".log"} {
		t.Run(part, func(t *testing.T) { damagedFiles(t, part) })
	}
}

// The storage engine's own settings are damaged: it refuses to open by them, or
// it does not need what is damaged. Those of the namespaces are not in that file.
func TestFault_B08_DamagedSettings(t *testing.T) {
	damagedFiles(t, "OPTIONS-")

	// A namespace's settings, below every checksum of the storage engine: whichever
	// bit of them flips, it is found at Open, before anything is judged by another
	// window.
	s := writeScript(508, usual())
	closed := filesOfScript(t, s).closed
	rng := rand.New(rand.NewPCG(508, 2))
	for range atMost(24, 6) {
		fs := closed.crash(0, nil)
		var what string
		inside(t, fs, scriptDir, func(db *pebble.DB) {
			var keys [][]byte
			for key := range entries(t, db) {
				if key[0] == 0x07 { // see store/key.go
					keys = append(keys, slices.Clone(key))
				}
			}
			require.Len(t, keys, len(s.spaces))
			key := keys[rng.IntN(len(keys))]
			v := valueAt(t, db, key)
			at := rng.IntN(len(v))
			v[at] ^= 1 << rng.IntN(8)
			require.NoError(t, db.Set(key, v, pebble.Sync))
			what = fmt.Sprintf("byte %d of %q", at, key)
		})
		err := newDriver(s, fs).open()
		require.ErrorIs(t, err, store.ErrCorrupt, what)
		require.ErrorContains(t, err, "restore a backup", what)
	}
}

// damagedFiles damages the files of a kind, one at a time.
func damagedFiles(t *testing.T, part string) {
	s := writeScript(508, usual())
	left := played(t, s)
	rng := rand.New(rand.NewPCG(508, 1))
	damaged(t, s, atMost(60, 8), func(int) *faultFS {
		fs := left.crash(0, nil)
		paths := dataFiles(t, fs, part)
		path := paths[rng.IntN(len(paths))]
		b := contents(t, fs, path)
		if len(b) == 0 {
			return fs
		}
		at := rng.IntN(len(b))
		if rng.IntN(3) == 0 {
			b = b[:at]
		} else {
			b[at] ^= byte(1 + rng.IntN(255))
		}
		replace(t, fs, path, b)
		return fs
	})
}

// damaged opens damaged images: each is found out, or shows its loss by a
// position that went back, or is whole.
func damaged(t *testing.T, s *crashScript, images int, damage func(i int) *faultFS) {
	t.Helper()
	var refused, back, whole int
	for i := range images {
		fs := damage(i)
		witnessed := i%2 == 0 // it may be the first to notice; the ledgers have to, too
		if !witnessed && exists(fs, scriptDir+".witness") {
			require.NoError(t, fs.Remove(scriptDir+".witness"))
		}
		d := newDriver(s, fs)
		err := d.open()
		if err != nil {
			if !witnessed || !errors.Is(err, store.ErrRolledBack) {
				require.ErrorIs(t, err, store.ErrCorrupt, "image %d", i)
			}
			require.ErrorContains(t, err, scriptDir)
			refused++
			continue
		}
		err = caught(func(t require.TestingT) { d.check(t, len(s.steps)) })
		switch {
		case err == nil:
			whole++
		case errors.Is(d.store.Err(), store.ErrCorrupt):
			refused++
		case d.wentBack(s):
			back++
		default:
			require.NoError(t, err, "seed %d, image %d: a loss that nothing shows", s.seed, i)
		}
		_ = d.close()
	}
	t.Logf("%d images: %d refused, %d with a position that went back, %d whole, 0 silent",
		images, refused, back, whole)
}

// wentBack reports whether some namespace is gone or stands below the position
// that it had acknowledged.
func (d *driver) wentBack(s *crashScript) bool {
	names := slices.Collect(d.store.Namespaces())
	for i, p := range s.after[len(s.steps)] {
		if !slices.Contains(names, s.spaces[i].name) {
			return true
		}
		n, err := d.space(i)
		if err != nil {
			return false
		}
		st, err := n.Status()
		if err != nil || st.Sequence < p.status.Sequence {
			return err == nil
		}
	}
	return false
}
