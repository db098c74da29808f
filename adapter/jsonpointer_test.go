package adapter

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestJSONPointer(t *testing.T) {
	const absent = "missing: there is nothing at the JSON pointer"
	const twice = "missing: a name on the way of the JSON pointer occurs twice"
	const invalid = "missing: the value is not valid JSON"
	tests := []struct{ name, pointer, value, want string }{
		{"string", "/a", `{"a":"x"}`, "x"},
		{"number", "/a", `{"a":1}`, "#1"},
		{"number with a fraction", "/a", `{"a":1.0}`, "#1.0"},
		{"number as a string", "/a", `{"a":"1"}`, "1"},
		{"string like a number's ID", "/a", `{"a":"#1"}`, "##1"},
		{"string with two signs", "/a", `{"a":"##1"}`, "###1"},
		{"number, negative, exponent", "/a", `{"a":-1.50E+9}`, "#-1.50E+9"},
		{"number beyond float64", "/a", `{"a":123456789012345678901234567890}`,
			"#123456789012345678901234567890"},
		{"null", "/a", `{"a":null}`, "missing: the JSON value is null"},
		{"true", "/a", `{"a":true}`, "missing: the JSON value is a boolean"},
		{"false", "/a", `{"a":false}`, "missing: the JSON value is a boolean"},
		{"object", "/a", `{"a":{"b":1}}`, "missing: the JSON value is an object"},
		{"array", "/a", `{"a":[1]}`, "missing: the JSON value is an array"},
		{"empty string", "/a", `{"a":""}`, "missing: the JSON string is empty"},
		{"absent", "/b", `{"a":"x"}`, absent},
		{"below a string", "/a/b", `{"a":"x"}`, absent},
		{"empty object", "/a", `{}`, absent},
		{"empty array", "/0", `[]`, absent},

		{"nested", "/a/b/c", `{"x":[{"b":1}],"a":{"x":{"c":2},"b":{"c":"y"}},"z":{}}`, "y"},
		{"spaces everywhere", "/a/1", " { \"x\" : [ 1 , { } ] ,\r\n \"a\" :\t[ 0 , \"y\" ] } ", "y"},
		{"brackets in strings", "/a", `{"x":"}]\"{[","a":"y"}`, "y"},
		{"element", "/1/a", `[0,{"a":"y"},2]`, "y"},
		{"last element", "/2", `[0,[1,1],2]`, "#2"},
		{"element beyond the end", "/3", `[0,1,2]`, absent},
		{"after the last element", "/-", `[0]`, absent},
		{"leading zero", "/01", `[0,1]`, absent},
		{"sign", "/+1", `[0,1]`, absent},
		{"negative element", "/-1", `[0,1]`, absent},
		{"huge element", "/99999999999999999999", `[0,1]`, absent},
		{"number as a name", "/0", `{"0":"y"}`, "y"},
		{"empty name", "/", `{"":"y"}`, "y"},
		{"empty names", "//", `{"":{"":"y"}}`, "y"},
		{"whole value, string", "", ` "y" `, "y"},
		{"whole value, number", "", `17`, "#17"},
		{"whole value, object", "", `{}`, "missing: the JSON value is an object"},
		{"slash and tilde", "/a~1b/~01", `{"a/b":{"~1":"y"}}`, "y"},

		{"escapes", "/a", `{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00z"}`,
			"\"\\/\b\f\n\r\tA\u00e9\U0001f600z"},
		{"escaped name", "/aé", `{"\u0061\u00E9":"y"}`, "y"},
		{"escaped and plain are one", "/a", `{"a":"\u0078"}`, "x"},
		{"lone surrogate", "/a", `{"a":"\ud800"}`, "missing: the JSON string is not Unicode"},
		{"lone surrogate, more", "/a", `{"a":"\ud800 12345"}`, "missing: the JSON string is not Unicode"},
		{"two high surrogates", "/a", `{"a":"\ud800\ud800"}`, "missing: the JSON string is not Unicode"},
		{"surrogates reversed", "/a", `{"a":"\ude00\ud83d"}`, "missing: the JSON string is not Unicode"},
		{"not UTF-8", "/a", "{\"a\":\"\xff\"}", "missing: the JSON string is not Unicode"},
		{"not UTF-8, elsewhere", "/a", "{\"x\":\"\xff\",\"a\":\"y\"}", "y"},
		{"name not UTF-8", "/\ufffd", "{\"\xff\":\"x\"}", absent},
		{"a NUL", "/a", `{"a":"\u0000"}`, "\x00"},

		{"name twice", "/a", `{"a":"x","a":"x"}`, twice},
		{"name twice, once escaped", "/a", `{"a":"x","\u0061":"y"}`, twice},
		{"name twice on the way", "/a/b", `{"a":{"b":"x"},"a":{}}`, twice},
		{"name twice further down", "/a/b", `{"a":{"b":"x","b":"y"}}`, twice},
		{"another name twice", "/a", `{"b":1,"b":2,"a":"x"}`, "x"},
		{"name twice beside the way", "/a", `{"x":{"a":1,"a":2},"a":"x"}`, "x"},

		{"tombstone", "/a", "", "missing: the value is null (a tombstone)"},
		{"garbage after the end", "/a", `{"a":"x"}x`, invalid},
		{"second value", "/a", `{"a":"x"}{"a":"x"}`, invalid},
		{"cut short", "/a", `{"a":"x"`, invalid},
		{"comma at the end", "/a", `{"a":"x",}`, invalid},
		{"plain text", "/a", `hello`, invalid},
		{"byte order mark", "/a", "\ufeff{\"a\":\"x\"}", invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &kgo.Record{}
			if tt.value != "" {
				rec.Value = []byte(tt.value)
			}
			before := bytes.Clone(rec.Value)
			require.Equal(t, tt.want, idOf(t, JSONPointer(tt.pointer), rec))
			require.Equal(t, before, rec.Value, "the record stays as it is")
		})
	}
	require.Equal(t, invalid, idOf(t, JSONPointer("/a"), &kgo.Record{Value: []byte{}}), "empty value")
}

