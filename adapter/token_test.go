package adapter

import (
	"math"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var uuid8 = regexp.MustCompile(`^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$`)

func TestToken(t *testing.T) {
	// The value is a promise: the other side remembers it over releases.
	token := Token("billing", "payments", []byte("p-1"))
	require.Equal(t, "4450243a-1a33-80fc-a2ba-02b5df6be38c", token)

	seen := map[string]bool{}
	for _, in := range [][3]string{
		{"a", "b", "c"}, {"ab", "", "c"}, {"", "ab", "c"}, {"a", "bc", ""}, {"a", "", "bc"},
		{"", "", "abc"}, {"", "", ""}, {"a", "\x01b", "c"}, {"a\x01b", "", "c"},
	} {
		token := Token(in[0], in[1], []byte(in[2]))
		require.Regexp(t, uuid8, token)
		require.False(t, seen[token], in)
		seen[token] = true
	}
}

func TestOutputID(t *testing.T) {
	topic := [16]byte{1, 2, 3}
	// The value is a promise: the next firstseen drops repetitions by it.
	require.Equal(t, "38bab981-1db0-8647-a8bd-88b117a22fc2", outputID("billing", topic, 3, 17, 0))

	seen := map[string]bool{}
	for _, id := range []string{
		outputID("billing", topic, 3, 17, 0),
		outputID("billin", topic, 3, 17, 0),
		outputID("billing", [16]byte{1, 2}, 3, 17, 0),
		outputID("billing", topic, 4, 17, 0),
		outputID("billing", topic, 3, 18, 0),
		outputID("billing", topic, 3, 17, 1),
		outputID("billing", topic, 0, 0, 0),
		outputID("billing", topic, math.MaxInt32, math.MaxInt64, math.MaxInt),
		Token("billing", string(topic[:]), nil),
	} {
		require.Regexp(t, uuid8, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
