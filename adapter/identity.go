package adapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// An Extractor takes the ID of a message out of its record. It is a pure
// function of the record; several goroutines may call it at once.
type Extractor interface {
	// Name says what the ID is taken from, such as "header:payment-id". A
	// namespace remembers it and refuses another one, so it is never empty and
	// stays the same between releases; extractors that take different IDs have
	// different names.
	Name() string

	// ID returns the record's ID. An empty ID is a missing one, which is not an
	// error: missing then says why, without quoting the record. The ID may be a
	// part of the record: the caller does not change it, and copies what it
	// keeps longer than the record.
	ID(rec *kgo.Record) (id []byte, missing string)
}

// Header takes the value of the header of this name. The ID is missing when
// the record has no such header or several of them, even equal ones, and when
// the value is empty.
func Header(name string) Extractor { return headerID{name} }

// Key takes the record's key. The ID is missing when the key is null or empty.
func Key() Extractor { return keyID{} }

// Composite joins the IDs of several extractors to one, in their order, so that
// different parts never give the same ID. It is missing when one part is. A
// composite inside is replaced by its parts; a composite of one extractor is
// that extractor.
func Composite(parts ...Extractor) Extractor {
	if len(parts) == 1 {
		return parts[0]
	}
	var flat []Extractor
	for _, part := range parts {
		if inner, ok := part.(compositeID); ok && len(inner) > 0 {
			flat = append(flat, inner...)
		} else {
			flat = append(flat, part)
		}
	}
	return compositeID(flat)
}

// ParseSpec makes an extractor of its textual form: header:NAME, key, json: and a
// JSON pointer, or content. Several make a composite in that order. The error names
// every spec that is wrong.
func ParseSpec(specs ...string) (Extractor, error) {
	if len(specs) == 0 {
		return nil, errors.New("adapter: no ID is named; give header:NAME, key, json:/pointer or content")
	}
	var parts []Extractor
	var errs []error
	for _, spec := range specs {
		kind, arg, colon := strings.Cut(spec, ":")
		var part Extractor
		switch {
		case spec == "key":
			part = Key()
		case spec == "content":
			part = Content()
		case colon && kind == "header":
			part = Header(arg)
		case colon && kind == "json":
			part = JSONPointer(arg)
		default:
			errs = append(errs, fmt.Errorf(
				"adapter: ID %q is not known; give header:NAME, key, json:/pointer or content", spec))
			continue
		}
		errs = append(errs, checkExtractor(part))
		parts = append(parts, part)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return Composite(parts...), nil
}

// checkExtractor returns what is wrong with an extractor as it was made.
func checkExtractor(x Extractor) error {
	switch x := x.(type) {
	case nil:
		return errors.New("adapter: no ID extractor is set; give Header, Key, JSONPointer, Content or Composite")
	case headerID:
		if x.header == "" {
			return errors.New("adapter: the header of the ID has no name; give header:NAME")
		}
	case pointerID:
		return x.err
	case compositeID:
		if len(x) == 0 {
			return errors.New("adapter: the composite ID has no parts; give at least two")
		}
		var errs []error
		for _, part := range x {
			errs = append(errs, checkExtractor(part))
		}
		return errors.Join(errs...)
	default:
		if x.Name() == "" {
			return fmt.Errorf("adapter: the ID extractor %T has no name; "+
				"return one that stays the same between releases", x)
		}
	}
	return nil
}

// plainName keeps "+" free for the names of composites.
var plainName = strings.NewReplacer(`\`, `\\`, `+`, `\+`)

type headerID struct{ header string }

func (h headerID) Name() string { return "header:" + plainName.Replace(h.header) }

func (h headerID) ID(rec *kgo.Record) (id []byte, missing string) {
	found := 0
	for i := range rec.Headers {
		if rec.Headers[i].Key == h.header {
			id = rec.Headers[i].Value
			found++
		}
	}
	switch {
	case found == 0:
		return nil, fmt.Sprintf("there is no header %q", h.header)
	case found > 1:
		return nil, fmt.Sprintf("there are %d headers %q", found, h.header)
	case len(id) == 0:
		return nil, fmt.Sprintf("the header %q is empty", h.header)
	}
	return id, ""
}

type keyID struct{}

func (keyID) Name() string { return "key" }

func (keyID) ID(rec *kgo.Record) (id []byte, missing string) {
	if len(rec.Key) == 0 {
		return nil, "the key is null or empty"
	}
	return rec.Key, ""
}

type compositeID []Extractor

// Name joins the names of the parts by "+". Those of the parts hold none that
// is not escaped, those of a user's own extractor are escaped here.
func (c compositeID) Name() string {
	names := make([]string, len(c))
	for i, part := range c {
		names[i] = part.Name()
		switch part.(type) {
		case headerID, keyID, pointerID, contentID:
		default:
			names[i] = plainName.Replace(names[i])
		}
	}
	return strings.Join(names, "+")
}

func (c compositeID) ID(rec *kgo.Record) (id []byte, missing string) {
	for _, x := range c {
		part, missing := x.ID(rec)
		if len(part) == 0 {
			return nil, missing
		}
		id = binary.AppendUvarint(id, uint64(len(part)))
		id = append(id, part...)
	}
	return id, ""
}
