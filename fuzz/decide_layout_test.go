package fuzz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// layout is one way to play scripts into a store. Nothing in it may show in a
// decision.
type layout struct {
	Batch    int // most records of a batch
	Prepare  bool
	Full     int // markers of a full segment; 0: the store's own
	Small    int
	Memory   int64         // the budget; 0: the store's own
	Width    time.Duration // of buckets; 0: the store's own
	Fail     int           // of 100 records: the handler fails or panics first
	Rollback int           // of 100 batches: fails after its last record, and runs again
	Restart  int           // of 100 batches: the store is closed and opened again
	Drain    int           // of 100 batches: every table is written before the next
	Replay   int           // of 100 records: an older one comes again
	Seed     uint64
}

func drawLayout(t *rapid.T) layout {
	percent := func(what string) int { return rapid.SampledFrom([]int{0, 0, 3, 20}).Draw(t, what) }
	l := layout{
		Batch:   rapid.SampledFrom([]int{1, 4, 30, 500}).Draw(t, "batch"),
		Prepare: rapid.Bool().Draw(t, "prepare"),
		Full:    rapid.SampledFrom([]int{0, 5, 16, 100}).Draw(t, "full"),
		Memory:  rapid.SampledFrom([]int64{0, 1, 12_000, 60_000}).Draw(t, "memory"),
		Width:   time.Duration(rapid.IntRange(0, 30).Draw(t, "width ms")) * time.Millisecond,
		Fail:    percent("fail"), Rollback: percent("rollback"), Restart: percent("restart"),
		Drain: percent("drain"), Replay: percent("replay"), Seed: rapid.Uint64().Draw(t, "seed"),
	}
	l.Small = min(rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "small"), max(l.Full, 1))
	if l.Batch < 30 {
		l.Restart = min(l.Restart, 3) // an opening takes milliseconds
		if l.Memory == 1 {
			l.Memory = 12_000 // and so does a table for every batch
		}
	}
	return l
}

// player plays scripts, each into a namespace of one store.
type player struct {
	layout
	t     rapid.TB
	rng   *rand.Rand
	fs    vfs.FS
	now   func() time.Time
	st    *store.Store
	lanes []*lane
}

// lane is a script on its way, and what must have become of it.
type lane struct {
	script
	name    string
	now     settings // those in force
	ns      *store.Namespace
	done    int // steps that are durable
	got     []store.Decision
	state   map[string]string
	pending []store.Output
	batches uint64
	counts  store.Counts // since the store was opened
}

// newPlayer opens a store for scripts, whose wall clock stands still.
func newPlayer(t rapid.TB, l layout, scripts ...script) *player {
	wall := time.UnixMilli(scripts[0].wall)
	p := &player{
		layout: l, t: t, rng: rand.New(rand.NewPCG(l.Seed, 2)), fs: vfs.NewMem(),
		now: func() time.Time { return wall },
	}
	for i, s := range scripts {
		p.lanes = append(p.lanes, &lane{
			script: s, now: s.settings, name: fmt.Sprintf("lane-%d", i), state: map[string]string{},
			got: make([]store.Decision, len(s.steps)),
		})
	}
	p.open()
	return p
}

// play plays scripts to their end and returns, for each, what was decided.
func play(t rapid.TB, l layout, scripts ...script) [][]store.Decision {
	p := newPlayer(t, l, scripts...)
	defer p.close()
	for going := slices.Clone(p.lanes); len(going) > 0; {
		i := p.rng.IntN(len(going))
		p.batch(going[i])
		if going[i].done == len(going[i].steps) {
			going = slices.Delete(going, i, i+1)
		}
		if p.chance(p.Drain) {
			require.NoError(t, storehook.Drain(p.st))
		}
		if p.chance(p.Restart) {
			p.close()
			p.open()
		}
	}
	var all [][]store.Decision
	for _, l := range p.lanes {
		p.check(l)
		p.checkState(l)
		all = append(all, l.got)
	}
	return all
}

func (p *player) chance(percent int) bool { return p.rng.IntN(100) < percent }

func (p *player) open() {
	st, err := storehook.Open("store", &store.Options{
		Memory: p.Memory, Now: p.now, Logger: slog.New(slog.DiscardHandler),
	}, storehook.Hooks{FS: p.fs, FullSegment: p.Full, SmallSegment: p.Small})
	require.NoError(p.t, err)
	p.st = st.(*store.Store)
	for _, l := range p.lanes {
		o := l.now.options(p.Width)
		l.ns, err = p.st.Namespace(l.name, &o)
		require.NoError(p.t, err)
		l.counts = store.Counts{}
		p.check(l)
		if l.done > 0 {
			p.checkState(l)
		}
	}
}

