package store

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/window"
)

// twin is an index that keeps plain maps beside its segments and holds them
// against each other at every step.
type twin struct {
	*segments
	t       *rapid.T
	durable clock

	mapped
	before mapped
}

var _ index = (*twin)(nil)

// mapped is what the twin knows, and what a rollback puts back.
type mapped struct {
	last map[string]marker // of every ID's text: the marker it was given last
	sums map[uint64]ledger // of every segment: what was accepted into it
	next uint64
}

func (x *twin) begin(durable clock) error {
	x.durable = durable
	x.before = mapped{maps.Clone(x.last), maps.Clone(x.sums), x.segments.next()}
	return x.segments.begin(durable)
}

// live reports whether a marker was in the window by the durable clock.
func (x *twin) live(m marker) bool {
	if m.first == 0 {
		m.first = x.durable.first
	}
	return x.rules.w.ContainsMillis(m.first, x.durable.now)
}

func (x *twin) lookup(id ident, at int) (marker, bool, error) {
	m, found, err := x.segments.lookup(id, at)
	require.NoError(x.t, err)
	if want, ok := x.last[string(id.text)]; ok && x.live(want) {
		require.True(x.t, found, "a marker %+v is gone", want)
		require.Equal(x.t, want, m)
	} else if found {
		require.True(x.t, ok, "a marker %+v that nobody accepted", m)
		require.False(x.t, x.live(m), "a marker that was replaced has come back")
	}
	return m, found, err
}

func (x *twin) accept(id ident, m marker, older, now int64) {
	x.segments.accept(id, m, older, now)
	x.last[string(id.text)] = m
	sum := x.sums[x.open.num]
	sum.add(proof(id.hash, m.first, m.origin.Offset, base{origin: m.origin}.seed(x.s.secret)))
	x.sums[x.open.num] = sum
}

func (x *twin) sum() ledger {
	var want ledger
	for _, g := range x.list {
		if !slices.Contains(x.drops, g) {
			want.add(x.sums[g.num])
		}
	}
	require.Equal(x.t, want, x.segments.sum())
	return want
}

func (x *twin) committed() {
	x.segments.committed()
	for _, g := range x.list { // I6
		require.False(x.t, g.expired(x.durable.now, x.durable.first, x.rules), "segment %d", g.num)
	}
	require.GreaterOrEqual(x.t, x.segments.next(), x.before.next)
}

func (x *twin) rollback() {
	x.segments.rollback()
	x.mapped = x.before
	require.Equal(x.t, x.next, x.segments.next())
	x.sum()
}

// bench drives a twin.
type bench struct {
	t      *rapid.T
	fs     vfs.FS
	limits limits
	opts   Options
	ns     NamespaceOptions
	st     *Store
	n      *Namespace
	x      *twin
	offset int64
	pool   int
}

func newBench(t *rapid.T) *bench {
	b := &bench{t: t, fs: vfs.NewMem(), x: &twin{mapped: mapped{last: map[string]marker{}, sums: map[uint64]ledger{}}}}
	b.limits.full = rapid.SampledFrom([]int{1, 4, 16, 100}).Draw(t, "full")
	b.limits.small = rapid.SampledFrom([]int{1, 4, 20}).Draw(t, "small")
	b.opts.Memory = rapid.SampledFrom([]int64{1, 20_000, 0}).Draw(t, "memory")
	b.ns.Window = rapid.SampledFrom([]window.Window{
		window.Of(time.Millisecond), window.Of(20 * time.Millisecond), window.Of(time.Second), window.Forever,
	}).Draw(t, "window")
	b.pool = rapid.SampledFrom([]int{3, 40, 1000}).Draw(t, "IDs")
	b.open()
	return b
}

