package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// answers opens a repaired store and looks everything up that it had accepted:
// it is a duplicate of the right record, or the store says that it cannot know.
func (v *vault) answers(t *testing.T, fs vfs.FS) (unknown int, cov Coverage) {
	t.Helper()
	s, err := open("store", nil, seams{fs: fs, limits: vaultLimits})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	st, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, v.ids, st.Position.Offset)
	require.NoError(t, n.Update(func(b *Batch) error {
		for i := range v.ids {
			id := fmt.Appendf(nil, "id-%d", i)
			m, found, err := n.Lookup(id)
			require.NoError(t, err)
			d, err := b.Do(Record{ID: id}, nil)
			require.NoError(t, err)
			require.Equal(t, d.Verdict == Duplicate, found, i)
			if d.Verdict != Duplicate {
				require.Equal(t, Unknown, d.Verdict, i)
				require.Equal(t, Lost, d.Reason, i)
				unknown++
				continue
			}
			require.Equal(t, i, d.Origin.Offset)
			require.Equal(t, i, m.Origin.Offset)
		}
		return nil
	}))
	r, err := s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, r.Err())
	return unknown, st.Coverage
}

// A repair takes out what does not prove and keeps the rest; the coverage tells.
// Where it cannot, it changes nothing.
func TestRepair_EveryDamage(t *testing.T) {
	v := newVault(t)
	ctx := context.Background()
	for _, p := range damages {
		t.Run(p.name, func(t *testing.T) {
			fs := p.in(t, v)
			before, err := verifyDir(ctx, "store", nil, seams{fs: fs})
			require.NoError(t, err)
			r, err := repair(ctx, "store", nil, seams{fs: fs})
			if p.beyond {
				require.ErrorIs(t, err, ErrBeyondRepair)
				after, err := verifyDir(ctx, "store", nil, seams{fs: fs})
				require.NoError(t, err)
				require.Equal(t, before.Damage, after.Damage)
				return
			}
			require.NoError(t, err)
			require.Equal(t, before.Damage, r.Found.Damage)
			unknown, cov := v.answers(t, fs)
			if p.part == PartFilter {
				require.Empty(t, r.Mended)
				require.Zero(t, unknown)
				require.Equal(t, Coverage{}, cov)
				return
			}
			require.Len(t, r.Mended, 1)
			require.Equal(t, "a", r.Mended[0].Namespace)
			require.Equal(t, r.Mended[0].After, cov)
			require.Equal(t, Lost, cov.Reason)
			require.Equal(t, p.open, cov.Open)
			lost := uint64(0)
			for _, a := range r.SetAside {
				lost += a.Markers
				if a.File != "" {
					require.True(t, strings.HasPrefix(a.File, "store.quarantine/"))
					require.NotEmpty(t, read(t, fs, a.File))
				}
			}
			require.LessOrEqual(t, r.Mended[0].Markers, uint64(v.ids))
			if len(r.SetAside) == 1 && r.SetAside[0].Segment == uint64(p.segment(v)) && !p.open {
				require.EqualValues(t, lost, unknown, "only what was lost")
				require.EqualValues(t, uint64(v.ids)-lost, r.Mended[0].Markers)
			}
			again, err := repair(ctx, "store", nil, seams{fs: fs})
			require.NoError(t, err)
			require.Empty(t, again.Mended, "a repaired store needs no repair")
		})
	}
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

// scratch flips a bit of a stored value in its file: the checksum of its block
// tells. It reports how many files had it.
func (v *vault) scratch(t *testing.T, fs vfs.FS, key []byte) {
	t.Helper()
	var value []byte
	db, err := pebble.Open("store/db", &pebble.Options{FS: fs, ReadOnly: true, Logger: newFault(nil)})
	require.NoError(t, err)
	value = get(t, db, key)
	require.NoError(t, db.Close())
	names, err := fs.List("store/db")
	require.NoError(t, err)
	hits := 0
	for _, name := range names {
		path := fs.PathJoin("store/db", name)
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		b := read(t, fs, path)
		if at := bytes.Index(b, value); at >= 0 {
			b[at+len(value)/2] ^= 4
			f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.Write(b)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
			hits++
		}
	}
	require.Equal(t, 1, hits)
}

// A bit that flips in a table is named by Verify, and Repair sets that table
// aside, with what of it can be read.
func TestFault_B05_DamagedTableIsSetAside(t *testing.T) {
	v := newVault(t)
	first := min(v.merged, slices.Min(v.sealed)) // the walk over all keys meets it too
	for name, seg := range map[string]uint64{"merged": v.merged, "first": first} {
		t.Run(name, func(t *testing.T) { testDamagedTable(t, v, seg) })
	}
}

func testDamagedTable(t *testing.T, v *vault, seg uint64) {
	ctx := context.Background()
	fs := v.copy(t, func(*pebble.DB) {})
	v.scratch(t, fs, page(v, int64(seg), 0))

	s, err := open("store", nil, seams{fs: fs, limits: vaultLimits})
	require.NoError(t, err)
	defer func() { _ = s.Close() }()
	r, err := s.Verify(ctx, nil)
	require.NoError(t, err)
	require.ErrorIs(t, r.Err(), ErrCorrupt)
	require.ErrorIs(t, s.Err(), ErrCorrupt, "a store that was found to be damaged does not go on")
	named := false
	for _, d := range r.Damage {
		t.Log(d)
		switch d.Part {
		case PartSum:
			require.Equal(t, "a", d.Namespace)
		default:
			require.Equal(t, "a", d.Namespace)
			require.Equal(t, int64(seg), d.Segment)
			named = true
		}
	}
	require.True(t, named)
	again, err := s.Verify(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, r.Damage, again.Damage)
	_ = s.Close()

	mended, err := repair(ctx, "store", nil, seams{fs: fs})
	require.NoError(t, err)
	require.Len(t, mended.SetAside, 1)
	require.Equal(t, seg, mended.SetAside[0].Segment)
	require.NotEmpty(t, read(t, fs, mended.SetAside[0].File))
	unknown, cov := v.answers(t, fs)
	require.EqualValues(t, mended.SetAside[0].Markers, unknown)
	require.False(t, cov.Open)
}

// A damaged filter is made anew from its table: by its own checksum, or by that
// of the block it is in.
func TestFault_B09_FilterIsMadeAnew(t *testing.T) {
	v := &vault{fs: vfs.NewCrashableMem()}
	s, err := open("store", nil, seams{fs: v.fs, limits: limits{full: 20_000, small: 50, merge: 1000}})
	require.NoError(t, err)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for ; v.ids < 20_100; v.ids += 100 { // a filter of two chunks
		accept(t, n, v.ids, 100, 0)
	}
	require.NoError(t, s.queue.drain())
	accept(t, n, v.ids, 1, 0)
	v.ids++
	v.num = n.num
	seg := n.index.(*segments).list[0].num
	require.NoError(t, s.Close())
	for _, how := range []string{"value", "block", "gone"} {
		t.Run(how, func(t *testing.T) {
			key := tableKey(nil, v.num, seg, partFilter, 1)
			fs := v.copy(t, func(db *pebble.DB) {
				switch how {
				case "value":
					flip(t, db, key, 100)
				case "gone":
					require.NoError(t, del(db, key))
				}
			})
			if how == "block" {
				v.scratch(t, fs, key)
			}
			s, err := open("store", nil, seams{fs: fs, limits: vaultLimits})
			require.NoError(t, err)
			n, err := s.Namespace("a", nil)
			require.NoError(t, err)
			require.NoError(t, n.Load())
			require.EqualValues(t, 1, s.Stats().FiltersMadeAnew)
			for i := range v.ids {
				m, found, err := n.Lookup(fmt.Appendf(nil, "id-%d", i))
				require.NoError(t, err)
				require.True(t, found, i)
				require.Equal(t, i, m.Origin.Offset)
			}
			require.NoError(t, s.Err())
			r, err := s.Verify(context.Background(), nil)
			require.NoError(t, err)
			require.NoError(t, r.Err())
			require.Len(t, r.Damage, 1)
			require.Equal(t, PartFilter, r.Damage[0].Part)
			require.NoError(t, s.Err())
			require.NoError(t, s.Close())
		})
	}
}

// What the storage engine cannot open is beyond repair, and so is what is no
// store; an open store is not repaired.
func TestRepair_Refuses(t *testing.T) {
	v := newVault(t)
	ctx := context.Background()
	fs := v.copy(t, func(*pebble.DB) {})
	names, err := fs.List("store/db")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST-") {
			require.NoError(t, fs.Remove(fs.PathJoin("store/db", name)))
		}
	}
	_, err = repair(ctx, "store", nil, seams{fs: fs})
	require.ErrorIs(t, err, ErrBeyondRepair)
	require.ErrorContains(t, err, "restore a backup")

	_, err = Repair(ctx, t.TempDir(), nil)
	require.ErrorIs(t, err, ErrFormat)
	_, err = VerifyDir(ctx, t.TempDir(), nil)
	require.ErrorIs(t, err, ErrFormat)

	dir := t.TempDir()
	testOpen(t, dir, limits{})
	_, err = Repair(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	_, err = VerifyDir(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLocked)
}

// Verify ends with its context, and tells how far it has come.
func TestVerify_ProgressAndCancel(t *testing.T) {
	v := newVault(t)
	s, err := open("store", nil, seams{fs: v.copy(t, func(*pebble.DB) {}), limits: vaultLimits})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	var all []VerifyProgress
	_, err = s.Verify(context.Background(), &VerifyOptions{Progress: func(p VerifyProgress) { all = append(all, p) }})
	require.NoError(t, err)
	last := all[len(all)-1]
	require.Equal(t, 2, last.Namespaces)
	require.Equal(t, 2, last.Done)
	require.EqualValues(t, v.ids, last.Of)
	require.GreaterOrEqual(t, last.Markers, last.Of-2)

	ctx, cancel := context.WithCancel(context.Background())
	_, err = s.Verify(ctx, &VerifyOptions{Progress: func(VerifyProgress) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Err())
}