func (p *player) close() { require.NoError(p.t, p.st.Close()) }

func (s settings) options(width time.Duration) store.NamespaceOptions {
	p := s.policy
	for _, a := range []*store.Action{&p.Late, &p.Clock, &p.Cold, &p.Evicted, &p.Lost} {
		*a = max(*a, store.Accept)
	}
	return store.NamespaceOptions{
		Window: s.window, MaxAdvance: time.Duration(s.advance) * time.Millisecond,
		MaxAhead: time.Duration(s.ahead) * time.Millisecond, BucketWidth: width,
		IDSource: s.source, Unknown: p,
	}
}

var errPlanned = errors.New("planned")

// run is one batch of a lane, as far as it has come.
type run struct {
	*player
	*lane
	b       *store.Batch
	at      int // the next step
	state   map[string]string
	pending []store.Output
	counts  store.Counts
}

// batch plays the next steps of a lane in one batch, perhaps in vain at first,
// or the one that is taken between two.
func (p *player) batch(l *lane) {
	if l.steps[l.done].between() {
		p.between(l)
		return
	}
	k := min(1+p.rng.IntN(p.Batch), len(l.steps)-l.done)
	if next := slices.IndexFunc(l.steps[l.done:], step.between); next >= 0 {
		k = min(k, next)
	}
	for p.chance(p.Rollback) {
		_, err := p.attempt(l, 1+p.rng.IntN(k), errPlanned)
		require.ErrorIs(p.t, err, errPlanned)
		p.check(l)
	}
	r, err := p.attempt(l, k, nil)
	require.NoError(p.t, err)
	l.done, l.state, l.pending, l.counts = r.at, r.state, r.pending, r.counts
	l.batches++
	p.check(l)
	if p.rng.IntN(20) == 0 {
		p.checkState(l)
	}
}

// between plays a step between two batches. What must be allowed is tried without
// that first.
func (p *player) between(l *lane) {
	switch s := &l.steps[l.done]; s.action {
	case change:
		o, was := s.to.options(p.Width), l.now
		if p.rng.IntN(4) == 0 {
			o.BucketWidth = time.Duration(1+p.rng.IntN(30)) * time.Millisecond
		}
		shrinks := s.to.window.Millis() < was.window.Millis()
		renames := was.source != "" && s.to.source != "" && s.to.source != was.source
		if shrinks || renames {
			refused := o
			refused.AllowShrink = renames && !shrinks
			_, err := p.st.Namespace(l.name, &refused)
			require.ErrorIs(p.t, err, store.ErrSettings)
			p.check(l)
		}
		o.AllowShrink, o.AllowIDSourceChange = true, true
		_, err := p.st.Namespace(l.name, &o)
		require.NoError(p.t, err)
		l.now = s.to
		if s.to.source == "" {
			l.now.source = was.source
		}
		o.BucketWidth, o.AllowShrink = p.Width, false
		_, err = p.st.Namespace(l.name, &o)
		require.NoError(p.t, err)
	case advance:
		err := l.ns.Advance(s.at)
		require.ErrorIs(p.t, err, s.err, "step %d", l.done)
	}
	if l.steps[l.done].numbered {
		l.batches++
	}
	l.done++
	p.check(l)
}

// attempt plays k steps in a batch that ends as told; some of those that fail
// panic.
func (p *player) attempt(l *lane, k int, end error) (r *run, err error) {
	r = &run{
		player: p, lane: l, at: l.done, state: maps.Clone(l.state),
		pending: slices.Clone(l.pending), counts: l.counts,
	}
	defer func() {
		if v := recover(); v != nil {
			if v != errPlanned { //nolint:errorlint // a panic's value, not a wrapped error
				panic(v)
			}
			err = errPlanned
		}
	}()
	return r, l.ns.Update(func(b *store.Batch) error {
		r.b = b
		if p.Prepare {
			var ids [][]byte
			for _, s := range l.steps[l.done:][:k] {
				ids = append(ids, []byte(s.id)) // empty ones included
			}
			b.Prepare(ids)
		}
		if p.rng.IntN(4) == 0 && len(r.pending) > 0 {
			seq := r.pending[p.rng.IntN(len(r.pending))].Sequence
			b.Settle(seq)
			r.pending = slices.DeleteFunc(r.pending, func(o store.Output) bool { return o.Sequence <= seq })
		}
		for range k {
			r.step()
		}
		if end != nil && p.rng.IntN(2) == 0 {
			panic(end)
		}
		return end
	})
}

