package fuzz

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// A script is a log as one namespace meets it, with what the law says of every
// step. It is drawn once; nothing in it depends on how it will be played.
type script struct {
	settings
	steps []step
}

type action uint8

const (
	decide  action = iota // Do
	noID                  // Pass: a record without an ID
	skip                  // SetPosition, to origin
	change                // Store.Namespace with other settings
	advance               // Advance, to at
)

// step is one record of a script, a move of the position, or what is done
// between two batches.
type step struct {
	action action
	id     string
	at     time.Time
	origin store.Position
	to     settings

	// What the law says: the decision, and how things stand afterwards.
	want     store.Decision
	err      error // of an advance
	numbered bool  // a change or an advance is a batch of its own
	ages     store.Ages
	clock    time.Time
	coverage store.Coverage
	pos      store.Position
	future   bool
}

// between reports whether the step is taken between two batches.
func (s step) between() bool { return s.action == change || s.action == advance }

func (s step) record() store.Record {
	return store.Record{ID: []byte(s.id), At: s.at, Origin: s.origin}
}

const base = 1_700_000_000_000 // ms, where the times of scripts begin

// drawSettings draws a window around a bucket's width, B-1, B, B+1 or kB, or
// one from life, or forever.
func drawSettings(t *rapid.T) settings {
	b := rapid.Int64Range(1, 30).Draw(t, "width ms")
	w := rapid.SampledFrom([]int64{1, b - 1, b, b + 1, 2 * b, 7*b + 3, 16 * b, 3_600_000,
		-1}).Draw(t, "window ms")
	s := settings{window: window.Forever, ahead: 1000 * rapid.SampledFrom([]int64{1, 60,
		3600}).Draw(t, "ahead s")}
	advances := []int64{1, 2, 5, 0} // no limit
	if w >= 0 {
		w = max(w, 1)
		s.window = window.Of(time.Duration(w) * time.Millisecond)
		advances = []int64{1, 2, 5, max(w/8, 1), w, 3 * w}
	}
	s.advance = rapid.SampledFrom(advances).Draw(t, "advance ms")
	s.wall = base + rapid.SampledFrom([]int64{50, 2000, 1e6, 1e9}).Draw(t, "wall ms")
	if rapid.Bool().Draw(t, "policies") {
		s.policy = drawPolicy(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "policy"), 6)))
	}
	return s
}

// drawPolicy draws what is done with each kind of Unknown.
func drawPolicy(rng *rand.Rand) store.UnknownPolicy {
	any := func() store.Action { return store.Action(rng.IntN(int(store.Drop) + 1)) }
	return store.UnknownPolicy{Late: any(), Clock: any(), Cold: any(), Evicted: any(), Lost: any()}
}

// drawScript draws bursts of records: each is a few numbers that rapid shrinks,
// and a seed for what happens inside.
func drawScript(t *rapid.T, s settings, most int) script {
	a := newAuthor(s)
	a.logless = rapid.IntRange(0, 9).Draw(t, "without a log") == 0
	a.kind = rapid.IntRange(0, 4).Draw(t, "kind of IDs")
	a.pool = rapid.SampledFrom([]int{2, 6, 30, 300, 1 << 30}).Draw(t, "IDs")
	if rapid.IntRange(0, 3).Draw(t, "begins in the middle") == 0 {
		a.offset = rapid.Int64Range(1, 1000).Draw(t, "first offset")
	}
	type burst struct {
		Kind, N int
		Seed    uint64
	}
	bursts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) burst {
		k := rapid.IntRange(0, len(bursts)-1).Draw(t, "burst")
		n := rapid.IntRange(1, 25).Draw(t, "records")
		if bursts[k].row {
			n = rapid.SampledFrom([]int{1, 2, 7, 40, 999, 1000, 1001, 2050}).Draw(t, "jumps")
		}
		return burst{k, n, rapid.Uint64().Draw(t, "seed")}
	}), 1, 25).Draw(t, "bursts")
	for _, b := range bursts {
		a.rng = rand.New(rand.NewPCG(b.Seed, 1))
		a.write(b.Kind, min(b.N, most-len(a.script.steps)))
	}
	if len(a.script.steps) == 0 {
		a.add("only", base)
	}
	return a.script
}

// author writes a script, with the law beside it to know where the clock is.
type author struct {
	script  script
	law     *law
	rng     *rand.Rand
	logless bool
	topic   byte
	epoch   int32
	offset  int64
	kind    int
	pool    int
	ids     []string
}

