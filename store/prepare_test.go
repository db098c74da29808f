package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// However much of what was prepared is decided, and however often a batch
// prepares, the answers are those of a batch that prepares nothing; and nobody
// still looks up when the batch ends.
func TestPrepare_AheadOfTheOwner(t *testing.T) {
	const all = 3000 // in tables, in memory beside one, and in memory alone
	s := testOpen(t, t.TempDir(), limits{full: 400, small: 50, merge: mergeAbove})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for o := int64(0); o < all; o += 100 {
		accept(t, n, o, 100, 0)
	}
	ids := make([][]byte, 0, all+500)
	for i := range cap(ids) {
		ids = append(ids, fmt.Appendf(nil, "id-%d", (i*11)%cap(ids)))
	}
	check := func(b *Batch, from, to int) {
		for i := from; i < to; i++ {
			d, err := b.Do(Record{ID: ids[i]}, nil)
			require.NoError(t, err)
			want := Duplicate
			if at := (i * 11) % cap(ids); at >= all {
				want = New
			} else {
				require.EqualValues(t, at, d.Origin.Offset)
			}
			require.Equal(t, want, d.Verdict, "%s", ids[i])
		}
	}
	undone := errors.New("undone")
	for _, decided := range []int{0, 1, alone, alone + maxPiece, len(ids)} {
		require.ErrorIs(t, n.Update(func(b *Batch) error {
			b.Prepare(ids)
			check(b, 0, decided)
			return undone
		}), undone)
		require.ErrorIs(t, n.Update(func(b *Batch) error {
			for from := 0; from < len(ids); from += 700 {
				b.Prepare(ids[from:])
				check(b, from, min(from+max(decided, 1), from+700, len(ids)))
			}
			return undone
		}), undone)
		accept(t, n, int64(len(ids)+decided), 1, 0) // a segment changes
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		b.Prepare(ids)
		check(b, 0, 1)
		return nil // what is ahead ends before the segments take the batch
	}))
}