func TestJSONPointer_Depth(t *testing.T) {
	deep := func(n int) []byte {
		return []byte(strings.Repeat(`{"a":`, n) + `"x"` + strings.Repeat(`}`, n))
	}
	x := JSONPointer(strings.Repeat("/a", maxTokens))
	require.NoError(t, checkExtractor(x))
	require.Equal(t, "x", idOf(t, x, &kgo.Record{Value: deep(maxTokens)}))
	require.ErrorContains(t, checkExtractor(JSONPointer(strings.Repeat("/a", maxTokens+1))),
		"has 1001 tokens; give at most 1000")
	id := idOf(t, JSONPointer("/a"), &kgo.Record{Value: deep(1_000_000)})
	require.Equal(t, "missing: the value is not valid JSON", id)
}

// FuzzJSONPointer compares with encoding/json, which reads the value into a tree.
func FuzzJSONPointer(f *testing.F) {
	f.Add("/a/1", []byte(`{"a":[0,"x"],"b":{"a":1e5}}`))
	f.Add("/a", []byte(`{"a":1,"\u0061":2}`))
	f.Add("", []byte(`"\ud83d\ude00"`))
	f.Add("/~01/", []byte(`{"~1":{"":-0.0}}`))
	f.Add("/x", []byte("{\"x\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, pointer string, value []byte) {
		x := JSONPointer(pointer)
		id, missing := x.ID(&kgo.Record{Value: value})
		require.Equal(t, len(id) == 0, missing != "")
		if checkExtractor(x) != nil {
			require.Empty(t, id)
			return
		}
		if !json.Valid(value) {
			require.Empty(t, id)
			return
		}
		if !utf8.Valid(value) || bytes.Contains(bytes.ToLower(value), []byte(`\ud`)) {
			return // encoding/json merges by U+FFFD what is not Unicode, this does not
		}
		tokens, err := parsePointer(pointer)
		require.NoError(t, err)
		require.Equal(t, treeID(readTree(t, value), tokens), string(id))
	})
}

// tree is a JSON value with the names of an object as often as they occur.
type tree struct {
	value any // string, json.Number, nil, bool, json.Delim
	names []string
	inner []tree
}

func readTree(t *testing.T, value []byte) tree {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	var read func() tree
	read = func() tree {
		token, err := d.Token()
		require.NoError(t, err)
		n := tree{value: token}
		delim, ok := token.(json.Delim)
		if !ok {
			return n
		}
		for d.More() {
			if delim == '{' {
				name, err := d.Token()
				require.NoError(t, err)
				n.names = append(n.names, name.(string))
			}
			n.inner = append(n.inner, read())
		}
		_, err = d.Token()
		require.NoError(t, err)
		return n
	}
	n := read()
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF)
	return n
}

// treeID returns the ID at the pointer, "" when it is missing.
func treeID(n tree, tokens []string) string {
	for _, token := range tokens {
		hit := -1
		switch n.value {
		case json.Delim('{'):
			for i, name := range n.names {
				if name == token && hit >= 0 {
					return ""
				} else if name == token {
					hit = i
				}
			}
		case json.Delim('['):
			for i := range n.inner {
				if strconv.Itoa(i) == token {
					hit = i
				}
			}
		}
		if hit < 0 {
			return ""
		}
		n = n.inner[hit]
	}
	switch v := n.value.(type) {
	case string:
		if strings.HasPrefix(v, "#") {
			return "#" + v
		}
		return v
	case json.Number:
		return "#" + v.String()
	}
	return ""
}