// bursts are what a stretch of a log may look like.
var bursts = []struct {
	row   bool // of jumps
	write func(a *author)
}{
	{write: func(a *author) { a.add(a.id(), a.now()+a.upTo(a.stride())) }},
	{write: func(a *author) { a.add(a.id(), a.now()+a.upTo(3)) }},
	{write: func(a *author) { a.add(a.id(), a.now()-a.reach()+a.upTo(2*a.reach())) }},
	{write: (*author).edge},
	{write: func(a *author) { a.add(a.id(), a.oneOf(0, -1, -base, math.MinInt64)) }},
	{write: func(a *author) { a.add(a.known(), a.oneOf(0, a.now())) }},
	{write: func(a *author) { // in the future, and just not
		end := a.law.wall + a.law.ahead
		a.add(a.id(), a.oneOf(end, end+1, end+1+a.upTo(1e12), 253402300799999, math.MaxInt64))
	}},
	{write: func(a *author) { // the ends of a sound step
		a.add(a.id(), a.now()+a.oneOf(a.stride(), a.stride()+1, -a.stride(), -a.stride()-1))
	}},
	{write: func(a *author) { a.step(step{action: noID, at: a.time(a.now() + a.upTo(a.stride()))}) }},
	{write: (*author).move},
	{write: (*author).change},
	{write: (*author).advance},
	{row: true, write: func(a *author) { a.jump(a.stride()) }},
	{row: true, write: func(a *author) { a.jump(3 * a.reach()) }},
}

// now is the clock, or where the times of a script begin.
func (a *author) now() int64 { return cmp.Or(a.law.clock, base) }

// stride is the longest sound step, or a long one where none is too long.
func (a *author) stride() int64 { return cmp.Or(a.law.advance, 100_000) }

func newAuthor(s settings) *author {
	return &author{
		law: newLaw(s), script: script{settings: s}, topic: 1, rng: rand.New(rand.NewPCG(0, 1)),
	}
}

func (a *author) write(kind, n int) {
	for range n {
		bursts[kind].write(a)
	}
}

// reach is a span in which the window, or the step, makes a difference.
func (a *author) reach() int64 {
	if a.law.window.IsForever() {
		return 2 * a.stride()
	}
	return a.law.window.TTL().Milliseconds() + 2*a.stride()
}

func (a *author) upTo(n int64) int64 { return a.rng.Int64N(n + 1) }

func (a *author) oneOf(n ...int64) int64 { return n[a.rng.IntN(len(n))] }

// edge writes a known ID again where its marker is about to leave the window.
func (a *author) edge() {
	id := a.known()
	m, ok := a.law.markers[id]
	if !ok || a.law.window.IsForever() {
		a.add(id, a.now())
		return
	}
	to := m.first + a.law.window.TTL().Milliseconds() + a.oneOf(-1, 0, 1)
	for range 20 { // as far as sound steps lead
		if to-a.now() > a.stride() {
			a.add(a.id(), a.now()+a.stride())
		}
	}
	a.add(id, to)
}

// jump writes a jump, or what neither counts in a row nor ends it.
func (a *author) jump(span int64) {
	switch far := a.now() + a.stride() + 1 + a.upTo(span); a.rng.IntN(40) {
	case 0:
		a.add(a.known(), a.oneOf(0, a.law.wall+a.law.ahead+1, a.now()-a.stride()-1))
	case 1, 2, 3:
		a.add(a.known(), far)
	default:
		a.add(a.id(), far)
	}
}

// move moves the position: onward, or into a log that was made anew.
func (a *author) move() {
	if a.logless || len(a.script.steps) == 0 {
		return
	}
	switch a.rng.IntN(8) {
	case 0:
		a.topic, a.epoch, a.offset = a.topic+1, 0, a.oneOf(0, 0, 3)
	case 1, 2:
		a.epoch++
	default:
		a.offset += a.upTo(3)
	}
	a.step(step{action: skip})
}

