package fuzz

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// A crashScript is what a store is made to do while it is crashed: a list of steps,
// each durable as a whole or not at all, and after each step a picture of what
// must be there. It is drawn from a seed, together with its pictures, by the
// model.
type crashScript struct {
	seed   uint64
	tight  bool // see shape
	spaces []scriptSpace
	ids    [][]byte // every ID of the script, and some that never come
	steps  []crashStep
	after  []picture // after[i]: the store after steps[:i]
}

// scriptSpace is a namespace of a script.
type scriptSpace struct {
	name string
	opts store.NamespaceOptions
}

// crashStep is one step of a script.
type crashStep struct {
	kind  stepKind
	space int
	acts  []crashAct
	opts  store.NamespaceOptions // of a change of settings
	to    time.Time              // of an advance
	abort bool                   // the function of Update fails in the end: nothing remains
}

type stepKind uint8

const (
	stepOpen  stepKind = iota // close the store if it is open, then open it
	stepSpace                 // create a namespace
	stepBatch
	stepDrain    // wait for tables to be written and removed
	stepSettings // give a namespace other settings
	stepAdvance  // move an idle namespace's clock
	stepDelete   // a namespace, whole
	stepKinds    // how many there are
)

// crashAct is one call inside a batch.
type crashAct struct {
	kind   actKind
	rec    store.Record
	pos    store.Position
	seq    uint64
	keys   [3]string // of a number to add one to, of a value to set, and to delete
	outs   []string
	want   store.Decision
	forget forget
}

type actKind uint8

const (
	actDo     actKind = iota
	actPass           // a record without an ID
	actReplay         // a record below the position
	actFail           // the handler writes, stages and fails
	actPanic          // the handler writes, stages and panics
	actSkip           // SetPosition
	actSettle
	actCommitted
	actRemember
	actForget
)

// picture is what a store holds after a step.
type picture []spacePicture

// spacePicture is what one namespace holds.
type spacePicture struct {
	made    bool
	status  store.Status // without figures of its segments and counts
	state   map[string]string
	pending []store.Output
	probes  []store.Decision // of every ID of the script, with its time missing
	most    uint64           // markers that may still stand
}

// shape is what a script is like.
type shape struct {
	spaces  []scriptSpace
	batches int
	records int  // at most, in a batch
	tight   bool // the memory is not enough for the markers: segments are shared
	row     bool // one batch brings a row of jumps that the clock follows
	early   bool // restarts come in the first third only
	still   bool // no record of the second namespace has a time of its own
	forgets int  // of 40 records come with something to forget; of 40 batches, with a deletion
}

// usual is a shape in which everything happens often: windows of a few batches,
// segments of a few markers, jumps, restarts.
func usual() shape {
	return shape{
		spaces: []scriptSpace{
			{"short", store.NamespaceOptions{
				Window: window.Of(400 * time.Millisecond), MaxAdvance: 60 * time.Millisecond,
				Unknown: store.UnknownPolicy{Late: store.DeadLetter, Cold: store.Drop},
			}},
			{"narrow", store.NamespaceOptions{
				Window: window.Of(90 * time.Millisecond), MaxAdvance: 40 * time.Millisecond,
				IDSource: "a",
			}},
			{"forever", store.NamespaceOptions{Window: window.Forever}},
		},
		batches: 36,
		records: 24,
		forgets: 1,
	}
}

// tight is a shape in which namespaces have to give up memory for each other.
func tight() shape {
	sh := usual()
	sh.tight = true
	sh.spaces = append(sh.spaces,
		scriptSpace{"long", store.NamespaceOptions{Window: window.Of(900 * time.Millisecond), MaxAdvance: time.Second}},
		scriptSpace{"forever too", store.NamespaceOptions{Window: window.Forever}},
	)
	sh.batches = 44
	return sh
}

// wallClock stands still, far above every time of a script but the future ones.
var wallClock = time.UnixMilli(1_700_000_000_000).Add(1000 * time.Hour)

// writer draws a script.
type writer struct {
	rng     *rand.Rand
	script  *crashScript
	spaces  []*spaceModel
	born    []spaceModel // as they begin
	forgets int
	used    map[string]bool
	fresh   int
	still   bool
}

