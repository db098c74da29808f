package store

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestHead_RoundTrip(t *testing.T) {
	full := head{
		flow: flow{
			hasPos: true, pos: Position{TopicID: ID{1, 2}, Partition: math.MaxInt32,
				Offset: math.MaxInt64, LeaderEpoch: -1},
			clock: clock{now: 1, first: 2, times: 8, jumps: 999, low: 3, high: math.MaxInt64},
			cov:   coverage{open: true, since: math.MinInt64, reason: Lost},
		},
		committed:  &Committed{Offset: math.MaxInt64, LeaderEpoch: -1, Tag: "a tag"},
		lastOffset: -1, fingerprint: math.MaxUint64, rewind: 1, forgets: 2, sequence: 3, hasState: true,
		next: 4, sum: ledger{5, 6, 7}, row: ledger{8, 9, math.MaxUint64},
		sweeps: math.MaxUint64, note: []byte("a note"),
	}
	fresh := newHead()
	none := head{flow: flow{cov: coverage{since: -5, reason: Cold}}, committed: &Committed{}}
	for _, h := range []head{full, fresh, none} {
		b := h.append(nil)
		got, ok := parseHead(b)
		require.True(t, ok)
		require.Equal(t, h, got)
		for cut := range b {
			_, ok := parseHead(b[:cut])
			require.False(t, ok, "cut at %d", cut)
		}
		_, ok = parseHead(append(b, 0))
		require.False(t, ok, "something follows it")
		b[0]++
		_, ok = parseHead(b)
		require.False(t, ok, "the next format")
	}
}

// A row that was emptied by a marker accepted anew shares nothing with a batch
// that is rolled back.
func TestRow_EmptiedThenRolledBack(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	s.later(4 * time.Hour)
	s.see("a", 40*time.Minute)
	require.NoError(t, s.n.Update(func(b *Batch) error { // C' goes on, without a marker
		s.off++
		return b.Pass(rec("", s.off-1, 3*time.Hour), nil)
	}))
	missing := rec("a", s.off, 0)
	missing.At = time.Time{}
	d, err := s.n.Do(missing, nil) // the only marker of the row leaves it
	require.NoError(t, err)
	require.Equal(t, Clock, d.Reason)
	s.off++
	for range 2 {
		require.ErrorIs(t, s.n.Update(func(b *Batch) error {
			d, err := b.Do(rec("b", s.off, 3*time.Hour), nil)
			require.NoError(t, err)
			require.Equal(t, New, d.Verdict)
			return ErrOverflow
		}), ErrOverflow)
	}
}

func TestRow_KeepsTheLastOfAnID(t *testing.T) {
	const secret = 7
	v := func(id string, first, offset, older int64) rowMarker {
		return rowMarker{keyed(appendIdent(nil, []byte(id)), secret),
			marker{first: first, origin: Position{TopicID: ID{1}, Offset: offset, LeaderEpoch: -1}}, older}
	}
	var r row
	_, ok := r.find(v("a", 0, 0, 0).id)
	require.False(t, ok)
	a, b, c, a2 := v("a", 1, 10, 0), v("b", 2, 11, 5), v("c", 3, 12, math.MaxInt64), v("a", 4, 13, 1)
	for _, x := range []rowMarker{a, b, c, a2} {
		r.add(x)
	}
	require.Equal(t, []rowMarker{b, c, a2}, r.list)
	kept := r.clone()
	require.True(t, r.remove(b.id))
	require.False(t, r.remove(b.id))
	require.Equal(t, []rowMarker{c, a2}, r.list)
	for _, x := range r.list {
		got, ok := r.find(x.id)
		require.True(t, ok)
		require.Equal(t, x, got)
	}
	require.Equal(t, []rowMarker{b, c, a2}, kept.list, "a clone is its own")
	_, ok = kept.find(b.id)
	require.True(t, ok)

	read, ok := parseRow(kept.append(nil), secret)
	require.True(t, ok)
	require.Equal(t, kept.list, read.list)
	require.Equal(t, kept.ledger(secret), read.ledger(secret))
	require.NotEqual(t, kept.ledger(secret), r.ledger(secret))
}