// change writes a change of settings, or a record in between.
func (a *author) change() {
	if a.rng.IntN(3) > 0 {
		a.add(a.known(), a.oneOf(0, 0, a.now()+a.upTo(a.stride()))) // a row may stand
		return
	}
	to := a.law.settings
	switch w := to.window.Millis(); a.rng.IntN(7) {
	case 0, 1, 2:
		if to.window.IsForever() {
			w = 1 + a.upTo(100)
		}
		ms := a.oneOf(1, w-1, w+1, w/2, 2*w, 3*w+1, math.MaxInt64)
		to.window = window.Forever
		if ms < 1<<40 {
			to.window = window.Of(time.Duration(max(ms, 1)) * time.Millisecond)
			to.advance = cmp.Or(to.advance, 5)
		}
	case 3:
		to.advance = a.oneOf(1, 2, 5, 40)
	case 4:
		to.ahead = a.oneOf(1000, 60_000, 3_600_000)
	case 5:
		to.source = []string{"a", "b"}[a.rng.IntN(2)]
	case 6:
		to.policy = drawPolicy(a.rng)
	}
	a.step(step{action: change, to: to})
}

// advance writes a move of the clock outside the log, or a record in between.
func (a *author) advance() {
	if a.rng.IntN(3) > 0 {
		a.add(a.known(), a.oneOf(0, a.now()+a.upTo(a.stride())))
		return
	}
	to := a.now() + a.oneOf(-a.upTo(5), 0, 1, a.upTo(a.stride()), a.upTo(a.reach()))
	if a.rng.IntN(8) == 0 {
		to = a.law.wall + a.oneOf(0, 1, 1e12)
	}
	a.step(step{action: advance, at: a.time(to)})
}

// id draws an ID, known one of those already met.
func (a *author) id() string {
	id := makeID(a.kind, a.rng.IntN(a.pool))
	a.ids = append(a.ids, id)
	return id
}

func (a *author) known() string {
	if len(a.ids) == 0 {
		return a.id()
	}
	n := len(a.ids)
	return a.ids[n-1-a.rng.IntN(min(n, 1+a.rng.IntN(n)))]
}

// add writes a record of the time t in ms.
func (a *author) add(id string, t int64) {
	a.step(step{action: decide, id: id, at: a.time(t)})
}

func (a *author) time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// step gives a step its place in the log, and the law's word on it.
func (a *author) step(s step) {
	if !a.logless && !s.between() && (s.action == skip || a.rng.IntN(50) > 0) {
		if s.action != skip && a.rng.IntN(20) == 0 {
			a.offset += a.upTo(4) // compaction
		}
		s.origin = store.Position{
			TopicID: store.ID{a.topic}, Partition: 2, Offset: a.offset, LeaderEpoch: a.epoch,
		}
		if s.action != skip {
			a.offset++
		}
	}
	switch s.action {
	case decide:
		s.want = a.law.do(s.id, s.at, s.origin)
	case noID:
		a.law.pass(s.at, s.origin)
	case skip:
		a.law.setPosition(s.origin)
	case change:
		s.numbered = a.law.change(s.to)
	case advance:
		s.numbered, s.err = a.law.advanceTo(s.at)
	}
	s.ages = a.law.ages
	s.future = s.action < skip && s.at.UnixMilli()-a.law.wall > a.law.ahead && s.at.UnixMilli() > 0
	s.clock, s.coverage, s.pos = instant(a.law.clock), a.law.coverage(), a.law.pos
	a.script.steps = append(a.script.steps, s)
}

// makeID returns the n-th ID of a kind. No two are equal, though many look as if
// one had been made of the other.
func makeID(kind, n int) string {
	if kind == 4 {
		kind = n % 4
	}
	switch kind {
	case 0:
		return fmt.Sprintf("id-%d", n)
	case 1: // a UUID, as it is written, in capitals, without dashes, as bytes
		sum := sha256.Sum256([]byte{byte(n / 4), byte(n / 4 >> 8), byte(n / 4 >> 16), byte(n / 4 >> 24)})
		u := sum[:16]
		s := fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
		return []string{s, "{" + s + "}", strings.ReplaceAll(s, "-", ""), string(u)}[n%4]
	case 2: // long, its digest, its beginning, and around 256 bytes
		s := strings.Repeat("long", 75) + fmt.Sprint(n/4)
		sum := sha256.Sum256([]byte(s))
		return []string{s, string(sum[:]), s[len(s)-255:], "x" + s[len(s)-255:]}[n%4]
	default: // bytes that mean something elsewhere
		return string(append(bytes.Repeat([]byte{0xff, 0}, n%5), byte(n), byte(n>>8), byte(n>>16),
			byte(n>>24)))
	}
}
