package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// holding is all that a namespace answers: what it is, its state, its outputs,
// and its verdict on each of some IDs.
type holding struct {
	status  Status
	state   map[string]string
	outputs []Output
	first   map[string]Marker
}

func hold(t *testing.T, n *Namespace, ids []string) holding {
	t.Helper()
	require.NoError(t, n.Load())
	h := holding{state: map[string]string{}, first: map[string]Marker{}}
	var err error
	h.status, err = n.Status()
	require.NoError(t, err)
	h.status.Counts, h.status.Sealed = Counts{}, 0 // of this opening
	require.NoError(t, n.View(func(v *View) error {
		return v.Scan(nil, func(key, value []byte) error { h.state[string(key)] = string(value); return nil })
	}))
	require.NoError(t, n.Pending(func(o Output) error { h.outputs = append(h.outputs, o); return nil }))
	for _, id := range ids {
		m, found, err := n.Lookup([]byte(id))
		require.NoError(t, err)
		if found {
			h.first[id] = m
		}
	}
	return h
}

// Namespaces side by side in one store, with the same IDs, logs and keys, and
// names that are each other's prefixes. Whatever happens to one, the others
// answer as before, and after a crash, too.
func TestFault_F13_NamespacesDoNotKnowEachOther(t *testing.T) {
	names := []string{"a", "a\x00", "ab", "a/b", "\xff", "\xff\xff"}
	c := newCrashed(t, NamespaceOptions{Window: window.Hour})
	ids := make([]string, 60)
	for i := range ids {
		ids[i] = fmt.Sprint("id-", i)
	}
	fill := func(i int, name string) {
		n, err := c.s.Namespace(name, &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		require.NoError(t, n.Update(func(b *Batch) error {
			for k, id := range ids {
				r := rec(id, int64(k), time.Duration(i*60+k)*time.Second)
				d, err := b.Do(r, func(tx *Tx) error {
					return errors.Join(tx.Set([]byte(id), []byte(name)), tx.Stage([]byte(name)))
				})
				require.NoError(t, err)
				require.Equal(t, New, d.Verdict, "%q in namespace %q", id, name)
			}
			b.SetCommitted(Committed{Offset: int64(i), Tag: name})
			return nil
		}))
	}
	for i, name := range names {
		fill(i, name)
	}
	require.NoError(t, c.s.queue.drain())
	all := func() (h []holding) {
		for _, name := range names[1:] {
			n, err := c.s.Namespace(name, nil)
			require.NoError(t, err)
			h = append(h, hold(t, n, ids))
		}
		return h
	}
	before := all()
	for i, h := range before {
		name := names[i+1]
		require.Len(t, h.first, len(ids))
		require.Len(t, h.outputs, len(ids))
		require.Equal(t, name, h.status.Committed.Tag)
		for id, value := range h.state {
			require.Equal(t, name, value, id)
		}
	}
	boom := errors.New("boom")
	a, err := c.s.Namespace("a", nil)
	require.NoError(t, err)
	for _, deed := range []struct {
		name string
		do   func() error
	}{
		{"a record fails", func() error {
			_, err := a.Do(rec("x", 60, 0), func(*Tx) error { return boom })
			require.ErrorIs(t, err, boom)
			return nil
		}},
		{"an ID is forgotten", func() error { _, err := a.Forget([]byte("id-7")); return err }},
		{"origins are forgotten", func() error { return a.ForgetOrigins(ID{1}, 0, 10, 30) }},
		{"its clock goes on", func() error { return a.Advance(t0.Add(59 * time.Minute)) }},
		{"its window shrinks", func() error {
			_, err := c.s.Namespace("a", &NamespaceOptions{Window: window.Of(time.Minute), AllowShrink: true})
			return err
		}},
		{"its outputs are settled", func() error {
			return a.Update(func(b *Batch) error { b.Settle(b.Sequence() - 1); return nil })
		}},
		{"all is forgotten", func() error { return a.ForgetAll() }},
		{"it reads another log", func() error {
			return a.Update(func(b *Batch) error { return b.SetPosition(Position{TopicID: ID{2}, Offset: 5}) })
		}},
		{"it is deleted", func() error { return c.s.DeleteNamespace("a") }},
	} {
		require.NoError(t, deed.do(), deed.name)
		require.NoError(t, c.s.queue.drain())
		require.Equal(t, before, all(), deed.name)
	}
	c.crash() // which makes "a" anew
	require.Equal(t, before, all(), "after a crash")
	require.Empty(t, hold(t, c.n, ids).first, "a namespace of a name that was used knows nothing")
	fill(0, "a")
	require.Equal(t, before, all())
	report, err := c.s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, report.Damage)
}

