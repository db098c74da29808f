package store

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/window"
)

// plainIndex is the other thing behind the index seam: a map. It drops nothing, so
// what it holds beyond the window is for the test to judge.
type plainIndex struct {
	markers map[string]marker
	undo    map[string]marker
	all     ledger // of everything that was ever accepted
	was     ledger
	count   uint64
}

var _ index = (*plainIndex)(nil)

func (p *plainIndex) begin(clock, bool) error {
	p.undo, p.was = maps.Clone(p.markers), p.all
	return nil
}

func (p *plainIndex) prepare([]ident)                {}
func (p *plainIndex) dropping() bool                 { return false }
func (p *plainIndex) setRules(rules, window.Buckets) {}

func (p *plainIndex) lookup(id ident, _ int) (marker, bool, error) {
	m, ok := p.markers[string(id.text)]
	return m, ok, nil
}

func (p *plainIndex) accept(id ident, m marker, _, _ int64) {
	p.markers[string(id.text)] = m
	p.all.add(proof(id.hash, m.first, m.origin.Offset, 0))
	p.count++
}

func (p *plainIndex) forget(id ident, _ marker, _ int64) {
	delete(p.markers, string(id.text))
}

func (p *plainIndex) sweep(s sweep) error {
	maps.DeleteFunc(p.markers, func(_ string, m marker) bool { return s.matches(m) })
	return nil
}

func (p *plainIndex) sweepSum() uint64      { return 0 }
func (p *plainIndex) end()                  {}
func (p *plainIndex) stage(*pebble.Batch)   {}
func (p *plainIndex) sum() ledger           { return p.all }
func (p *plainIndex) next() uint64          { return p.count }
func (p *plainIndex) committed()            {}
func (p *plainIndex) rollback()             { p.markers, p.all = p.undo, p.was }
func (p *plainIndex) hold()                 {}
func (p *plainIndex) absorb()               {}
func (p *plainIndex) detach() bool          { return false }
func (p *plainIndex) unhold(bool)           {}
func (p *plainIndex) follows(clock) bool    { return false }
func (p *plainIndex) follow()               {}
func (p *plainIndex) failed()               {}
func (p *plainIndex) adopt()                {}
func (p *plainIndex) release(e int64) int64 { return e }
func (p *plainIndex) relieve(e int64) int64 { return e }
func (p *plainIndex) squeeze(e int64) int64 { return e }
func (p *plainIndex) strip(e int64) int64   { return e }
func (p *plainIndex) unload() (int64, bool) { return 0, false }

// twins are the two indexes, driven alike.
type twins struct {
	t      *rapid.T
	fs     vfs.FS
	opts   Options
	limits limits
	ns     NamespaceOptions
	st     *Store
	n      *Namespace
	x      *segments
	up     *flight // it does not arrive before the test wants it to; nil: none
	plain  *plainIndex
	w      window.Window

	now    int64 // C, as the batch has it
	stored int64 // C, durable
	origin Position
	ids    int
	forget bool // it does
	sweeps uint64
}

func (w *twins) id() ident {
	return keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d",
		rapid.IntRange(0, w.ids).Draw(w.t, "id"))), w.st.secret)
}

// segments answer as a plain map does, through batches, rollbacks, spills, drops,
// re-acceptance and restarts; after every batch they are what they say they are.
func TestIndex_SegmentsAsAPlainMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &twins{
			t: t, fs: vfs.NewMem(), plain: &plainIndex{markers: map[string]marker{}},
			opts: Options{Memory: rapid.SampledFrom([]int64{0, 1, 20_000}).Draw(t, "memory")},
			limits: limits{
				full:  rapid.IntRange(1, 40).Draw(t, "full"),
				small: rapid.IntRange(1, 10).Draw(t, "small"),
				merge: rapid.IntRange(1, 10).Draw(t, "merge"),
			},
			now: 1000, stored: 1000, origin: Position{TopicID: ID{1}},
			ids: rapid.SampledFrom([]int{3, 40, 1000}).Draw(t, "IDs"),
		}
		w.forget = rapid.Bool().Draw(t, "forget")
		w.w = window.Of(time.Duration(rapid.IntRange(1, 60).Draw(t, "window ms")) * time.Millisecond)
		if rapid.IntRange(0, 5).Draw(t, "forever") == 0 {
			w.w = window.Forever
		}
		w.ns.Window = w.w
		w.open()
		defer func() {
			w.taken(w.land)
			require.NoError(t, w.st.Close())
		}()
		for range rapid.IntRange(1, 40/min(heavy, 4)).Draw(t, "batches") {
			w.taken(w.batch)
			if rapid.IntRange(0, 5).Draw(t, "drain") == 0 {
				w.taken(w.land)
				require.NoError(t, w.st.queue.drain())
				w.owned(func() { require.Equal(t, w.x.bytes.markers(), w.st.memory.Load()) })
			}
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				w.taken(w.land)
				require.NoError(t, w.st.Close())
				w.open()
				w.owned(w.prove)
			}
		}
	})
}

