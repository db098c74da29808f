package adapter

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/firstseen/firstseen/window"
)

// What is often done instead, with plain code, and what it loses or doubles. Where
// the log can tell the messages apart, firstseen reads the same one after it, dies
// on the way, and has each of them once.

// Kafka is told that a poll is done while it is being handled: what the crash cuts
// short is never read again.
func TestAntiPatterns_AutoCommitBeforeProcessing_Loses(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.run(10, func(polled []*kgo.Record) error {
			for _, r := range polled {
				time.Sleep(6 * time.Second) // longer than the commit interval
				if err := p.crash(r, "b"); err != nil {
					return err
				}
				p.effect(r)
			}
			return nil
		}, kgo.GreedyAutoCommit())
		require.Equal(t, map[string]int{"a": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// The offset is committed, and then the effect does not happen.
func TestAntiPatterns_CommitBeforeTheEffect_Loses(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.each(func(r *kgo.Record) error {
			p.commit(r)
			if err := p.crash(r, "b"); err != nil {
				return err
			}
			p.effect(r)
			return nil
		})
		require.Equal(t, map[string]int{"a": 1, "c": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// Kafka's answer is lost and the application sends again, under an ID of the
// attempt: they are two messages, and nobody can tell. Under an ID of the message
// they are one.
func TestAntiPatterns_RandomIDPerAttempt_Doubles(t *testing.T) {
	for name, want := range map[string]int{"of the attempt": 2, "of the message": 1} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				dialer, answers := w.lossy()
				cl := w.kafka.Client(t, dialer, kgo.RecordPartitioner(kgo.ManualPartitioner()),
					kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
				answers.lose.Store(1)
				for attempt := 0; ; attempt++ {
					id := "payment-7"
					if want == 2 {
						id = fmt.Sprint("random-", attempt)
					}
					if cl.ProduceSync(t.Context(), record(0, id)).FirstErr() == nil {
						require.Equal(t, 1, attempt)
						break
					}
				}
				require.Len(t, w.logged(0), 2)
				require.NoError(t, w.consumer(countID).Run(t.Context()))
				require.Len(t, w.states(), want, "effects of one payment")
			})
		})
	}
}

// An offset is the ID of a place, not of a message: a copy has another one.
func TestAntiPatterns_OffsetAsID_Doubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "a")
		p.remembered(func(r *kgo.Record) any { return r.Offset })
		require.Equal(t, map[string]int{"a": 2, "b": 1}, p.effects)
		p.byFirstseen("a", "b")
	})
}

// Two messages may have one time, and copies two.
func TestAntiPatterns_TimestampAsID_LosesAndDoubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		now := time.Now()
		for _, r := range []struct {
			id string
			at time.Time
		}{{"a", now}, {"b", now}, {"a", now.Add(time.Millisecond)}} {
			rec := record(0, r.id)
			rec.Timestamp = r.at
			p.kafka.Produce(t, rec)
		}
		p.remembered(func(r *kgo.Record) any { return r.Timestamp.UnixMilli() })
		require.Equal(t, map[string]int{"a": 2}, p.effects)
		p.byFirstseen("a", "b")
	})
}

// remembered handles each record of which the ID was not seen before, and forgets
// none.
func (p *bare) remembered(id func(*kgo.Record) any) {
	seen := map[any]bool{}
	p.each(func(r *kgo.Record) error {
		if !seen[id(r)] {
			seen[id(r)] = true
			p.effect(r)
		}
		p.commit(r)
		return nil
	})
}