// A namespace has one owner at a time, whoever has asked for it: batches follow
// each other, and those of another namespace go on beside them.
func TestFault_F13_OneOwner(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	const rounds = 50
	var all sync.WaitGroup
	for g := range 4 {
		n, err := s.Namespace("shared", nil)
		require.NoError(t, err)
		own, err := s.Namespace(fmt.Sprint("own-", g), nil)
		require.NoError(t, err)
		all.Go(func() {
			for i := range int64(rounds) {
				// No offset: each is decided where its turn has come.
				_, err := n.Do(Record{ID: fmt.Appendf(nil, "%d-%d", g, i), At: t0}, func(tx *Tx) error {
					_, err := tx.Add([]byte("n"), 1)
					return err
				})
				if err == nil {
					_, err = own.Do(rec(fmt.Sprint(i), i, 0), nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	n, err := s.Namespace("shared", nil)
	require.NoError(t, err)
	require.NoError(t, n.View(func(v *View) error {
		got, err := v.Int([]byte("n"))
		require.EqualValues(t, 4*rounds, got)
		return err
	}))
	require.EqualValues(t, 4*rounds, func() uint64 { st, _ := n.Status(); return st.Markers }())
}

// A handler writes, adds, deletes and stages, and then fails, between records
// that do not: of it nothing remains, neither in the batch, nor after it, nor
// after a crash.
func TestFault_F03_WhatAFailedHandlerWrote(t *testing.T) {
	boom := errors.New("boom")
	for _, how := range []string{"error", "panic"} {
		t.Run(how, func(t *testing.T) {
			c := newCrashed(t, NamespaceOptions{Window: window.Hour})
			c.see("first", 0)
			set := func(tx *Tx, key, value string) { require.NoError(t, tx.Set([]byte(key), []byte(value))) }
			good := func(name string) func(*Tx) error {
				return func(tx *Tx) error {
					set(tx, "kept", name)
					_, err := tx.Add([]byte("n"), 1)
					return errors.Join(err, tx.Stage([]byte(name)))
				}
			}
			fails := func(b *Batch, r Record) (err error) {
				defer func() {
					if v := recover(); v != nil {
						err = v.(error)
					}
				}()
				_, err = b.Do(r, func(tx *Tx) error {
					set(tx, "kept", "half")
					set(tx, "fresh", "half")
					require.NoError(t, tx.Delete([]byte("n")))
					_, err := tx.Add([]byte("other"), 7)
					require.NoError(t, errors.Join(err, tx.Stage([]byte("half"))))
					if how == "panic" {
						panic(boom)
					}
					return boom
				})
				return err
			}
			require.NoError(t, c.n.Update(func(b *Batch) error {
				_, err := b.Do(rec("one", 1, 0), good("one"))
				require.NoError(t, err)
				require.ErrorIs(t, fails(b, rec("bad", 2, time.Minute)), boom)
				require.NoError(t, b.SetPosition(Position{TopicID: ID{1}, Offset: 3}))
				_, err = b.Do(rec("three", 3, 0), func(tx *Tx) error {
					for key, want := range map[string]string{"kept": "one", "fresh": "", "other": ""} {
						v, err := tx.Get([]byte(key))
						require.NoError(t, err)
						require.Equal(t, want, string(v), "in the same batch: %s", key)
					}
					return good("three")(tx)
				})
				return err
			}))
			for range 2 {
				h := hold(t, c.n, []string{"one", "bad", "three"})
				require.Equal(t, map[string]string{"kept": "three", "n": "\x00\x00\x00\x00\x00\x00\x00\x02"}, h.state)
				require.Len(t, h.outputs, 2)
				require.Equal(t, "one", string(h.outputs[0].Data))
				require.Equal(t, "three", string(h.outputs[1].Data))
				require.Len(t, h.first, 2)
				require.NotContains(t, h.first, "bad")
				require.Equal(t, at(0), h.status.Clock, "its time moved the clock")
				c.crash()
			}
		})
	}
}
