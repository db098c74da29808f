package adapter

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// idOf returns the ID as text, or "missing: " and the reason.
func idOf(t *testing.T, x Extractor, rec *kgo.Record) string {
	t.Helper()
	id, missing := x.ID(rec)
	if len(id) == 0 {
		require.Nil(t, id)
		require.NotEmpty(t, missing, "a missing ID says why")
		return "missing: " + missing
	}
	require.Empty(t, missing)
	return string(id)
}

func headers(pairs ...string) *kgo.Record {
	rec := &kgo.Record{}
	for i := 0; i < len(pairs); i += 2 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return rec
}

func TestFault_D03_MissingID(t *testing.T) {
	tests := []struct {
		name string
		x    Extractor
		rec  *kgo.Record
		want string
	}{
		{"header", Header("id"), headers("x", "1", "id", "2", "ID", "3"), "2"},
		{"header absent", Header("id"), headers("ID", "3"), `missing: there is no header "id"`},
		{"header empty", Header("id"), headers("id", ""), `missing: the header "id" is empty`},
		{"header null", Header("id"), &kgo.Record{Headers: []kgo.RecordHeader{{Key: "id"}}},
			`missing: the header "id" is empty`},
		{"header twice", Header("id"), headers("id", "1", "id", "1"),
			`missing: there are 2 headers "id"`},
		{"header binary", Header("id"), headers("id", "\x00\xff"), "\x00\xff"},
		{"key", Key(), &kgo.Record{Key: []byte("k")}, "k"},
		{"key null", Key(), &kgo.Record{}, "missing: the key is null or empty"},
		{"key empty", Key(), &kgo.Record{Key: []byte{}}, "missing: the key is null or empty"},
		{"composite", Composite(Key(), Header("id")),
			&kgo.Record{Key: []byte("k"), Headers: headers("id", "23").Headers}, "\x01k\x0223"},
		{"composite without a part", Composite(Key(), Header("id")), &kgo.Record{Key: []byte("k")},
			`missing: there is no header "id"`},
		{"composite of nothing", Composite(Key(), Key()), &kgo.Record{},
			"missing: the key is null or empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, idOf(t, tt.x, tt.rec))
		})
	}
}

// named is a user's own extractor.
type named string

func (n named) Name() string                        { return string(n) }
func (n named) ID(rec *kgo.Record) ([]byte, string) { return rec.Value, "no value" }

