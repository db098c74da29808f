package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Whatever bytes an ID is made of, and however many, it is new once and a
// duplicate ever after: in memory, in a run that is read back, and in a table.
func TestFault_D04_D05_AnyBytesAreAnID(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 257)
	digest := sha256.Sum256(long)
	ids := [][]byte{
		{0}, {0, 0}, {0xff}, {0xff, 0xff}, []byte("a\xc3("), []byte("a"), []byte("a\x00"),
		long[:256], long, digest[:],
		bytes.Repeat([]byte("x"), 64<<10), bytes.Repeat([]byte("x"), 1<<20),
		append(bytes.Repeat([]byte("x"), 1<<20), 0),
		[]byte("0189d7a4-5b2f-7c3e-8d4a-9b6c5e4f3a2b"), []byte("0189D7A4-5B2F-7C3E-8D4A-9B6C5E4F3A2B"),
		{0x01, 0x89, 0xd7, 0xa4, 0x5b, 0x2f, 0x7c, 0x3e, 0x8d, 0x4a, 0x9b, 0x6c, 0x5e, 0x4f, 0x3a, 0x2b},
	}
	for _, full := range []int{1000, 4} {
		t.Run(fmt.Sprint("full=", full), func(t *testing.T) {
			fs, next := vfs.NewMem(), int64(0)
			for round, want := range []Verdict{New, Duplicate, Duplicate} {
				s, err := open("store", nil, seams{fs: fs, limits: limits{full: full, small: 1, merge: mergeAbove}})
				require.NoError(t, err)
				n, err := s.Namespace("a", nil)
				require.NoError(t, err)
				require.NoError(t, n.Update(func(b *Batch) error {
					if round == 1 {
						b.Prepare(ids)
					}
					for i, id := range ids {
						d, err := b.Do(Record{ID: id, Origin: Position{TopicID: ID{1}, Offset: next}}, nil)
						require.NoError(t, err)
						require.Equal(t, want, d.Verdict, "ID %d", i)
						if want == Duplicate {
							require.EqualValues(t, i, d.Origin.Offset)
						}
						next++
					}
					return nil
				}))
				require.NoError(t, s.queue.drain())
				st, err := n.Status()
				require.NoError(t, err)
				require.EqualValues(t, len(ids), st.Markers)
				require.Equal(t, round > 0 && full == 4, st.Sealed > 0, "tables answer after a restart")
				require.NoError(t, s.Close())
			}
		})
	}
}

// Where one namespace's name ends and what is inside it begins is never in
// doubt: not for IDs, and not for keys of state.
func TestFault_D06_NamesAndIDsAreNotGlued(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	seen := map[string]bool{}
	for _, pair := range [][2]string{
		{"a", "bc"}, {"ab", "c"}, {"a", "b"}, {"a\x00", "b"}, {"a", "\x00b"}, {"abc", "abc"},
	} {
		n, err := s.Namespace(pair[0], nil)
		require.NoError(t, err)
		for i, want := range []Verdict{New, Duplicate} {
			d, err := n.Do(Record{ID: []byte(pair[1])}, func(tx *Tx) error {
				v, err := tx.Get([]byte(pair[1]))
				require.NoError(t, err)
				require.Nil(t, v, "%q", pair)
				require.Zero(t, i)
				return tx.Set([]byte(pair[1]), []byte(pair[0]))
			})
			require.NoError(t, err)
			require.Equal(t, want, d.Verdict, "%q", pair)
		}
		seen[pair[0]] = true
	}
	for name := range seen {
		n, err := s.Namespace(name, nil)
		require.NoError(t, err)
		require.NoError(t, n.View(func(v *View) error {
			return v.Scan(nil, func(_, value []byte) error {
				require.Equal(t, name, string(value))
				return nil
			})
		}))
	}
}