// spaceModel is a namespace as it stands in the course of the script.
type spaceModel struct {
	picture spacePicture
	law     *law
	log     store.Position // of the next record
	now     int64          // of the next record, ms
	recent  [][]byte
	firsts  []int64 // F of every accepted record, or above it
	spread  int64   // ms between the markers of a row that the clock follows
	widest  int64   // ms, of its windows
}

func writeScript(seed uint64, sh shape) *crashScript {
	w := &writer{
		rng:     rand.New(rand.NewPCG(seed, 1)),
		script:  &crashScript{seed: seed, tight: sh.tight, spaces: sh.spaces},
		used:    map[string]bool{},
		still:   sh.still,
		forgets: sh.forgets,
	}
	for i, sp := range sh.spaces {
		w.spaces = append(w.spaces, &spaceModel{
			law: newLaw(settingsOf(sp.opts)),
			log: store.Position{TopicID: store.ID{byte(i + 1)}, Partition: int32(i), LeaderEpoch: -1},
			now: 1_700_000_000_000,
		})
		w.spaces[i].picture.status.LastOffset = -1
		w.spaces[i].picture.status.Settings = w.spaces[i].law.options(0)
		w.spaces[i].widest = sp.opts.Window.Millis()
	}
	for _, m := range w.spaces {
		w.born = append(w.born, *m)
		w.born[len(w.born)-1].law = cloneLaw(m.law)
	}
	w.script.after = append(w.script.after, w.picture())
	w.step(crashStep{kind: stepOpen})
	for i := range sh.spaces {
		w.spaces[i].picture.made = true
		w.step(crashStep{kind: stepSpace, space: i})
	}
	for n := range sh.batches {
		space := w.rng.IntN(len(sh.spaces))
		if sh.row && n == sh.batches/2 {
			w.step(w.rowBatch())
			continue
		}
		w.step(w.batch(space, 1+w.rng.IntN(sh.records)))
		if w.rng.IntN(40) < sh.forgets {
			w.deleting(w.rng.IntN(len(sh.spaces)))
		}
		switch w.rng.IntN(10) {
		case 0, 1:
			w.step(w.settings(w.rng.IntN(len(sh.spaces))))
		case 2:
			if m := w.spaces[space]; len(m.law.firsts) == 8 && !(sh.still && space == 1) {
				w.step(w.advance(space))
			}
		}
		switch w.rng.IntN(12) {
		case 0:
			if !sh.early || n < sh.batches/3 {
				w.step(crashStep{kind: stepOpen})
			}
		case 1, 2:
			w.step(crashStep{kind: stepDrain})
		}
	}
	w.step(crashStep{kind: stepDrain})
	w.probe()
	return w.script
}

// step appends a step and the picture after it.
func (w *writer) step(s crashStep) {
	w.script.steps = append(w.script.steps, s)
	w.script.after = append(w.script.after, w.picture())
}

func (w *writer) picture() picture {
	var p picture
	for _, m := range w.spaces {
		c := m.picture
		c.state, c.pending = maps.Clone(c.state), slices.Clone(c.pending)
		p = append(p, c)
	}
	return p
}

// batch draws a batch and plays it into the model.
func (w *writer) batch(space, records int) crashStep {
	m := w.spaces[space]
	b := w.begin(space)
	s := crashStep{kind: stepBatch, space: space}
	for range records {
		s.acts = append(s.acts, w.records(b)...)
	}
	if !slices.ContainsFunc(s.acts, func(a crashAct) bool { return a.kind != actReplay }) {
		// Replays alone change nothing: such a batch is not written.
		s.acts = append(s.acts, b.do(w.id(b), w.time(b), w.keys(), w.outs(b)))
	}
	switch w.rng.IntN(4) {
	case 0:
		s.acts = append(s.acts, b.settle(b.before.status.Sequence-min(
			b.before.status.Sequence, uint64(w.rng.IntN(4)))))
	case 1:
		s.acts = append(s.acts, b.committed(fmt.Sprintf("tag %d", w.rng.Uint32())))
	case 2:
		s.acts = append(s.acts, b.remember(w.rng.Uint64()))
	}
	if w.rng.IntN(10) == 0 {
		s.abort = true
		return s
	}
	b.commit(m)
	return s
}