func (b *bench) open() {
	var err error
	b.ns.BucketWidth = time.Duration(rapid.IntRange(0, 30).Draw(b.t, "width ms")) * time.Millisecond
	b.st, err = open("store", &b.opts, seams{fs: b.fs, limits: b.limits})
	require.NoError(b.t, err)
	b.n, err = b.st.Namespace("a", &b.ns)
	require.NoError(b.t, err)
	require.NoError(b.t, b.n.Load())
	b.owned(func() {
		b.x.segments, b.x.t = b.n.index.(*segments), b.t
		b.n.index = b.x
	})
}

// owned calls fn while the namespace is ours: the queue keeps off.
func (b *bench) owned(fn func()) {
	require.NoError(b.t, b.n.own())
	defer b.n.disown()
	fn()
}

func (b *bench) ident(t *rapid.T) ident {
	return keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", rapid.IntRange(0, b.pool).Draw(t, "ID"))), b.st.secret)
}

// batch accepts and looks up, and ends as drawn.
func (b *bench) batch(t *rapid.T) {
	b.owned(func() {
		x, c := b.x, b.n.head.clock
		require.NoError(t, x.begin(c))
		offset, epoch := b.offset, int32(0)
		var ready []ident
		for range rapid.IntRange(1, 40).Draw(t, "operations") {
			switch rapid.SampledFrom([]string{
				"accept", "accept", "accept", "accept", "look up", "prepare", "time", "epoch",
			}).Draw(t, "operation") {
			case "accept":
				id := b.ident(t)
				older, _, _ := x.lookup(id, -1)
				m := marker{c.now, Position{TopicID: ID{1}, LeaderEpoch: epoch, Offset: offset}}
				if c.now > 0 && rapid.IntRange(0, 5).Draw(t, "of a row") == 0 {
					m.first += rapid.Int64Range(0, 60).Draw(t, "ahead ms")
				}
				x.accept(id, m, older.first, c.now)
				offset += rapid.Int64Range(1, 1000).Draw(t, "gap")
			case "look up":
				if len(ready) > 0 {
					at := rapid.IntRange(0, len(ready)-1).Draw(t, "at")
					x.lookup(ready[at], at)
				}
				x.lookup(b.ident(t), -1)
			case "prepare":
				ready = ready[:0]
				for range rapid.IntRange(0, 100).Draw(t, "IDs") {
					ready = append(ready, b.ident(t))
				}
				x.prepare(ready)
			case "time":
				c.now += rapid.SampledFrom([]int64{1, 2, 10, 100, 2000}).Draw(t, "ms")
				if c.first == 0 {
					c.first, c.times = c.now, firstTimes
				}
			case "epoch":
				epoch++
			}
		}
		x.sum()
		if rapid.IntRange(0, 3).Draw(t, "rolled back") == 0 {
			x.rollback()
			return
		}
		w := &Batch{n: b.n, head: b.n.head, failed: -1}
		w.head.clock = c
		require.NoError(t, w.commit())
		b.n.keep(w)
		b.offset = offset
	})
	b.all(t)
}

// all looks up every ID, prepared and not.
func (b *bench) all(t *rapid.T) {
	b.owned(func() {
		require.NoError(t, b.x.begin(b.n.head.clock))
		var ids []ident
		for i := range min(b.pool+1, 50) {
			ids = append(ids, keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", i)), b.st.secret))
		}
		for _, id := range ids {
			b.x.lookup(id, -1)
		}
		b.x.prepare(ids)
		for i, id := range ids {
			b.x.lookup(id, i)
		}
		b.x.rollback()
	})
}

// Whatever is accepted, cut, spilled, dropped, rolled back or read again, the
// segments answer as a map does.
func TestIndex_IsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t)
		defer func() { require.NoError(t, b.st.Close()) }()
		t.Repeat(map[string]func(*rapid.T){
			"batch": b.batch,
			"drain": func(t *rapid.T) { require.NoError(t, b.st.queue.drain()) },
			"reopen": func(t *rapid.T) {
				require.NoError(t, b.st.Close())
				b.open()
				b.all(t)
			},
		})
	})
}
