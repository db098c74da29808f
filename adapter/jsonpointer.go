package adapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxTokens bounds the depth that a JSON pointer may reach, and so the stack.
const maxTokens = 1000

// JSONPointer takes what a JSON pointer (RFC 6901) points at in the record's
// value: "" is the whole value, "/order/id" a member of a member, "/items/0" an
// element.
//
// The ID of a string is its text, the ID of a number "#" and the number as it
// is written, and a text that begins with "#" gets one more in front: so 1, 1.0
// and "1" are three IDs. The ID is missing for null, booleans, objects, arrays,
// empty strings and strings that are not Unicode; when there is nothing at the
// pointer; when a name on the way occurs twice in its object; and when the
// value is not one JSON text (a tombstone, damage, something after the end).
//
// A pointer that is not valid is reported by New.
func JSONPointer(pointer string) Extractor {
	tokens, err := parsePointer(pointer)
	return pointerID{pointer: pointer, tokens: tokens, err: err}
}

type pointerID struct {
	pointer string
	tokens  []string
	err     error
}

func (p pointerID) Name() string { return "json:" + plainName.Replace(p.pointer) }

func (p pointerID) ID(rec *kgo.Record) (id []byte, missing string) {
	if p.err != nil {
		return nil, "the JSON pointer is not valid"
	}
	if rec.Value == nil {
		return nil, "the value is null (a tombstone)"
	}
	if !json.Valid(rec.Value) {
		return nil, "the value is not valid JSON"
	}
	doc := jsonText(rec.Value)
	value, _, missing := doc.find(doc.space(0), p.tokens)
	if missing != "" {
		return nil, missing
	}
	switch c := value[0]; {
	case c == '"':
		return textID(value[1 : len(value)-1])
	case c == '-' || '0' <= c && c <= '9':
		return append([]byte{'#'}, value...), ""
	case c == '{':
		return nil, "the JSON value is an object"
	case c == '[':
		return nil, "the JSON value is an array"
	case c == 'n':
		return nil, "the JSON value is null"
	}
	return nil, "the JSON value is a boolean"
}

// textID returns the ID of a JSON string, given without its quotes.
func textID(raw []byte) (id []byte, missing string) {
	text, ok := unescape(raw)
	switch {
	case !ok:
		return nil, "the JSON string is not Unicode"
	case len(text) == 0:
		return nil, "the JSON string is empty"
	case text[0] == '#':
		return append([]byte{'#'}, text...), ""
	}
	return text, ""
}

// parsePointer splits a JSON pointer into its tokens.
func parsePointer(pointer string) ([]string, error) {
	if pointer == "" {
		return nil, nil
	}
	if pointer[0] != '/' {
		return nil, fmt.Errorf("adapter: JSON pointer %q does not begin with /; "+
			"give json:/pointer", pointer)
	}
	if !utf8.ValidString(pointer) {
		return nil, fmt.Errorf("adapter: JSON pointer %q is not UTF-8", pointer)
	}
	tokens := strings.Split(pointer[1:], "/")
	if len(tokens) > maxTokens {
		return nil, fmt.Errorf("adapter: JSON pointer has %d tokens; give at most %d",
			len(tokens), maxTokens)
	}
	for i, token := range tokens {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(token)
		if strings.Contains(plain, "~") {
			return nil, fmt.Errorf("adapter: JSON pointer %q has a ~ that is neither ~0 nor ~1; "+
				"write ~0 for ~ and ~1 for /", pointer)
		}
		tokens[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(token)
	}
	return tokens, nil
}

// jsonText is a JSON text that json.Valid has passed: so the methods need not
// look for errors. Each byte is visited once.
type jsonText []byte

// find returns the value that the tokens lead to from the value at start, and
// where the value at start ends.
func (d jsonText) find(start int, tokens []string) (value []byte, end int, missing string) {
	if len(tokens) == 0 {
		end = d.skip(start)
		return d[start:end], end, ""
	}
	object := d[start] == '{'
	if !object && d[start] != '[' {
		return nil, 0, "there is nothing at the JSON pointer"
	}
	index, err := strconv.Atoi(tokens[0])
	if err != nil || strconv.Itoa(index) != tokens[0] {
		index = -1 // no element: RFC 6901 knows neither signs nor leading zeros
	}
	at := d.space(start + 1)
	for n := 0; d[at] != '}' && d[at] != ']'; n++ {
		var hit bool
		if object {
			end = d.skip(at)
			hit = sameName(d[at+1:end-1], tokens[0])
			at = d.space(d.space(end) + 1) // past the colon
		} else {
			hit = n == index
		}
		switch {
		case hit && value != nil:
			return nil, 0, "a name on the way of the JSON pointer occurs twice"
		case hit:
			value, at, missing = d.find(at, tokens[1:])
			if missing != "" {
				return nil, 0, missing
			}
		default:
			at = d.skip(at)
		}
		if at = d.space(at); d[at] == ',' {
			at = d.space(at + 1)
		}
	}
	if value == nil {
		return nil, 0, "there is nothing at the JSON pointer"
	}
	return value, at + 1, ""
}

// space returns the first place from at on that is not white space.
func (d jsonText) space(at int) int {
	for at < len(d) && (d[at] == ' ' || d[at] == '\t' || d[at] == '\r' || d[at] == '\n') {
		at++
	}
	return at
}

// skip returns the end of the value at this place.
func (d jsonText) skip(at int) int {
	depth := 0
	for {
		switch d[at] {
		case '"':
			for at++; d[at] != '"'; at++ {
				if d[at] == '\\' {
					at++
				}
			}
			at++
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		default: // a literal; inside an object or array also what stands between values
			at++
			for depth == 0 && at < len(d) && !strings.ContainsRune(",]} \t\r\n", rune(d[at])) {
				at++
			}
		}
		if depth == 0 {
			return at
		}
	}
}

// sameName reports whether the name of a member, without quotes, is the token.
func sameName(raw []byte, token string) bool {
	name, ok := unescape(raw)
	return ok && string(name) == token
}

// unescape returns the text of a valid JSON string without its quotes, raw
// itself when nothing in it is escaped, and false when that is not Unicode: a
// replacement character would make different strings equal.
func unescape(raw []byte) ([]byte, bool) {
	if !utf8.Valid(raw) {
		return nil, false
	}
	next := bytes.IndexByte(raw, '\\')
	if next < 0 {
		return raw, true
	}
	text := make([]byte, 0, len(raw))
	for ; next >= 0; next = bytes.IndexByte(raw, '\\') {
		text = append(text, raw[:next]...)
		c := raw[next+1]
		raw = raw[next+2:]
		if c != 'u' {
			text = append(text, unescaped(c))
			continue
		}
		r := hexRune(raw)
		raw = raw[4:]
		if utf16.IsSurrogate(r) {
			if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
				return nil, false
			}
			if r = utf16.DecodeRune(r, hexRune(raw[2:])); r == utf8.RuneError {
				return nil, false
			}
			raw = raw[6:]
		}
		text = utf8.AppendRune(text, r)
	}
	return append(text, raw...), true
}

// unescaped returns what the letter after a backslash stands for.
func unescaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quote, backslash, slash
}

// hexRune reads four hexadecimal digits, which are there.
func hexRune(raw []byte) (r rune) {
	for _, c := range raw[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