// settings draws other settings of a namespace.
func (w *writer) settings(space int) crashStep {
	m, b := w.spaces[space], w.begin(space)
	s := b.law.settings
	switch ms := s.window.Millis(); {
	case w.rng.IntN(6) == 0:
		s.source = fmt.Sprintf("source %d", w.rng.IntN(3))
	case s.window.IsForever():
		s.advance = 100 + w.rng.Int64N(100)
	default:
		ms = []int64{ms / 2, 2 * ms, ms + 13, ms - 13}[w.rng.IntN(4)]
		s.window = window.Of(time.Duration(min(max(ms, 60), 1000)) * time.Millisecond)
	}
	if b.law.change(s) {
		most := b.before.most
		b.widest = max(b.widest, s.window.Millis())
		b.picture.status.Settings = b.law.options(0)
		b.commit(m)
		m.picture.most = most
	}
	return crashStep{kind: stepSettings, space: space, opts: m.law.options(0)}
}

// advance draws a move of a namespace's clock.
func (w *writer) advance(space int) crashStep {
	m, b := w.spaces[space], w.begin(space)
	to := time.UnixMilli(b.law.clock + w.rng.Int64N(2*min(b.law.window.Millis(), 500)))
	apart := len(b.law.apart)
	if moved, err := b.law.advanceTo(to); err == nil && moved {
		for range apart { // those of a row that is given up
			b.firsts = append(b.firsts, b.law.clock)
		}
		b.now = max(b.now, b.law.clock)
		b.commit(m)
	}
	return crashStep{kind: stepAdvance, space: space, to: to}
}

// settingsOf returns the model's settings of options.
func settingsOf(o store.NamespaceOptions) settings {
	return settings{
		window: o.Window, advance: o.MaxAdvance.Milliseconds(), ahead: time.Hour.Milliseconds(),
		wall: wallClock.UnixMilli(), source: o.IDSource, policy: o.Unknown,
	}
}

// records draws one record and what goes with it.
func (w *writer) records(b *batchModel) []crashAct {
	if w.rng.IntN(40) < w.forgets {
		return w.forgetting(b)
	}
	switch w.rng.IntN(40) {
	case 0:
		return []crashAct{b.pass(w.time(b), w.keys(), w.outs(b))}
	case 1:
		return []crashAct{b.skip(b.log.Offset + int64(w.rng.IntN(5)))}
	case 2:
		b.log.LeaderEpoch++ // a new leader: another segment
	case 3:
		if b.log.Offset > 0 && b.law.pos.TopicID == b.log.TopicID {
			return []crashAct{b.replay(w.id(b))}
		}
	case 4, 5:
		kind := actFail
		if w.rng.IntN(2) == 0 {
			kind = actPanic
		}
		failed, ok := b.fail(kind, w.id(b), w.time(b), w.keys(), w.outs(b))
		if !ok {
			break
		}
		if w.rng.IntN(2) == 0 {
			return []crashAct{failed, b.skip(b.log.Offset + 1)}
		}
		return []crashAct{failed, b.again(failed)}
	case 6:
		// A namespace without a position takes the first log that it meets.
		if w.rng.IntN(12) == 0 && !b.before.status.Position.IsZero() {
			b.log.TopicID[15]++ // the topic was recreated
			b.log.Offset = int64(w.rng.IntN(2) * 100)
			return []crashAct{b.skip(b.log.Offset)}
		}
	}
	return []crashAct{b.do(w.id(b), w.time(b), w.keys(), w.outs(b))}
}

// rowBatch draws a row of jumps that is long enough to move the clock.
func (w *writer) rowBatch() crashStep {
	b := w.begin(0)
	s := crashStep{kind: stepBatch}
	b.now += 10_000
	b.spread = 300
	for range 1010 {
		s.acts = append(s.acts, b.do(w.id(b), b.now+w.rng.Int64N(b.spread), w.keys(), nil))
	}
	b.commit(w.spaces[0])
	return s
}

