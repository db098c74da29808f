package adapter

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"
)

// fingerprint returns a hash of what a record says: its timestamp, key, value
// and headers, where null and empty differ. The record at one offset of one
// log has one fingerprint, so that a log that was replaced is found out (R11
// row 3). It is never 0, which stands for none. Not a cryptographic hash.
func fingerprint(rec *kgo.Record) uint64 {
	h := xxh3.New()
	var number [8]byte
	integer := func(n int64) {
		binary.LittleEndian.PutUint64(number[:], uint64(n))
		_, _ = h.Write(number[:])
	}
	field := func(b []byte) {
		if b == nil {
			integer(-1)
			return
		}
		integer(int64(len(b)))
		_, _ = h.Write(b)
	}
	integer(rec.Timestamp.UnixMilli())
	field(rec.Key)
	field(rec.Value)
	integer(int64(len(rec.Headers)))
	for i := range rec.Headers {
		integer(int64(len(rec.Headers[i].Key)))
		_, _ = h.WriteString(rec.Headers[i].Key)
		field(rec.Headers[i].Value)
	}
	if sum := h.Sum64(); sum != 0 {
		return sum
	}
	return 1
}
