package adapter

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

func sampleTag() offsetTag {
	return offsetTag{
		StoreID: [16]byte{1}, OpenID: [16]byte{2}, TopicID: [16]byte{3},
		Rewind: 4, Sequence: 500, Clock: 1_700_000_000_000, Forgets: 6,
		Skipped: []offsetRange{{0, 1}, {7, 9}, {math.MaxInt64 - 1, math.MaxInt64}}, HasState: true,
	}
}

// jumped is the timeline of a namespace that has seen one time.
func jumped(t testing.TB) store.Timeline {
	t.Helper()
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	ns, err := st.Namespace("a", nil)
	require.NoError(t, err)
	_, err = ns.Do(store.Record{ID: []byte("a"), At: time.UnixMilli(5)}, nil)
	require.NoError(t, err)
	status, err := ns.Status()
	require.NoError(t, err)
	require.NotZero(t, status.Timeline)
	return status.Timeline
}

func encode(t testing.TB, tag offsetTag) string {
	t.Helper()
	text, err := tag.encode()
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), tagMax)
	require.True(t, strings.HasPrefix(text, "fs1."))
	return text
}

func decode(t testing.TB, text string) offsetTag {
	t.Helper()
	tag, ours, err := decodeTag(text)
	require.NoError(t, err)
	require.True(t, ours)
	return tag
}

func TestTag_RoundTrip(t *testing.T) {
	for _, tag := range []offsetTag{
		{},
		sampleTag(),
		{Clock: -1, Merged: true, Rewind: math.MaxUint64, Sequence: math.MaxUint64, Forgets: 1 << 63},
		{Clock: math.MinInt64, Skipped: []offsetRange{{0, math.MaxInt64}}},
		{Clock: 1, Timeline: jumped(t), Skipped: []offsetRange{{2, 3}}},
	} {
		require.Equal(t, tag, decode(t, encode(t, tag)))
	}
	// The form is a promise: the next release reads it.
	require.Equal(t, "fs1.AQEAAAAAAAAAAAAAAAAAAAACAAAAAAAAAAAAAAAAAAAAAwAAAAAAAAAA"+
		"AAAAAAAAAAT0A4Cgq_75YgYDAAEGAvX_________fwHaF8e1",
		encode(t, sampleTag()))
}

func TestTag_PutsRangesInOrder(t *testing.T) {
	tag := offsetTag{Skipped: []offsetRange{{9, 12}, {3, 5}, {5, 6}, {10, 11}, {22, 30}, {20, 25}}}
	got := decode(t, encode(t, tag))
	require.Equal(t, []offsetRange{{3, 6}, {9, 12}, {20, 30}}, got.Skipped)
	require.False(t, got.Merged, "nothing was added")
	require.Equal(t, offsetRange{9, 12}, tag.Skipped[0], "the tag stays as it is")
	for _, r := range []offsetRange{{5, 5}, {6, 5}, {-1, 5}} {
		_, err := offsetTag{Skipped: []offsetRange{r}}.encode()
		require.ErrorContains(t, err, "is not one; give offsets from 0 on")
	}
}

func TestTag_MergesTheClosest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	tag := sampleTag()
	tag.Skipped = nil
	for at := int64(1); len(tag.Skipped) < 20_000; {
		from := at + 1 + rng.Int64N(1<<40)
		at = from + 1 + rng.Int64N(1<<20)
		tag.Skipped = append(tag.Skipped, offsetRange{from, at})
	}
	got := decode(t, encode(t, tag))
	require.True(t, got.Merged)
	require.Greater(t, len(got.Skipped), 200, "as many as fit")

	// Every range that was skipped is covered, the gaps that went are the
	// smallest, and one gap more would not fit.
	var widestGone, smallestLeft, left int64 = 0, math.MaxInt64, 0
	smallestGone := offsetRange{}
	for i, at := 0, 0; i < len(tag.Skipped); i++ {
		r := tag.Skipped[i]
		if r.From >= got.Skipped[at].To {
			smallestLeft = min(smallestLeft, got.Skipped[at+1].From-got.Skipped[at].To)
			at++
			left++
		} else if i > 0 {
			gap := r.From - tag.Skipped[i-1].To
			if gap > widestGone {
				widestGone, smallestGone = gap, offsetRange{tag.Skipped[i-1].To, r.From}
			}
		}
		require.True(t, got.Skipped[at].From <= r.From && r.To <= got.Skipped[at].To)
	}
	require.LessOrEqual(t, widestGone, smallestLeft)
	var more []offsetRange
	for _, r := range got.Skipped {
		if r.From < smallestGone.From && smallestGone.To < r.To {
			more = append(more, offsetRange{r.From, smallestGone.From}, offsetRange{smallestGone.To, r.To})
		} else {
			more = append(more, r)
		}
	}
	require.Len(t, more, len(got.Skipped)+1)
	got.Skipped = more
	require.Greater(t, len(got.text()), tagMax)
}

