package adapter

import (
	"crypto/rand"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stampID gives a record an ID in the header of this name, unless it has one.
// It refuses a record whose ID a consumer could not read.
func stampID(rec *kgo.Record, header string) error {
	at := -1
	for i := range rec.Headers {
		if rec.Headers[i].Key != header {
			continue
		}
		if at >= 0 {
			return fmt.Errorf("%w that a consumer could read: it has several headers %q; leave one",
				ErrMissingID, header)
		}
		at = i
	}
	if at < 0 {
		at = len(rec.Headers)
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: header})
	}
	if len(rec.Headers[at].Value) == 0 {
		rec.Headers[at].Value = []byte(randomID())
	}
	return nil
}

// randomID returns a random UUID (version 4, RFC 9562) as text.
func randomID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