// open opens the store with buckets of any width, and reads the index back.
func (w *twins) open() {
	var err error
	w.ns.BucketWidth = time.Duration(rapid.IntRange(1, 30).Draw(w.t, "width ms")) * time.Millisecond
	w.st, err = open("store", &w.opts, seams{fs: w.fs, limits: w.limits})
	require.NoError(w.t, err)
	w.n, err = w.st.Namespace("a", &w.ns)
	require.NoError(w.t, err)
	require.NoError(w.t, w.n.Load())
	w.x = w.n.index.(*segments)
}

// owned calls fn as the namespace's owner: the queue lets go of a table only
// between two owners.
func (w *twins) owned(fn func()) {
	require.NoError(w.t, w.n.own())
	defer w.n.disown()
	fn()
}

// taken is owned, while a batch may be on its way.
func (w *twins) taken(fn func()) {
	require.NoError(w.t, errors.Join(w.st.enter(), w.n.take()))
	defer w.n.disown()
	fn()
}

// land has the batch that is on its way arrive.
func (w *twins) land() {
	if w.up != nil {
		require.NoError(w.t, errors.Join(w.up.arrive(), w.n.land()))
		w.up = nil
	}
}

// batch drives one batch through both, and checks what is left.
func (w *twins) batch() {
	begun := clock{now: w.stored, first: 1000, times: firstTimes}
	follows := w.up != nil && w.n.follows()
	if follows {
		w.x.follow()
	} else {
		w.land()
		require.NoError(w.t, w.x.begin(begun, true))
	}
	require.NoError(w.t, w.plain.begin(begun, true))
	var ids []ident
	prepared := rapid.Bool().Draw(w.t, "prepare")
	for range rapid.IntRange(0, 60).Draw(w.t, "records") {
		ids = append(ids, w.id())
	}
	if prepared {
		w.x.prepare(ids)
	}
	for i, id := range ids {
		at := -1
		if prepared && rapid.IntRange(0, 9).Draw(w.t, "not in turn") > 0 {
			at = i
		}
		w.record(id, at)
		if rapid.IntRange(0, 50).Draw(w.t, "prepare again") == 0 {
			w.x.prepare(ids)
			prepared = true
		}
	}
	if rapid.IntRange(0, 3).Draw(w.t, "rollback") == 0 {
		w.x.rollback()
		w.plain.rollback()
		w.now = w.stored
	} else {
		if follows {
			require.NoError(w.t, w.up.arrive())
			w.up = nil
		}
		b := &Batch{n: w.n, head: w.n.head}
		b.head.clock = clock{now: w.now, first: 1000, times: firstTimes}
		var err error
		w.up, err = b.commit(true)
		require.NoError(w.t, err)
		w.plain.committed()
		w.stored = w.now
		require.Equal(w.t, b.head.sum, w.x.sum(), "the sum that the head was written with")
		if w.up != nil && rapid.Bool().Draw(w.t, "goes on before it is durable") {
			return
		}
		w.land()
		for _, g := range w.x.list {
			replaced := g.merging != nil && !g.merging.cancel() // it goes with the merge
			require.True(w.t, replaced || w.w.ContainsMillis(g.high, begun.now), "I6: segment %d", g.num)
		}
		switch rapid.IntRange(0, 5).Draw(w.t, "relieve") {
		case 0:
			w.x.relieve(1 << 40)
		case 1:
			shareNow(w.t, w.n, rapid.IntRange(1, 20).Draw(w.t, "least"))
		}
	}
	w.land()
	w.prove()
}