// step plays one step.
func (r *run) step() {
	s := &r.steps[r.at]
	if r.chance(r.Replay) {
		r.replay()
	}
	before := r.b.Position()
	if s.action == skip {
		require.NoError(r.t, r.b.SetPosition(s.origin))
	} else {
		if r.chance(r.Fail) && s.want.Verdict != store.Duplicate && s.want.Action != store.Drop {
			r.fail(s)
			require.Equal(r.t, before, r.b.Position(), "a failure moves nothing, step %d", r.at)
		}
		d, err := r.do(s, func(tx *store.Tx) error { return r.handle(tx, s) })
		require.NoError(r.t, err, "step %d", r.at)
		if d != s.want {
			r.t.Fatalf("%s, step %d, %q at %d: %+v, by the law %+v", r.name, r.at, s.id, s.at.UnixMilli(),
				d, s.want)
		}
		r.got[r.at] = d
		r.count(s)
	}
	if got := r.b.Clock(); !got.Equal(s.clock) {
		r.t.Fatalf("%s, step %d: clock %d, by the law %d", r.name, r.at, got.UnixMilli(),
			s.clock.UnixMilli())
	}
	if got := r.b.Position(); got != s.pos {
		r.t.Fatalf("%s, step %d: position %v, by the law %v", r.name, r.at, got, s.pos)
	}
	r.at++
}

func (r *run) do(s *step, fn func(*store.Tx) error) (store.Decision, error) {
	if s.action == noID {
		return store.Decision{}, r.b.Pass(s.record(), fn)
	}
	return r.b.Do(s.record(), fn)
}

// fail plays a step whose handler writes, stages, and fails.
func (r *run) fail(s *step) {
	fail := func(panics bool) (d store.Decision, err error) {
		defer func() {
			if recover() != nil {
				d, err = s.want, errPlanned
			}
		}()
		return r.do(s, func(tx *store.Tx) error {
			require.NoError(r.t, r.handle(tx, s))
			if s.want.Action != store.DeadLetter {
				require.NoError(r.t, tx.Set([]byte("never"), []byte("seen")))
			}
			if panics {
				panic(errPlanned)
			}
			return errPlanned
		})
	}
	state, pending := maps.Clone(r.state), slices.Clone(r.pending)
	d, err := fail(r.rng.IntN(2) == 0)
	r.state, r.pending = state, pending
	require.ErrorIs(r.t, err, errPlanned)
	require.Equal(r.t, s.want, d, "step %d", r.at)
	if !s.origin.IsZero() {
		higher := s.record()
		higher.Origin.Offset++
		d, err = r.b.Do(store.Record{ID: []byte("x"), Origin: higher.Origin}, nil)
		require.ErrorIs(r.t, err, store.ErrGapAfterFailure)
		require.Zero(r.t, d)
	}
}

// replay offers an earlier record of the log again, or one of another log.
func (r *run) replay() {
	if r.at == 0 {
		return
	}
	s := r.steps[r.rng.IntN(r.at)]
	l := r.b.Position()
	want := store.ErrReplay
	switch {
	case s.action >= skip || s.origin.IsZero():
		return
	case s.origin.TopicID != l.TopicID:
		want = store.ErrOtherLog
	}
	d, err := r.do(&s, func(*store.Tx) error { panic("a replay is handled") })
	require.ErrorIs(r.t, err, want)
	require.Zero(r.t, d)
	if errors.Is(want, store.ErrReplay) {
		r.counts.Replays++
	}
}

