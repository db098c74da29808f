package adapter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Content takes the record's content for its ID, for messages that carry none: the
// SHA-256 of key and value, in which a null one and an empty one differ. Headers and
// time are no part of it, since whoever sends a record again may change them. The ID
// is missing when key and value are both null or empty.
//
// Two messages of the same content are one: the second payment of 5 by the same
// customer within the window, or the second deletion of a key, is dropped. And one
// message that is encoded anew, with its fields in another order, is two. So take
// it only where the content says which message it is, by a time or a number in it;
// anything that names the message is better.
func Content() Extractor { return contentID{} }

type contentID struct{}

func (contentID) Name() string { return "content" }

func (contentID) ID(rec *kgo.Record) (id []byte, missing string) {
	if len(rec.Key) == 0 && len(rec.Value) == 0 {
		return nil, "key and value are null or empty"
	}
	digest := sha256.New()
	var length [binary.MaxVarintLen64]byte
	for _, part := range [][]byte{rec.Key, rec.Value} {
		n := -1 // null, as Kafka writes it
		if part != nil {
			n = len(part)
		}
		digest.Write(binary.AppendVarint(length[:0], int64(n))) // the key does not run into the value
		digest.Write(part)
	}
	return digest.Sum(nil), ""
}

// orContent gives a record without an ID one of its content (MissingIDContent).
type orContent struct{ Extractor }

// contentKind begins the IDs that are made of a content beside those that messages
// carry. It makes them longer than any ID that is stored as it is, and so of another
// kind (R14): a message whose ID is the digest of another one's content is new.
var contentKind = bytes.Repeat([]byte("content of a message without an ID; "), 8)

func (x orContent) ID(rec *kgo.Record) (id []byte, missing string) {
	if id, missing = x.Extractor.ID(rec); len(id) > 0 {
		return id, ""
	}
	digest, without := contentID{}.ID(rec)
	if without != "" {
		return nil, missing + "; " + without
	}
	return append(slices.Clone(contentKind), digest...), ""
}
