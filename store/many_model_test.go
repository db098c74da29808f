package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// crowd is many namespaces of one store beside what plain maps know of them.
type crowd struct {
	t    *testing.T
	rng  *rand.Rand
	fs   vfs.FS
	opts Options
	lim  limits
	s    *Store
	all  []*member

	unloaded, tables, shared, expired, deleted, asked int // what the test has met
}

// member is one namespace. The times of its records never go back, so C is the
// newest of them, and F of a marker is the time of its record.
type member struct {
	name    string
	n       *Namespace
	w       window.Window
	now     int64 // C in ms, 0 before the first record
	offset  int64
	markers map[string]memberMarker
}

type memberMarker struct{ first, offset int64 }

// counts reports whether a marker lies in the window.
func (m *member) counts(v memberMarker) bool { return m.now-v.first < m.w.Millis() }

// Namespaces that come and go, rest, are read back, roll over and expire under a
// budget that holds next to none of them answer as plain maps do.
func TestBudget_NamespacesAsPlainMaps(t *testing.T) {
	met := crowd{}
	for seed := range max(18/heavy, 6) {
		c := &crowd{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), fs: vfs.NewMem()}
		c.opts = Options{Logger: quiet(), Memory: []int64{1, 10_000, 100_000}[seed%3]}
		c.opts.FilterMemory = []int64{1, 3000, 0, 0}[seed%4]
		c.lim = limits{full: 10 + c.rng.IntN(90), small: 5 + c.rng.IntN(60), merge: 3 + c.rng.IntN(8), table: 64 << 10}
		c.lim.share = 1 + c.rng.IntN(30)
		for i := range 3 + c.rng.IntN(20) {
			c.all = append(c.all, &member{name: fmt.Sprintf("n-%d", i)})
		}
		c.open()
		for range 150 {
			c.step()
		}
		c.end()
		met.unloaded, met.tables, met.expired = met.unloaded+c.unloaded, met.tables+c.tables, met.expired+c.expired
		met.deleted, met.asked, met.shared = met.deleted+c.deleted, met.asked+c.asked, met.shared+c.shared
	}
	t.Logf("%d read back, %d tables, %d shared, %d markers expired, %d deleted, %d asked beside",
		met.unloaded, met.tables, met.shared, met.expired, met.deleted, met.asked)
	for _, n := range []int{met.unloaded, met.tables, met.shared, met.expired, met.deleted, met.asked} {
		require.Greater(t, n, 5)
	}
}

func (c *crowd) open() {
	var err error
	c.s, err = open("store", &c.opts, seams{fs: c.fs, limits: c.lim})
	require.NoError(c.t, err)
	for _, m := range c.all {
		m.n = nil // used again by and by
	}
}

func (c *crowd) step() {
	m := c.all[c.rng.IntN(len(c.all))]
	if c.rng.IntN(3) > 0 {
		m = c.all[c.rng.IntN(2)] // some are busy, and most rest
	}
	switch c.rng.IntN(25) {
	case 0:
		require.NoError(c.t, c.s.Close())
		c.open()
	case 1:
		if m.markers != nil {
			require.NoError(c.t, c.s.DeleteNamespace(m.name))
			*m = member{name: m.name}
			c.deleted++
		}
	case 2, 3:
		require.NoError(c.t, c.s.queue.drain())
	case 4, 5, 6:
		c.ask(m)
	default:
		c.batch(m)
	}
}

// use returns the handle of a namespace, which may not be there yet.
func (c *crowd) use(m *member) *Namespace {
	if m.markers == nil {
		m.markers, m.w = map[string]memberMarker{}, window.Of(time.Duration(200+c.rng.IntN(2000))*time.Millisecond)
	}
	if m.n == nil {
		n, err := c.s.Namespace(m.name, &NamespaceOptions{Window: m.w})
		require.NoError(c.t, err)
		m.n = n
	} else if m.n.picture.Load().index == nil {
		c.unloaded++
	}
	return m.n
}

func (m *member) id(i int) []byte { return fmt.Appendf(nil, "id-%d", i) }

// batch gives a namespace some records.
func (c *crowd) batch(m *member) {
	require.NoError(c.t, c.use(m).Update(func(b *Batch) error {
		size, pool := 1+c.rng.IntN(80), []int{10, 100, 1000}[c.rng.IntN(3)]
		ids := make([][]byte, size)
		for i := range ids {
			ids[i] = m.id(c.rng.IntN(pool))
		}
		if c.rng.IntN(2) == 0 {
			b.Prepare(ids)
		}
		for i, id := range ids {
			if m.offset >= firstTimes && c.rng.IntN(3) == 0 { // the first ones set the clock: all of one time
				m.now += c.rng.Int64N(40)
			}
			at := time.Duration(m.now) * time.Millisecond
			d, err := b.Do(rec(string(id), m.offset, at), nil)
			require.NoError(c.t, err)
			old, ok := m.markers[string(id)]
			if ok && m.counts(old) {
				require.Equal(c.t, Duplicate, d.Verdict, "%s, record %d, %s", m.name, i, id)
				require.Equal(c.t, old.offset, d.Origin.Offset, "%s, record %d, %s", m.name, i, id)
			} else {
				require.Equal(c.t, New, d.Verdict, "%s, record %d, %s", m.name, i, id)
				m.markers[string(id)] = memberMarker{m.now, m.offset}
				if ok {
					c.expired++
				}
			}
			m.offset++
		}
		return nil
	}))
	segments, err := m.n.Segments()
	require.NoError(c.t, err)
	for _, g := range segments {
		switch {
		case g.Shared:
			c.shared++
		case g.Pages > 0:
			c.tables++
		}
	}
}

// ask looks IDs up beside the batches.
func (c *crowd) ask(m *member) {
	n := c.use(m)
	for range 5 {
		id := m.id(c.rng.IntN(100))
		v, ok := m.markers[string(id)]
		got, found, err := n.Lookup(id)
		require.NoError(c.t, err)
		require.Equal(c.t, ok && m.counts(v), found, "%s, %s", m.name, id)
		if found {
			require.Equal(c.t, v.offset, got.Origin.Offset)
		}
		c.asked++
	}
}

// end proves what is on disk, and that nothing is left of what is deleted.
func (c *crowd) end() {
	for _, m := range c.all {
		c.ask(m)
	}
	require.NoError(c.t, c.s.queue.drain())
	for _, m := range c.all {
		require.NoError(c.t, c.s.DeleteNamespace(m.name))
	}
	require.NoError(c.t, c.s.queue.drain())
	for _, kind := range slices.Concat(tableKinds, spaceKinds) {
		require.Zero(c.t, count(c.t, c.s, kind), "kind %d", kind)
	}
	require.Zero(c.t, c.s.memory.Load())
	require.Zero(c.t, c.s.filters.Load())
	require.NoError(c.t, c.s.Close())
}
