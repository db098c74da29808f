package adapter

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// HeaderRedrive holds, in a record that feeds a dead letter back, where the record
// stands that it repeats (R7).
const HeaderRedrive = "firstseen-redrive"

// redriven returns where the record stands that this one repeats; zero when it is
// not one that was fed back.
func redriven(rec *kgo.Record) store.Position {
	for _, h := range rec.Headers {
		if h.Key == HeaderRedrive {
			if at, ok := parseOrigin(string(h.Value)); ok {
				return at
			}
		}
	}
	return store.Position{}
}

// parseOrigin reads what store.Position.String wrote.
func parseOrigin(text string) (at store.Position, ok bool) {
	id, rest, _ := strings.Cut(text, "/")
	partition, offset, _ := strings.Cut(rest, "@")
	n, err := hex.Decode(at.TopicID[:], []byte(id[:min(len(id), 2*len(at.TopicID))]))
	number, noNumber := strconv.ParseInt(partition, 10, 32)
	place, noPlace := strconv.ParseInt(offset, 10, 64)
	at.Partition, at.Offset, at.LeaderEpoch = int32(number), place, -1
	ok = errors.Join(err, noNumber, noPlace) == nil && n == len(at.TopicID) && place >= 0 && at.String() == text
	if !ok {
		return store.Position{}, false
	}
	return at, true
}
