package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// Relations between two runs of the real store. They need no model: what the
// first run answered is what the second must answer.

// answered returns the script with the answers of a run in place of the law's.
func (s script) answered(got []store.Decision) script {
	s.steps = slices.Clone(s.steps)
	for i := range s.steps {
		s.steps[i].want = got[i]
	}
	return s
}

// How records are split into batches, stored, interrupted and cut into buckets
// changes nothing.
func TestMetamorphic_Layout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScript(t, drawSettings(t), 600)
		plain := play(t, layout{Batch: 50, Seed: 1}, s)
		play(t, drawLayout(t), s.answered(plain[0]))
	})
}

// Other namespaces in the store change nothing.
func TestMetamorphic_Interleaving(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLayout(t)
		var scripts []script
		for range 3 {
			s := drawSettings(t)
			s.wall = base + 1e9
			one := drawScript(t, s, 400)
			scripts = append(scripts, one.answered(play(t, l, one)[0]))
		}
		play(t, l, scripts...)
	})
}

// All times, the wall clock with them, shifted by one constant: the same
// decisions, shifted.
func TestMetamorphic_TimeShift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, l := drawScript(t, drawSettings(t), 600), drawLayout(t)
		got := play(t, l, s)
		by := time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "shift ms")) * time.Millisecond
		shift := func(at time.Time) time.Time {
			if ms := at.UnixMilli(); at.IsZero() || ms <= 0 || ms > 1e17 {
				return at // not known, or beyond every clock
			}
			return at.Add(by)
		}
		shifted := s.answered(got[0])
		shifted.wall += by.Milliseconds()
		for i := range shifted.steps {
			p := &shifted.steps[i]
			p.at, p.clock = shift(p.at), shift(p.clock)
			p.coverage.Since, p.want.First = shift(p.coverage.Since), shift(p.want.First)
			p.want.Coverage.Since = shift(p.want.Coverage.Since)
		}
		play(t, l, shifted)
	})
}

// Every ID replaced by another of its own: the same decisions.
func TestMetamorphic_RenamedIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, l := drawScript(t, drawSettings(t), 600), drawLayout(t)
		renamed := s.answered(play(t, l, s)[0])
		kind, names := rapid.IntRange(0, 4).Draw(t, "other kind"), map[string]string{}
		for i := range renamed.steps {
			p := &renamed.steps[i]
			if p.action != decide {
				continue
			}
			if names[p.id] == "" {
				names[p.id] = makeID(kind, len(names))
			}
			p.id = names[p.id]
		}
		play(t, l, renamed)
	})
}

// Any prefix of the log comes again, after a restart: nothing happens (R5).
func TestMetamorphic_ReplayOfAPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScript(t, drawSettings(t), 400)
		p := newPlayer(t, drawLayout(t), s)
		defer p.close()
		l := p.lanes[0]
		for l.done < len(l.steps) {
			p.batch(l)
		}
		p.close()
		p.open()
		var replays uint64
		require.NoError(t, l.ns.Update(func(b *store.Batch) error {
			for _, s := range l.steps {
				if s.action == decide && s.origin.TopicID == l.steps[len(l.steps)-1].pos.TopicID &&
					!s.origin.IsZero() {
					d, err := b.Do(s.record(), nil)
					require.ErrorIs(t, err, store.ErrReplay)
					require.Zero(t, d)
					replays++
				}
			}
			return nil
		}))
		l.counts.Replays = replays
		p.check(l)
		p.checkState(l)
	})
}

// Namespaces with an owner each, and readers beside them, while tables are
// written and dropped: the decisions are the law's. (With -race: C12.)
func TestFault_C12_ExpiryBesideEverything(t *testing.T) {
	var scripts []script
	for i := range 4 {
		w := []int64{7, 40, 300, 3_600_000}[i]
		a := newAuthor(settings{
			window: window.Of(time.Duration(w) * time.Millisecond), advance: w, ahead: 1000,
			wall: base + 1e10,
		})
		a.rng, a.kind, a.pool = rand.New(rand.NewPCG(uint64(i), 5)), 4, 200
		for len(a.script.steps) < 1500 {
			a.write(a.rng.IntN(len(bursts)), 10)
		}
		scripts = append(scripts, a.script)
	}
	all := newPlayer(t, layout{Batch: 20, Full: 16, Small: 4, Memory: 30_000}, scripts...)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			for _, l := range all.lanes {
				_, serr := l.ns.Status()
				err = errors.Join(err, serr, l.ns.Pending(func(store.Output) error { return nil }),
					l.ns.View(func(v *store.View) error {
						return v.Scan(nil, func(_, _ []byte) error { return nil })
					}))
			}
			all.st.Stats()
		}
		ended <- err
	}()
	t.Run("lanes", func(t *testing.T) {
		for i, l := range all.lanes {
			t.Run(l.name, func(t *testing.T) {
				t.Parallel()
				p := &player{layout: all.layout, t: t, st: all.st, lanes: all.lanes[i : i+1],
					rng: rand.New(rand.NewPCG(uint64(i), 3))}
				p.Fail, p.Rollback, p.Replay = 3, 3, 3
				for l.done < len(l.steps) {
					p.batch(l)
				}
				p.checkState(l)
			})
		}
	})
	close(stop)
	require.NoError(t, <-ended)
	all.close()
}

// One partition lags by days: the fastest never expires its markers.
func TestFault_C13_NoSharedExpiry(t *testing.T) {
	set := settings{window: window.Hour, advance: 3_600_000, ahead: 3_600_000, wall: base + 1e10}
	fast, slow := newAuthor(set), newAuthor(set)
	for i := range 400 {
		fast.add(fmt.Sprintf("id-%d", i), base+int64(i)*600_000) // days
		slow.add(fmt.Sprintf("id-%d", i%100), base+int64(i))     // less than a second
	}
	l := layout{Batch: 20, Full: 16, Small: 4, Drain: 20, Restart: 5, Memory: 1}
	got := play(t, l, fast.script, slow.script)
	for i, d := range got[1] {
		require.Equal(t, i >= 100, d.Verdict == store.Duplicate, i)
	}
}

// The wall clock jumps back and forth, between today and the far future: no
// decision knows.
func TestFault_C01_C02_WallClockJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := drawSettings(t)
		set.wall = base + 1e12
		a, rng := newAuthor(set), rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 4))
		a.rng, a.pool = rng, 40
		for range 200 {
			a.add(a.id(), a.now()+a.oneOf(0, 1, a.stride(), -a.stride(), a.stride()+1, -a.reach()))
		}
		p := newPlayer(t, layout{Batch: 7}, a.script)
		defer p.close()
		p.now = func() time.Time { return time.UnixMilli(base + 1e12 + rng.Int64N(1e12)) }
		p.close()
		p.open()
		for l := p.lanes[0]; l.done < len(l.steps); {
			p.batch(l)
		}
	})
}
