package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// vault is a store that has some of everything, written once, of which every
// case of a test gets a copy.
type vault struct {
	fs  *vfs.MemFS
	num uint32 // of its namespace "a"
	ids int64  // "id-0" and so on were accepted, at offsets of their number

	sealed []uint64 // segments with a table
	merged uint64
	loose  []uint64 // segments that stand in runs
	shared uint64   // one in a shared table
	x      *segments
	seq    uint64 // of the batch before the newest, with an output

	ingested uint64 // a table that the catalogue does not know yet
}

var vaultLimits = limits{full: 200, small: 50, merge: 1000}

const vaultBatch = 50

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{fs: vfs.NewCrashableMem()}
	s, err := open("store", nil, seams{fs: v.fs, limits: limits{full: 200, small: 50, merge: 4}})
	require.NoError(t, err)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(28 * 24 * time.Hour)})
	require.NoError(t, err)
	for ; v.ids < 2050; v.ids += vaultBatch {
		accept(t, n, v.ids, vaultBatch, int32(v.ids/600))
		if v.ids%600 == 0 {
			mergedNow(t, s, n)
		}
	}
	mergedNow(t, s, n)
	require.NoError(t, s.Close())
	s, err = open("store", nil, seams{fs: v.fs, limits: vaultLimits})
	require.NoError(t, err)
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	for _, more := range []struct {
		count int64
		epoch int32
	}{{130, 100}, {150, 101}, {40, 105}, {10, 102}, {10, 102}, {30, 103}, {20, 104}} { // two for tables of their own
		accept(t, n, v.ids, more.count, more.epoch)
		v.ids += more.count
		require.NoError(t, s.queue.drain())
	}
	for range 2 {
		require.NoError(t, n.Update(func(b *Batch) error {
			_, err := b.Do(rec(fmt.Sprintf("id-%d", v.ids), v.ids, 10*24*time.Hour), func(tx *Tx) error { // a jump
				if err := tx.Set([]byte("k"), []byte("v")); err != nil {
					return err
				}
				return tx.Stage([]byte("out"))
			})
			v.ids++
			return err
		}))
	}
	require.Len(t, n.row.list, 2)
	require.NoError(t, n.own())
	require.Equal(t, 1, shareNow(t, n, 40))
	n.index.relieve(1)
	n.disown()
	require.NoError(t, s.queue.drain())
	v.num, v.x, v.seq = n.num, n.index.(*segments), n.head.sequence-1
	v.x.adopt() // the queue could not, if the table was there before the namespace was let go
	for _, g := range v.x.list {
		switch {
		case g.merged():
			v.merged = g.num
		case g.shared:
			v.shared = g.num
		case g.table == nil:
			v.loose = append(v.loose, g.num)
		case g.uncatalogued:
			v.ingested = g.num
		default:
			v.sealed = append(v.sealed, g.num)
		}
	}
	require.NotZero(t, v.ingested)
	require.NotZero(t, v.merged)
	require.NotZero(t, v.shared)
	require.NotEmpty(t, v.sealed)
	require.NotEmpty(t, v.loose)
	_, err = s.Namespace("b", nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return v
}

// copy returns a copy of the files, in which plant has changed keys behind the
// store's back.
func (v *vault) copy(t *testing.T, plant func(*pebble.DB)) vfs.FS {
	t.Helper()
	fs := v.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	db, err := pebble.Open("store/db", &pebble.Options{
		FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, Logger: newFault(nil),
	})
	require.NoError(t, err)
	plant(db)
	require.NoError(t, db.Close())
	return fs
}

func get(t *testing.T, db *pebble.DB, key []byte) []byte {
	t.Helper()
	b, c, err := db.Get(key)
	require.NoError(t, err)
	b = append([]byte{}, b...)
	require.NoError(t, c.Close())
	return b
}

// flip flips a bit of a value; at counts from the end when it is negative.
func flip(t *testing.T, db *pebble.DB, key []byte, at int) {
	t.Helper()
	b := get(t, db, key)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	require.NoError(t, db.Set(key, b, pebble.Sync))
}

