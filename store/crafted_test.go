package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// crafted returns n IDs that, under a secret, all fall into one block of a
// filter of n markers, one page of their table and one stretch of its slots;
// and as many again that were not among them.
func crafted(secret uint64, n int) (ids, absent [][]byte) {
	f := newFilter(make([]uint64, filterWords(uint64(n))))
	for i := 0; len(absent) < n; i++ {
		id := fmt.Appendf(nil, "crafted-%d", i)
		if f.block(keyed(appendIdent(nil, id), secret).hash) != 0 {
			continue
		}
		if len(ids) < n {
			ids = append(ids, id)
		} else {
			absent = append(absent, id)
		}
	}
	return ids, absent
}

// IDs can only be crafted against a secret that is known, and a store makes its
// own: against any other they are as good as random. Even against their own
// they make a store slow, never wrong.
func TestFault_D08_CraftedIDs(t *testing.T) {
	const n = 2000
	const known = 0x5eed
	ids, absent := crafted(known, n)
	falsely := func(secret uint64) (hits int) {
		f := newFilter(make([]uint64, filterWords(n)))
		for _, id := range ids {
			f.add(keyed(appendIdent(nil, id), secret).hash)
		}
		for _, id := range absent {
			if f.maybe(keyed(appendIdent(nil, id), secret).hash) {
				hits++
			}
		}
		return hits
	}
	require.Equal(t, n, falsely(known), "crafted well: every absent ID costs a read")
	require.Less(t, falsely(known+1), n/100)

	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own secret=%v", own), func(t *testing.T) {
			s := newScene(t, window.Day)
			s.st.limits = limits{full: n / 2, small: n / 8}
			against := uint64(known)
			require.NotEqual(t, against, s.st.secret, "drawn at random")
			if own {
				against = s.st.secret
			}
			ids, absent := crafted(against, n)
			for _, step := range []struct {
				ids  [][]byte
				want Verdict
			}{{ids, New}, {ids, Duplicate}, {absent, New}} {
				require.NoError(t, s.n.Update(func(b *Batch) error {
					b.Prepare(step.ids)
					for _, id := range step.ids {
						d, err := b.Do(Record{ID: id, At: t0.Add(time.Second),
							Origin: Position{TopicID: ID{1}, Offset: s.off}}, nil)
						if err != nil {
							return err
						}
						require.Equal(t, step.want, d.Verdict)
						s.off++
					}
					return nil
				}))
				require.NoError(t, s.st.queue.drain())
			}
			if !own {
				require.LessOrEqual(t, s.status().Segments, 5, "no segment had to close early")
			}
		})
	}
}