// handle is the handler: a little state, and outputs, from the record alone.
func (r *run) handle(tx *store.Tx, s *step) error {
	require.Equal(r.t, s.want, tx.Decision())
	if s.want.Action == store.DeadLetter {
		r.stage(tx, s)
		require.ErrorIs(r.t, tx.Set([]byte("never"), []byte("seen")), store.ErrDeadLetter)
		require.ErrorIs(r.t, tx.Delete([]byte("last")), store.ErrDeadLetter)
		_, err := tx.Add([]byte("n/0"), 1)
		require.ErrorIs(r.t, err, store.ErrDeadLetter)
		return nil
	}
	require.NotEqual(r.t, store.Drop, s.want.Action, "handled")
	got, err := tx.Get([]byte("last"))
	require.NoError(r.t, err)
	if last, ok := r.state["last"]; string(got) != last || (got != nil) != ok {
		r.t.Fatalf("%s, step %d: state says %q, %q was written", r.name, r.at, got, last)
	}
	key := fmt.Sprintf("n/%d", r.at%7)
	n, err := tx.Add([]byte(key), int64(r.at))
	require.NoError(r.t, err)
	r.state[key] = string(binary.BigEndian.AppendUint64(nil, uint64(n)))
	if r.at%3 == 0 {
		r.state["last"] = fmt.Sprint(r.at)
		require.NoError(r.t, tx.Set([]byte("last"), []byte(r.state["last"])))
	}
	if r.at%5 == 0 {
		delete(r.state, "last")
		require.NoError(r.t, tx.Delete([]byte("last")))
	}
	r.stage(tx, s)
	if r.at%11 == 0 {
		seen := map[string]string{}
		require.NoError(r.t, tx.Scan([]byte("n/"), func(k, v []byte) error {
			seen[string(k)] = string(v)
			return nil
		}))
		want := maps.Clone(r.state)
		delete(want, "last")
		require.Equal(r.t, want, seen)
	}
	return nil
}

// stage stages what the record of a step brings out.
func (r *run) stage(tx *store.Tx, s *step) {
	for i := range r.at % 4 / 2 * 2 {
		out := fmt.Sprintf("out %d of %d", i, r.at)
		require.NoError(r.t, tx.Stage([]byte(out)))
		r.pending = append(r.pending, store.Output{
			Origin: s.origin, Sequence: r.batches + 1, Index: i, Data: []byte(out),
		})
	}
}

func (r *run) count(s *step) {
	if s.future {
		r.counts.Future++
	}
	switch d := s.want; d.Verdict {
	case store.New:
		r.counts.New++
	case store.Duplicate:
		r.counts.Duplicate++
	case store.Unknown:
		r.counts.Unknown++
		*map[store.Reason]*uint64{
			store.Late: &r.counts.Late, store.Clock: &r.counts.Clock, store.Cold: &r.counts.Cold,
			store.Evicted: &r.counts.Evicted, store.Lost: &r.counts.Lost,
		}[d.Reason]++
		*map[store.Action]*uint64{
			store.Accept: &r.counts.Accepted, store.DeadLetter: &r.counts.DeadLettered,
			store.Drop: &r.counts.Dropped,
		}[d.Action]++
	default:
		r.counts.NoID++
	}
}

// check holds a namespace against the law's last word.
func (p *player) check(l *lane) {
	got, err := l.ns.Status()
	require.NoError(p.t, err)
	var want step
	if l.done > 0 {
		want = l.steps[l.done-1]
	}
	if !got.Clock.Equal(want.clock) || got.Position != want.pos || got.Coverage != want.coverage {
		p.t.Fatalf("%s, %d steps: %v, %v, coverage %v; by the law %v, %v, %v", l.name, l.done,
			got.Clock, got.Position, got.Coverage, want.clock, want.pos, want.coverage)
	}
	set := l.now.options(p.Width)
	if got.Ages != want.ages || got.Settings != set {
		p.t.Fatalf("%s, %d steps: ages %v, settings %+v; by the law %v, %+v", l.name, l.done,
			got.Ages, got.Settings, want.ages, set)
	}
	if got.Pending != len(l.pending) || got.Sequence != l.batches || got.Counts != l.counts {
		p.t.Fatalf("%s, %d steps: %d pending, batch %d, %+v; played %d, %d, %+v", l.name, l.done,
			got.Pending, got.Sequence, got.Counts, len(l.pending), l.batches, l.counts)
	}
}

// checkState holds state and staged outputs against the fold of what was
// handled (I1).
func (p *player) checkState(l *lane) {
	state := map[string]string{}
	require.NoError(p.t, l.ns.View(func(v *store.View) error {
		return v.Scan(nil, func(k, val []byte) error {
			state[string(k)] = string(val)
			return nil
		})
	}))
	require.Equal(p.t, l.state, state)
	var pending []store.Output
	require.NoError(p.t, l.ns.Pending(func(o store.Output) error {
		pending = append(pending, o)
		return nil
	}))
	require.Equal(p.t, len(l.pending), len(pending))
	for i := range pending {
		require.Equal(p.t, l.pending[i], pending[i])
	}
}
