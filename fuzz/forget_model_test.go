package fuzz

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// Forgetting in the model, in scripts and in the driver: IDs, ranges, and whole
// namespaces. A crash leaves all of it or nothing.

func TestFault_A10_CrashWhileForgetting(t *testing.T) {
	for seed := range uint64(atMost(2, 1)) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			sh := usual()
			sh.forgets = 8
			crashEverywhere(t, writeScript(300+seed, sh), atMost(1, 16))
		})
	}
}

// Many scripts without a crash: forgetting meets rows, merges, drops, restarts.
func TestScript_ForgetsWithoutACrash(t *testing.T) {
	for seed := range uint64(atMost(25, 3)) {
		sh := usual()
		sh.forgets = 8
		d := newDriver(writeScript(400+seed, sh), newCrashFS())
		d.full = 16 << (seed % 3)
		for i, s := range d.script.steps {
			require.NoError(t, d.step(t, s), "seed %d step %d", seed, i)
			d.check(t, i+1)
		}
		require.NoError(t, d.close())
	}
}

// forget is what an act forgets.
type forget struct {
	kind     forgetKind
	from, to int64 // offsets of the act's position's log, or times in ms; to 0: no end
	there    bool  // of an ID: there is something to forget
}

type forgetKind uint8

const (
	forgetID forgetKind = iota
	forgetOrigins
	forgetTimes
	forgetAll
)

// forgetting draws something to forget, and a record behind it.
func (w *writer) forgetting(b *batchModel) []crashAct {
	a := crashAct{kind: actForget, pos: b.log}
	f := &a.forget
	switch w.rng.IntN(8) {
	default:
		a.rec.ID = w.id(b)
	case 0, 1:
		f.kind = forgetOrigins
		f.from = max(0, b.log.Offset-w.rng.Int64N(60))
		f.to = f.from + 1 + w.rng.Int64N(40)
	case 2:
		f.kind = forgetTimes
		f.from = b.now - w.rng.Int64N(150)
		if w.rng.IntN(3) > 0 {
			f.to = f.from + 1 + w.rng.Int64N(100)
		}
	case 3:
		f.kind = forgetAll
	}
	for range b.law.apart { // a range may hide an older marker of each
		b.firsts = append(b.firsts, max(b.law.clock, b.law.largest))
	}
	f.there = b.law.forget(a)
	if f.there || f.kind != forgetID {
		b.picture.status.Forgets++
		b.firsts = append(b.firsts, max(b.law.clock, b.law.largest)) // a tombstone
	}
	return []crashAct{a, b.do(w.id(b), w.time(b), w.keys(), w.outs(b))}
}

// forget forgets what an act says, as if it had never been accepted. It reports
// whether there was a marker that counts.
func (l *law) forget(a crashAct) (there bool) {
	f := a.forget
	maps.DeleteFunc(l.markers, func(id string, m stamp) bool {
		first := m.first
		if first == 0 && len(l.firsts) > 0 {
			first = slices.Min(l.firsts)
		}
		var gone bool
		switch f.kind {
		case forgetID:
			gone = id == string(a.rec.ID) &&
				(l.window.IsForever() || l.clock-first < l.window.TTL().Milliseconds())
		case forgetOrigins:
			gone = m.origin.TopicID == a.pos.TopicID && m.origin.Partition == a.pos.Partition &&
				m.origin.Offset >= f.from && m.origin.Offset < f.to
		case forgetTimes:
			gone = first >= f.from && (f.to == 0 || first < f.to)
		case forgetAll:
			gone = true
		}
		there = there || gone
		return gone
	})
	l.apart = slices.DeleteFunc(l.apart, func(id string) bool {
		_, ok := l.markers[id]
		return !ok
	})
	return there
}

// forgetNow lets a batch forget what an act says.
func forgetNow(t require.TestingT, b *store.Batch, a crashAct) error {
	f := a.forget
	switch f.kind {
	case forgetOrigins:
		return b.ForgetOrigins(a.pos.TopicID, a.pos.Partition, f.from, f.to)
	case forgetTimes:
		to := time.Time{}
		if f.to != 0 {
			to = time.UnixMilli(f.to)
		}
		return b.ForgetTimes(time.UnixMilli(f.from), to)
	case forgetAll:
		return b.ForgetAll()
	}
	there, err := b.Forget(a.rec.ID)
	if err == nil {
		require.Equal(t, f.there, there, "forget %.20q", a.rec.ID)
	}
	return err
}

// deleting draws the deletion of a namespace, and makes it anew.
func (w *writer) deleting(space int) {
	m, born := w.spaces[space], w.born[space]
	log, now, recent := m.log, m.now, m.recent
	*m = born
	m.law = cloneLaw(born.law)
	m.log, m.now, m.recent = log, now, recent
	w.step(crashStep{kind: stepDelete, space: space})
	m.picture.made = true
	w.step(crashStep{kind: stepSpace, space: space})
}

// delete deletes a namespace.
func (d *driver) delete(t require.TestingT, space int) error {
	n := d.spaces[space]
	if err := d.store.DeleteNamespace(d.script.spaces[space].name); err != nil {
		return err
	}
	d.spaces[space] = nil
	if n != nil {
		require.ErrorIs(t, n.Load(), store.ErrDeleted)
	}
	return nil
}