// id draws an ID: a fresh one, or one that came before, recently or long ago.
func (w *writer) id(b *batchModel) []byte {
	if n := len(b.recent); n > 0 && w.rng.IntN(3) == 0 {
		if w.rng.IntN(2) == 0 {
			return b.recent[w.rng.IntN(n)]
		}
		return b.recent[n-1-w.rng.IntN(min(n, 10))]
	}
	w.fresh++
	id := fmt.Appendf(nil, "id-%d", w.fresh)
	switch w.rng.IntN(12) {
	case 0: // a UUID
		id = fmt.Appendf(nil, "%08x-0000-4000-8000-%012x", w.fresh, w.rng.Uint32())
	case 1: // above what is stored as it is
		id = append(id, make([]byte, 300)...)
	}
	b.recent = append(b.recent, id)
	if !w.used[string(id)] {
		w.used[string(id)] = true
		w.script.ids = append(w.script.ids, id)
	}
	return id
}

// time draws the time of a record: mostly a little later than the last one.
func (w *writer) time(b *batchModel) int64 {
	if w.still && b.law.pos.Partition == 1 && b.law.clock > 0 {
		return 0
	}
	switch w.rng.IntN(30) {
	case 0:
		return 0 // missing
	case 1:
		return b.now - int64(w.rng.IntN(500)) // out of order, or late
	case 2:
		return wallClock.Add(2 * time.Hour).UnixMilli() // in the future
	case 3:
		return b.now + 100 + int64(w.rng.IntN(400)) // a jump
	}
	b.now += int64(w.rng.IntN(8))
	return b.now
}

func (w *writer) keys() [3]string {
	k := func() string { return fmt.Sprintf("k%d", w.rng.IntN(6)) }
	keys := [3]string{"n" + k(), "v" + k(), "v" + k()}
	if w.rng.IntN(3) > 0 {
		keys[2] = ""
	}
	return keys
}

func (w *writer) outs(b *batchModel) []string {
	var outs []string
	for i := range max(0, w.rng.IntN(8)-5) {
		outs = append(outs, fmt.Sprintf("output %d of %v", i, b.log))
	}
	return outs
}

// probe asks the model, after every step, for every ID of the script.
func (w *writer) probe() {
	for i := range 20 {
		w.script.ids = append(w.script.ids, fmt.Appendf(nil, "absent-%d", i))
	}
	for i, m := range w.spaces {
		// The script is played once more: its IDs are known only now.
		m.law = newLaw(settingsOf(w.script.spaces[i].opts))
		var probes []store.Decision
		for n, s := range w.script.steps {
			if s.kind == stepDelete && s.space == i {
				m.law, probes = cloneLaw(w.born[i].law), nil
			}
			if mine := s.space == i && !s.abort; probes == nil || mine {
				switch {
				case !mine:
				case s.kind == stepSettings:
					m.law.change(settingsOf(s.opts))
				case s.kind == stepAdvance:
					_, err := m.law.advanceTo(s.to)
					if err != nil {
						panic(err) // no script is written so
					}
				}
				for _, a := range s.acts {
					playLaw(m.law, a, store.Decision{})
				}
				l := cloneLaw(m.law)
				probes = nil
				for _, id := range w.script.ids {
					probes = append(probes, l.do(string(id), time.Time{}, store.Position{}))
				}
			}
			w.script.after[n+1][i].probes = probes
		}
	}
}

// playLaw plays an act into a law, and returns the decision.
func playLaw(l *law, a crashAct, d store.Decision) store.Decision {
	switch a.kind {
	case actDo:
		return l.do(string(a.rec.ID), a.rec.At, a.rec.Origin)
	case actPass:
		l.pass(a.rec.At, a.rec.Origin)
	case actSkip:
		l.setPosition(a.pos)
	case actForget:
		l.forget(a)
	}
	return d
}

func cloneLaw(l *law) *law {
	c := *l
	c.firsts, c.jumps, c.apart = slices.Clone(l.firsts), slices.Clone(l.jumps), slices.Clone(l.apart)
	c.markers = maps.Clone(l.markers)
	return &c
}