type planted struct {
	name    string
	plant   func(t *testing.T, v *vault, db *pebble.DB)
	part    Part
	segment func(v *vault) int64 // nil: none
	page    int64                // -1: none
	beyond  bool                 // no repair
	open    bool                 // a repair opens coverage
}

func none(*vault) int64                 { return -1 }
func aSealed(v *vault) int64            { return int64(v.sealed[0]) }
func theMerged(v *vault) int64          { return int64(v.merged) }
func theShared(v *vault) int64          { return int64(v.shared) }
func aLoose(v *vault) int64             { return int64(v.loose[0]) }
func del(db *pebble.DB, k []byte) error { return db.Delete(k, pebble.Sync) }

// ofShared returns the first key of a part of the shared table.
func (v *vault) ofShared(part byte) []byte {
	f := facts{num: v.shared, shared: true}
	return f.key(nil, v.num, part, 0)
}

func page(v *vault, seg int64, p uint32) []byte {
	return tableKey(nil, v.num, uint64(seg), partPage, p)
}

var damages = []planted{
	{"store record", func(t *testing.T, _ *vault, db *pebble.DB) {
		b := get(t, db, []byte{kindStore})
		require.NoError(t, db.Set([]byte{kindStore}, append(b, 0), pebble.Sync))
	}, PartRecord, none, -1, true, false},
	{"a namespace is gone from the registry", func(t *testing.T, _ *vault, db *pebble.DB) {
		require.NoError(t, del(db, nameKey("a")))
	}, PartRegistry, none, -1, true, false},
	{"settings of a namespace", func(t *testing.T, _ *vault, db *pebble.DB) {
		flip(t, db, nameKey("b"), 11)
	}, PartRegistry, none, -1, true, false},
	{"keys of a namespace that never was", func(t *testing.T, _ *vault, db *pebble.DB) {
		require.NoError(t, db.Set(runKey(77, 1, 0), []byte{1}, pebble.Sync))
	}, PartKeys, none, -1, true, false},
	{"keys of no kind", func(t *testing.T, _ *vault, db *pebble.DB) {
		require.NoError(t, db.Set([]byte{0x7f, 0, 0, 0, 1}, []byte{1}, pebble.Sync))
	}, PartKeys, none, -1, true, false},
	{"openings", func(t *testing.T, _ *vault, db *pebble.DB) {
		require.NoError(t, db.Set([]byte{kindOpens}, []byte{1}, pebble.Sync))
	}, PartOpens, none, -1, true, false},

	{"head", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(nsKey(kindHead, v.num), []byte{9}, pebble.Sync))
	}, PartHead, none, -1, true, false},
	{"head is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, nsKey(kindHead, v.num)))
	}, PartHead, none, -1, true, false},
	{"state without a batch", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(stateKey(v.num+1, []byte("k")), nil, pebble.Sync))
	}, PartHead, none, -1, true, false},
	{"head of other settings", func(t *testing.T, v *vault, db *pebble.DB) {
		h, ok := parseHead(get(t, db, nsKey(kindHead, v.num)))
		require.True(t, ok)
		h.settings ^= 1
		require.NoError(t, db.Set(nsKey(kindHead, v.num), h.append(nil), pebble.Sync))
	}, PartHead, none, -1, true, false},
	{"settings of before, which the store record proves", func(t *testing.T, _ *vault, db *pebble.DB) {
		r, ok := parseStoreRecord(get(t, db, []byte{kindStore}))
		require.True(t, ok)
		key := nameKey("a")
		entry := get(t, db, key)
		r.namespaces.sub(r.entryProof(key, entry))
		entry[4+7] ^= 1 // of the window
		r.namespaces.add(r.entryProof(key, entry))
		require.NoError(t, db.Set(key, entry, pebble.Sync))
		require.NoError(t, db.Set([]byte{kindStore}, r.append(nil), pebble.Sync))
	}, PartHead, none, -1, true, false},
	{"an output is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		k := outKey(v.num, v.seq, 0)
		b := get(t, db, k)
		require.NoError(t, del(db, k))
		require.NoError(t, db.Set(outKey(v.num, v.seq, 1), b, pebble.Sync))
	}, PartOutputs, none, -1, true, false},
	{"an output of a batch that never was", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(outKey(v.num, 1000, 0), get(t, db, outKey(v.num, v.seq, 0)), pebble.Sync))
	}, PartOutputs, none, -1, true, false},

	{"ages", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(nsKey(kindAges, v.num), []byte{1}, pebble.Sync))
	}, PartAges, none, -1, true, false},

	{"row", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, nsKey(kindRow, v.num), -1)
	}, PartRow, none, -1, false, true},
	{"row is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, nsKey(kindRow, v.num)))
	}, PartRow, none, -1, false, true},
	{"catalogue entry", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(segKey(kindCat, v.num, v.sealed[0]), []byte{9}, pebble.Sync))
	}, PartCatalogue, aSealed, -1, false, true},
	{"catalogue entry is another", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, segKey(kindCat, v.num, v.sealed[0]), 50)
	}, PartHeader, aSealed, -1, false, true},
	{"catalogue entry is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, segKey(kindCat, v.num, v.sealed[0])))
	}, PartTable, aSealed, -1, false, true},
	{"dead record of a live segment", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(segKey(kindDead, v.num, v.sealed[0]), nil, pebble.Sync))
	}, PartDead, aSealed, -1, false, false},
	{"dead record", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(nsKey(kindDead, v.num), nil, pebble.Sync))
	}, PartDead, none, -1, false, true},
	{"table is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		k := segKey(kindPage, v.num, v.sealed[0])
		require.NoError(t, db.DeleteRange(k, after(k), pebble.Sync))
	}, PartTable, aSealed, -1, false, false},
	{"header is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, tableKey(nil, v.num, v.sealed[0], partHeader, 0)))
	}, PartHeader, aSealed, -1, false, false},
	{"header", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, tableKey(nil, v.num, v.merged, partHeader, 0), 0)
	}, PartHeader, theMerged, -1, false, false},
	{"page is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, page(v, aSealed(v), 2)))
	}, PartPage, aSealed, 2, false, false},
	{"page ends early", func(t *testing.T, v *vault, db *pebble.DB) {
		k := page(v, theMerged(v), 3)
		b := get(t, db, k)
		require.NoError(t, db.Set(k, b[:len(b)-1], pebble.Sync))
	}, PartPage, theMerged, 3, false, false},
	{"two pages have changed places", func(t *testing.T, v *vault, db *pebble.DB) {
		a, b := get(t, db, page(v, aSealed(v), 0)), get(t, db, page(v, aSealed(v), 1))
		require.NoError(t, db.Set(page(v, aSealed(v), 0), b, pebble.Sync))
		require.NoError(t, db.Set(page(v, aSealed(v), 1), a, pebble.Sync))
	}, PartPage, aSealed, 0, false, false},
	{"a page too many", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(page(v, aSealed(v), 999), nil, pebble.Sync))
	}, PartTable, aSealed, -1, false, false},
	{"an offset in a page", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, page(v, aSealed(v), 1), -1) // the low bit of a varint: its sign
	}, PartTable, aSealed, -1, false, false},
	{"filter", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, tableKey(nil, v.num, v.sealed[0], partFilter, 0), 3)
	}, PartFilter, aSealed, -1, false, false},
	{"filter is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, tableKey(nil, v.num, v.merged, partFilter, 0)))
	}, PartFilter, theMerged, -1, false, false},
	{"run", func(t *testing.T, v *vault, db *pebble.DB) {
		k := runKey(v.num, v.loose[0], 0)
		b := get(t, db, k)
		require.NoError(t, db.Set(k, b[:len(b)-1], pebble.Sync))
	}, PartRun, aLoose, -1, false, true},
	{"run is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, runKey(v.num, v.loose[0], 0)))
	}, PartRun, aLoose, -1, false, true},
	{"an offset in a run", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, runKey(v.num, v.loose[0], 0), -1)
	}, PartSum, none, -1, false, true},
	{"an offset in a run whose table is there", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, runKey(v.num, v.ingested, 0), -1)
	}, PartTable, func(v *vault) int64 { return int64(v.ingested) }, -1, false, true},
	{"run of a segment that has a table", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(runKey(v.num, v.sealed[0], 0), get(t, db, runKey(v.num, v.loose[0], 0)), pebble.Sync))
	}, PartRun, aSealed, -1, false, false},
	{"page of a shared table is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, v.ofShared(partPage)))
	}, PartPage, theShared, 0, false, false},
	{"page of a shared table ends early", func(t *testing.T, v *vault, db *pebble.DB) {
		b := get(t, db, v.ofShared(partPage))
		require.NoError(t, db.Set(v.ofShared(partPage), b[:len(b)-1], pebble.Sync))
	}, PartPage, theShared, 0, false, false},
	{"an offset in a shared table", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, v.ofShared(partPage), -1)
	}, PartTable, theShared, -1, false, false},
	{"filter of a shared table", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, v.ofShared(partFilter), 3)
	}, PartFilter, theShared, -1, false, false},
	{"filter of a shared table is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, v.ofShared(partFilter)))
	}, PartFilter, theShared, -1, false, false},
	{"shared table is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		k := v.ofShared(partPage)[:13]
		require.NoError(t, db.DeleteRange(k, after(k), pebble.Sync))
	}, PartPage, theShared, 0, false, false},
	{"catalogue entry of a shared table is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, del(db, segKey(kindCat, v.num, v.shared)))
	}, PartTable, theShared, -1, false, true},
	{"catalogue entry of a shared table is another", func(t *testing.T, v *vault, db *pebble.DB) {
		flip(t, db, segKey(kindCat, v.num, v.shared), 57)
	}, PartTable, theShared, -1, false, true},
	{"a run of a segment in a shared table", func(t *testing.T, v *vault, db *pebble.DB) {
		require.NoError(t, db.Set(runKey(v.num, v.shared, 0), get(t, db, runKey(v.num, v.loose[0], 0)), pebble.Sync))
	}, PartRun, theShared, -1, false, false},
	{"a whole segment is gone", func(t *testing.T, v *vault, db *pebble.DB) {
		for _, kind := range []byte{kindPage, kindCat} {
			k := segKey(kind, v.num, v.sealed[0])
			require.NoError(t, db.DeleteRange(k, after(k), pebble.Sync))
		}
	}, PartSum, none, -1, false, true},
	{"a head of before", func(t *testing.T, v *vault, db *pebble.DB) {
		h, ok := parseHead(get(t, db, nsKey(kindHead, v.num)))
		require.True(t, ok)
		h.next = placeOfNum(v.sealed[0])
		require.NoError(t, db.Set(nsKey(kindHead, v.num), h.append(nil), pebble.Sync))
	}, PartTable, aSealed, -1, false, true},
}