// A set in memory is empty after a restart, which is when copies come.
func TestAntiPatterns_SetInMemory_Doubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		started, seen := 0, map[string]bool{}
		p.each(func(r *kgo.Record) error {
			if p.starts != started { // another process
				started, seen = p.starts, map[string]bool{}
			}
			if id := header(r, "id"); !seen[id] {
				p.effect(r)
				seen[id] = true
			}
			if err := p.crash(r, "b"); err != nil {
				return err
			}
			p.commit(r)
			return nil
		})
		require.Equal(t, map[string]int{"a": 1, "b": 2, "c": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// The marker is durable, the effect is not: after the crash it is a duplicate.
func TestAntiPatterns_MarkBeforeTheEffect_Loses(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.markedElsewhere(true)
		require.Equal(t, map[string]int{"a": 1, "c": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// The effect is durable, its marker in another store is not: after the crash it is
// new.
func TestAntiPatterns_MarkAfterTheEffectElsewhere_Doubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.markedElsewhere(false)
		require.Equal(t, map[string]int{"a": 1, "b": 2, "c": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// markedElsewhere handles records by markers in a store of its own (SETNX), which
// outlives the crash between the marker of "b" and its effect, or the other way
// round.
func (p *bare) markedElsewhere(first bool) {
	marked := map[string]bool{}
	p.each(func(r *kgo.Record) error {
		id := header(r, "id")
		mark, effect := func() { marked[id] = true }, func() { p.effect(r) }
		if !marked[id] {
			steps := []func(){effect, mark}
			if first {
				steps = []func(){mark, effect}
			}
			steps[0]()
			if err := p.crash(r, "b"); err != nil {
				return err
			}
			steps[1]()
		}
		p.commit(r)
		return nil
	})
}

// The copy was sent a minute after the message. The consumer was away for longer
// than a marker counts, and by the wall clock it expired while nobody looked.
func TestAntiPatterns_WallClockTTLWhileTheConsumerLags_Doubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		const ttl = 10 * time.Minute
		until := map[string]time.Time{}
		handle := func(r *kgo.Record) error {
			if id := header(r, "id"); time.Now().After(until[id]) {
				until[id] = time.Now().Add(ttl)
				p.effect(r)
			}
			p.commit(r)
			return nil
		}
		p.opts.Window = window.Of(ttl)
		p.produce(0, "a")
		p.each(handle)
		p.byFirstseen("a")
		time.Sleep(time.Minute)
		p.produce(0, "a")
		time.Sleep(2 * ttl)
		p.each(handle)
		require.Equal(t, map[string]int{"a": 2}, p.effects)
		p.byFirstseen("a")
	})
}

// A filter says "seen" of what it has never seen, and drops it.
func TestAntiPatterns_BloomFilterAlone_Loses(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		const bits, hashes = 2048, 4 // seven a message: in a stream that goes on, any filter comes to that
		var filter [bits]bool
		all := ids("a", 300)
		p.produce(0, all...)
		p.each(func(r *kgo.Record) error {
			seen := true
			for i := range hashes {
				at := xxh3.HashStringSeed(header(r, "id"), uint64(i)) % bits
				seen = seen && filter[at]
				filter[at] = true
			}
			if !seen {
				p.effect(r)
			}
			p.commit(r)
			return nil
		})
		require.Less(t, len(p.effects), len(all))
		require.Greater(t, len(p.effects), len(all)/2, "it is a filter, if a small one")
		p.byFirstseen(all...)
	})
}

// One record fails, the loop goes on, and the commit of the last one passes it.
func TestAntiPatterns_LaterOffsetOverAFailedRecord_Loses(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.run(10, func(polled []*kgo.Record) error {
			for _, r := range polled {
				if header(r, "id") != "b" { // it would work the next time
					p.effect(r)
				}
			}
			p.commit(polled[len(polled)-1])
			return p.crash(polled[0], "a")
		}, kgo.DisableAutoCommit())
		require.Equal(t, map[string]int{"a": 1, "c": 1}, p.effects)

		tried := 0
		p.calls.fail = func(id string) error {
			if tried++; id == "b" && tried < 4 {
				return errors.New("not now")
			}
			return nil
		}
		require.NoError(t, p.world.run())
		require.Equal(t, []string{"a", "b", "c"}, p.calls.order)
	})
}

// Kafka's idempotence ends with the producer: the next one writes the message once
// more, and whoever relies on it handles it twice.
func TestAntiPatterns_IdempotentProducerAlone_Doubles(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		for range 2 {
			cl := p.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())) // idempotent, as ever
			require.NoError(t, cl.ProduceSync(t.Context(), record(0, "a")).FirstErr())
		}
		p.each(func(r *kgo.Record) error {
			p.effect(r)
			p.commit(r)
			return nil
		})
		require.Equal(t, map[string]int{"a": 2}, p.effects)
		p.byFirstseen("a")
	})
}