func TestTag_MergedStaysWhenItFits(t *testing.T) {
	tag := sampleTag()
	tag.Merged = true
	require.True(t, decode(t, encode(t, tag)).Merged)
}

func TestDecodeTag_Foreign(t *testing.T) {
	for _, text := range []string{
		"", "fs", "fs1", "fs.", "fsx.abc", "1.abc", "consumer-1", `{"a":1}`, " fs1.abc", "FS1.abc",
		"fs-1.a", "fs1x.a", "xfs1.a",
	} {
		tag, ours, err := decodeTag(text)
		require.NoError(t, err, text)
		require.False(t, ours, text)
		require.Zero(t, tag)
	}
}

func TestDecodeTag_Unreadable(t *testing.T) {
	good := encode(t, sampleTag())
	refused := func(text, why string) {
		t.Helper()
		tag, ours, err := decodeTag(text)
		require.True(t, ours, text)
		require.ErrorIs(t, err, ErrTag, text)
		require.ErrorContains(t, err, why)
		require.Zero(t, tag)
	}
	refused("fs2."+good[4:], "format fs2, this release reads fs1; run the release that")
	refused("fs10."+good[4:], "format fs10")
	refused("fs01."+good[4:], "format fs01")
	refused("fs0.", "format fs0")
	for i := len("fs1."); i < len(good); i++ {
		refused(good[:i], "damaged")
		other := byte('A')
		if good[i] == other {
			other = 'B'
		}
		refused(good[:i]+string(other)+good[i+1:], "damaged")
	}
	refused(good+"A", "damaged")
	refused(good+"\n", "damaged")
	refused(good[:9]+"\r"+good[9:], "damaged")
	refused(good+"=", "damaged")

	// Sound checksums over what encode would never write.
	touching := sampleTag()
	touching.Skipped = []offsetRange{{1, 2}, {2, 3}}
	refused(touching.text(), "damaged")
	long := sampleTag()
	long.Skipped = nil
	for i := range int64(5000) {
		long.Skipped = append(long.Skipped, offsetRange{10 + 4*i, 12 + 4*i})
	}
	refused(long.text(), "damaged")
	reversed := sampleTag()
	reversed.Skipped = []offsetRange{{5, 4}}
	refused(reversed.text(), "damaged")
}

// FuzzTag checks that whatever decodes is what encode writes, and that every
// tag comes back, with all that was skipped.
func FuzzTag(f *testing.F) {
	f.Add("", []byte(nil))
	f.Add(encode(f, sampleTag()), []byte("\x03abcdefghijklmnopqrstuvwxyz"))
	f.Add(encode(f, offsetTag{Timeline: jumped(f)}), []byte(nil))
	f.Add("fs1.AAAA", []byte{1, 255, 255, 255, 255, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		if tag, ours, err := decodeTag(text); ours && err == nil {
			require.Equal(t, text, encode(t, tag))
		} else {
			require.Zero(t, tag)
		}

		tag := sampleTag()
		copy(tag.StoreID[:], data)
		number := func() uint64 {
			var b [8]byte
			data = data[copy(b[:], data):]
			return binary.LittleEndian.Uint64(b[:])
		}
		tag.HasState = number()%2 == 0
		tag.Clock, tag.Rewind, tag.Sequence = int64(number()), number(), number()
		tag.Skipped = nil
		for len(data) > 0 {
			from := int64(number() >> 1)
			length := min(int64(number()>>1), math.MaxInt64-from)
			if length > 0 {
				tag.Skipped = append(tag.Skipped, offsetRange{from, from + length})
			}
		}
		got := decode(t, encode(t, tag))
		require.Equal(t, encode(t, tag), encode(t, got))
		last := int64(-1)
		for _, r := range got.Skipped {
			require.Less(t, last, r.From)
			require.Less(t, r.From, r.To)
			last = r.To
		}
		for _, r := range tag.Skipped {
			covered := false
			for _, c := range got.Skipped {
				covered = covered || c.From <= r.From && r.To <= c.To
			}
			require.True(t, covered, r)
		}
		if !got.Merged {
			require.Equal(t, union(tag.Skipped), got.Skipped)
		}
		tag.Skipped, got.Skipped, got.Merged = nil, nil, false
		require.Equal(t, tag, got)
	})
}