func (p *planted) in(t *testing.T, v *vault) vfs.FS {
	t.Helper()
	return v.copy(t, func(db *pebble.DB) { p.plant(t, v, db) })
}

// Every kind of damage is found and named, and nothing else is.
func TestVerify_NamesTheDamage(t *testing.T) {
	v := newVault(t)
	clean, err := verifyDir(context.Background(), "store", nil, seams{fs: v.copy(t, func(*pebble.DB) {})})
	require.NoError(t, err)
	require.Empty(t, clean.Damage)
	require.NoError(t, clean.Err())
	require.EqualValues(t, 2, clean.Namespaces)
	require.Equal(t, len(v.x.list), clean.Segments)
	require.GreaterOrEqual(t, clean.Markers, uint64(v.ids)-2)
	require.EqualValues(t, 2, clean.Outputs)
	require.EqualValues(t, 1, clean.StateKeys)
	for _, p := range damages {
		t.Run(p.name, func(t *testing.T) {
			fs := p.in(t, v)
			r, err := verifyDir(context.Background(), "store", nil, seams{fs: fs})
			require.NoError(t, err)
			found := false
			for _, d := range r.Damage {
				t.Log(d)
				found = found || d.Part == p.part && d.Segment == p.segment(v) && d.Page == p.page
			}
			require.True(t, found)
			require.Equal(t, p.part == PartFilter, r.Err() == nil)
			if r.Err() != nil {
				require.ErrorIs(t, r.Err(), ErrCorrupt)
			}
		})
	}
}