func TestFault_D09_ExtractorNames(t *testing.T) {
	tests := []struct {
		x    Extractor
		want string
	}{
		{Key(), "key"},
		{Header("a"), "header:a"},
		{Header("a+key"), `header:a\+key`},
		{Header(`a\`), `header:a\\`},
		{JSONPointer("/a/b"), "json:/a/b"},
		{JSONPointer("/a+b"), `json:/a\+b`},
		{Composite(Header("a"), Key()), "header:a+key"},
		{Composite(Header(`a\`), Key()), `header:a\\+key`},
		{Composite(Key(), Header("a")), "key+header:a"},
		{Composite(named("mine+key"), Key()), `mine\+key+key`},
		{Composite(named("mine"), Key(), Key()), "mine+key+key"},
		{Composite(JSONPointer(""), Key()), "json:+key"},
	}
	seen := map[string]bool{}
	for _, n := range tests {
		require.Equal(t, n.want, n.x.Name())
		require.False(t, seen[n.want], n.want)
		seen[n.want] = true
	}
}

func TestComposite_FlattensWhatIsInside(t *testing.T) {
	require.Equal(t, Key(), Composite(Key()))
	inner := Composite(Header("a"), Header("b"))
	require.Equal(t, Composite(Key(), Header("a"), Header("b")), Composite(Key(), inner))
}

func TestParseSpec(t *testing.T) {
	good := []struct {
		specs []string
		want  Extractor
	}{
		{[]string{"key"}, Key()},
		{[]string{"content"}, Content()},
		{[]string{"header:id"}, Header("id")},
		{[]string{"header:a:b+c"}, Header("a:b+c")},
		{[]string{"json:"}, JSONPointer("")},
		{[]string{"json:/a~1b/0"}, JSONPointer("/a~1b/0")},
		{[]string{"key", "header:id", "json:/a"}, Composite(Key(), Header("id"), JSONPointer("/a"))},
	}
	for _, tt := range good {
		got, err := ParseSpec(tt.specs...)
		require.NoError(t, err, tt.specs)
		require.Equal(t, tt.want, got)
	}
	bad := []struct {
		specs []string
		want  string
	}{
		{nil, "no ID is named"},
		{[]string{""}, `ID "" is not known; give header:NAME`},
		{[]string{"Key"}, `ID "Key" is not known`},
		{[]string{"key:"}, `ID "key:" is not known`},
		{[]string{"content:"}, `ID "content:" is not known`},
		{[]string{"header"}, `ID "header" is not known`},
		{[]string{"header:"}, "the header of the ID has no name"},
		{[]string{"json:a"}, `JSON pointer "a" does not begin with /`},
		{[]string{"json:/a~2"}, "a ~ that is neither ~0 nor ~1"},
		{[]string{"json:/a~"}, "a ~ that is neither ~0 nor ~1"},
		{[]string{"json:/\xff"}, "is not UTF-8"},
		{[]string{"key", "x", "json:y"},
			"ID \"x\" is not known; give header:NAME, key, json:/pointer or content\n" +
				"adapter: JSON pointer \"y\" does not begin with /"},
	}
	for _, tt := range bad {
		x, err := ParseSpec(tt.specs...)
		require.ErrorContains(t, err, tt.want)
		require.Nil(t, x)
	}
}

func TestCheckExtractor(t *testing.T) {
	require.NoError(t, checkExtractor(Composite(Key(), named("x"))))
	for _, tt := range []struct {
		x    Extractor
		want string
	}{
		{nil, "no ID extractor is set"},
		{Header(""), "has no name"},
		{named(""), "adapter.named has no name"},
		{JSONPointer("a"), "does not begin with /"},
		{Composite(), "has no parts"},
		{Composite(Key(), Composite()), "has no parts"},
		{Composite(nil), "no ID extractor is set"},
		{Composite(Key(), nil), "no ID extractor is set"},
		{Composite(Key(), Header("")), "has no name"},
	} {
		require.ErrorContains(t, checkExtractor(tt.x), tt.want)
	}
}

// FuzzComposite checks (fault D06) that composites are injective: records with
// different parts have different IDs, and so have composites by their names.
func FuzzComposite(f *testing.F) {
	f.Add([]byte("a"), []byte("bc"), []byte("ab"), []byte("c"))
	f.Add([]byte("a"), []byte("\x01b"), []byte("a\x01"), []byte("b"))
	f.Add(bytes.Repeat([]byte("x"), 127), []byte("y"), bytes.Repeat([]byte("x"), 128), []byte("y"))
	f.Fuzz(func(t *testing.T, a1, b1, a2, b2 []byte) {
		rec := func(a, b []byte) *kgo.Record {
			return &kgo.Record{Key: a, Headers: []kgo.RecordHeader{{Key: "b", Value: b}}}
		}
		x := Composite(Key(), Header("b"))
		id1, missing1 := x.ID(rec(a1, b1))
		id2, missing2 := x.ID(rec(a2, b2))
		require.Equal(t, len(a1) == 0 || len(b1) == 0, len(id1) == 0)
		require.Equal(t, len(id1) == 0, missing1 != "")
		require.Equal(t, len(id2) == 0, missing2 != "")
		if len(id1) > 0 && len(id2) > 0 {
			same := bytes.Equal(a1, a2) && bytes.Equal(b1, b2)
			require.Equal(t, same, bytes.Equal(id1, id2))
		}

		one := Composite(Header(string(a1)), JSONPointer(string(b1)))
		two := Composite(Header(string(a2)), JSONPointer(string(b2)))
		same := bytes.Equal(a1, a2) && bytes.Equal(b1, b2)
		require.Equal(t, same, one.Name() == two.Name())
		require.NotEqual(t, one.Name(), Header(string(a2)).Name())
	})
}