// record looks an ID up and, where it is no duplicate, accepts it.
func (w *twins) record(id ident, at int) {
	switch rapid.IntRange(0, 30).Draw(w.t, "event") {
	case 0, 1, 2, 3:
		w.now += rapid.Int64Range(0, 5).Draw(w.t, "step")
	case 4:
		w.now += rapid.Int64Range(0, 200).Draw(w.t, "leap")
	case 5:
		w.origin.LeaderEpoch++
	case 6:
		w.origin.TopicID[0]++
	case 7:
		if w.forget {
			w.sweep()
		}
	}
	got, found, err := w.x.lookup(id, at)
	require.NoError(w.t, err)
	want, ok, _ := w.plain.lookup(id, at)
	live := ok && w.w.ContainsMillis(want.first, w.now)
	if live || found && w.w.ContainsMillis(got.first, w.now) {
		require.True(w.t, found && ok)
		require.Equal(w.t, want, got, "the last accepted counts")
	}
	w.origin.Offset++
	if live && w.forget && rapid.IntRange(0, 9).Draw(w.t, "forget") < 2 {
		w.x.forget(id, got, w.now)
		w.plain.forget(id, want, w.now)
		return
	}
	if live && rapid.IntRange(0, 9).Draw(w.t, "again") > 0 {
		return
	}
	m := marker{first: w.now, origin: w.origin}
	if rapid.IntRange(0, 9).Draw(w.t, "ahead") == 0 {
		m.first += rapid.Int64Range(0, 100).Draw(w.t, "by") // out of a row
	}
	w.x.accept(id, m, got.first, w.now)
	w.plain.accept(id, m, want.first, w.now)
}

// sweep forgets a range in both.
func (w *twins) sweep() {
	w.sweeps++
	s := sweep{num: w.sweeps, what: rapid.SampledFrom([]sweepKind{sweepAll, sweepOrigins, sweepTimes}).Draw(w.t, "what")}
	switch s.what {
	case sweepOrigins:
		s.topic, s.partition = w.origin.TopicID, w.origin.Partition
		s.from = rapid.Int64Range(0, w.origin.Offset).Draw(w.t, "from")
		s.to = s.from + rapid.Int64Range(1, 200).Draw(w.t, "offsets")
	case sweepTimes:
		s.from = w.now - rapid.Int64Range(-50, 200).Draw(w.t, "from")
		s.to = s.from + rapid.Int64Range(1, 200).Draw(w.t, "ms")
	}
	require.NoError(w.t, errors.Join(w.x.sweep(s), w.plain.sweep(s)))
}

// prove checks ledgers (I11), filters (I7), the budget, and every live marker.
func (w *twins) prove() {
	var total ledger
	var unwritten, kept int64
	last := -1
	for _, g := range w.x.list {
		require.Greater(w.t, int(g.num), last, "in order")
		require.Less(w.t, placeOfNum(g.num), w.x.count)
		last = int(g.num)
		total.add(g.all)
		if g.table != nil {
			require.Equal(w.t, g.pages, g.table.pages)
			require.Nil(w.t, g.exact)
			if g.table.kept != nil {
				kept += g.table.kept.bytes
			}
			continue
		}
		unwritten += g.exact.bytes()
		var all ledger
		require.True(w.t, g.exact.each(g.base(), w.st.secret, func(id ident, m marker, place uint32) {
			all.add(g.base().proofOf(g.exact.arena.at(place), id.hash, g.seeds[0]))
			require.LessOrEqual(w.t, m.first, g.high)
			require.GreaterOrEqual(w.t, m.first, g.low)
		}))
		require.Equal(w.t, g.all, all, "segment %d", g.num)
		require.Equal(w.t, int(g.live()), g.exact.table.n, "segment %d", g.num)
	}
	require.Equal(w.t, total, w.x.total)
	require.Equal(w.t, weight{unwritten: unwritten, kept: kept, filters: w.x.bytes.filters}, w.x.bytes)
	require.GreaterOrEqual(w.t, w.st.memory.Load(), unwritten+kept, "the queue may hold what it is to keep")
	for i := range w.ids + 1 {
		id := keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", i)), w.st.secret)
		want, ok := w.plain.markers[string(id.text)]
		got, found, err := w.x.lookup(id, -1)
		require.NoError(w.t, err)
		if ok && w.w.ContainsMillis(want.first, w.stored) {
			require.True(w.t, found)
			require.Equal(w.t, want, got)
		} else if found {
			require.False(w.t, w.w.ContainsMillis(got.first, w.stored), "an older copy stands again, or a forgotten one")
		}
	}
	w.x.endBatch()
}
