package adapter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// errStaged says that a staged output cannot be read. The store checks its own
// bytes, so it was staged by something else than this package.
var errStaged = errors.New("adapter: a staged output cannot be read; " +
	"it was staged by another program, or by a newer release")

// stagedFormat is the first byte of a staged output.
const stagedFormat = 1

// encodeOutput returns an output as it is staged, whole:
//
//	format | topic | partition | time | key | value | count | count times: name, value
//
// Numbers are varints, the time is in Unix milliseconds. Topic and names have
// their length in front; key and values their length plus one, 0 for null.
func encodeOutput(r *kgo.Record) []byte {
	b := append(make([]byte, 0, 32+len(r.Topic)+batchSize(r)), stagedFormat)
	b = appendPart(b, r.Topic)
	b = binary.AppendUvarint(b, uint64(r.Partition))
	b = binary.AppendVarint(b, r.Timestamp.UnixMilli())
	b = appendNullable(b, r.Key)
	b = appendNullable(b, r.Value)
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendPart(b, h.Key)
		b = appendNullable(b, h.Value)
	}
	return b
}

func appendNullable(b, field []byte) []byte {
	if field == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(field))+1)
	return append(b, field...)
}

// decodeOutput reads what encodeOutput wrote. The record shares the bytes.
func decodeOutput(b []byte) (*kgo.Record, error) {
	if len(b) == 0 || b[0] != stagedFormat {
		return nil, errStaged
	}
	n := numbers{rest: b[1:]}
	field := func(length uint64) []byte {
		if n.bad || length > uint64(len(n.rest)) {
			n.bad = true
			return nil
		}
		f := n.rest[:length:length]
		n.rest = n.rest[length:]
		return f
	}
	nullable := func() []byte {
		length := n.uvarint()
		if length == 0 {
			return nil
		}
		return field(length - 1)
	}
	r := &kgo.Record{Topic: string(field(n.uvarint()))}
	partition := n.uvarint()
	r.Partition = int32(min(partition, math.MaxInt32))
	r.Timestamp = time.UnixMilli(n.varint())
	r.Key = nullable()
	r.Value = nullable()
	for count := n.uvarint(); count > 0 && !n.bad; count-- {
		h := kgo.RecordHeader{Key: string(field(n.uvarint()))}
		h.Value = nullable()
		r.Headers = append(r.Headers, h)
	}
	if n.bad || len(n.rest) > 0 || partition > math.MaxInt32 {
		return nil, fmt.Errorf("%w (%d bytes)", errStaged, len(b))
	}
	return r, nil
}
