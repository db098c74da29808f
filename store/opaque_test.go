package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// awkward are IDs at every bound that there is: each byte alone, runs of the
// lowest and the highest of every length up to beyond what is stored as it is,
// one the prefix of the next, and text that is none.
func awkward() (ids [][]byte) {
	for i := range 256 {
		ids = append(ids, []byte{byte(i)})
	}
	for n := 2; n <= 300; n += 1 + n/20 {
		ids = append(ids, bytes.Repeat([]byte{0}, n), bytes.Repeat([]byte{0xff}, n),
			append(bytes.Repeat([]byte{0xff}, n-1), 0), append(bytes.Repeat([]byte{0}, n-1), 0xff))
	}
	for _, n := range []int{255, 256, 257} { // around the longest that is stored as it is
		ids = append(ids, bytes.Repeat([]byte("x"), n))
	}
	return append(ids, []byte("a\x00b"), []byte("a\x00"), []byte("\xc3\x28"), []byte("\xed\xa0\x80"),
		[]byte("01234567-89ab-cdef-0123-456789abcdef"), []byte("01234567-89AB-cdef-0123-456789abcdef"),
		[]byte("\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"))
}

// Each of them is an ID of its own, in memory, in runs, in tables and in merged
// ones, and a key of state of its own, with no neighbour in its range.
func TestFault_D05_EveryByteCounts(t *testing.T) {
	ids := awkward()
	texts := map[string]bool{}
	for _, id := range ids {
		require.False(t, texts[string(id)], "%x is there twice", id)
		texts[string(id)] = true
	}
	c := newCrashed(t, NamespaceOptions{Window: window.Forever})
	for from, batch := range slices.Collect(slices.Chunk(ids, 9)) {
		require.NoError(t, c.n.Update(func(b *Batch) error {
			for i, id := range batch {
				at := Position{TopicID: ID{1}, Offset: int64(from*9 + i)}
				d, err := b.Do(Record{ID: id, At: t0, Origin: at}, func(tx *Tx) error { return tx.Set(id, id) })
				require.NoError(t, err)
				require.Equal(t, New, d.Verdict, "%x", id)
			}
			return nil
		}))
	}
	for round := range 3 { // as it was written, after a crash, and merged
		h := hold(t, c.n, nil)
		require.Equal(t, len(ids), len(h.state))
		require.ErrorIs(t, c.n.Update(func(b *Batch) error {
			for i, id := range ids {
				d, err := b.Do(Record{ID: id}, nil)
				require.NoError(t, err)
				require.Equal(t, Duplicate, d.Verdict, "round %d: %x", round, id)
				require.EqualValues(t, i, d.Origin.Offset, "round %d: %x", round, id)
				if more := append(slices.Clone(id), 0x7e); !texts[string(more)] {
					d, err := b.Do(Record{ID: more}, nil)
					require.NoError(t, err)
					require.Equal(t, New, d.Verdict, "round %d: %x", round, more)
				}
			}
			return errNotKept
		}), errNotKept)
		for _, prefix := range []string{"", "\x00", "\xff", "\xff\xff", "a", "x"} {
			var want, got []string
			for _, id := range ids {
				if bytes.HasPrefix(id, []byte(prefix)) {
					want = append(want, string(id))
				}
			}
			require.NoError(t, c.n.View(func(v *View) error {
				return v.Scan([]byte(prefix), func(key, value []byte) error {
					require.Equal(t, key, value)
					got = append(got, string(key))
					return nil
				})
			}))
			slices.Sort(want)
			require.Equal(t, want, got, "the range of %x", prefix)
		}
		if round == 1 {
			require.Positive(t, merges(mergedNow(t, c.s, c.n)), "nothing was merged")
		}
		c.crash()
	}
	report, err := c.s.Verify(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, report.Damage, fmt.Sprint(report.Damage))
}

// merges counts the segments that were merged.
func merges(list []*segment) (n int) {
	for _, g := range list {
		if g.merged() {
			n++
		}
	}
	return n
}
