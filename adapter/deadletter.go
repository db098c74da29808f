package adapter

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Headers of a dead letter, beside those of every output. Key, value and time
// are those of the record, and so are its headers; those that begin with
// HeaderPrefix stand behind HeaderOriginal.
const (
	// HeaderTopic holds the name of the topic that the record stands in; where
	// in it says HeaderOrigin.
	HeaderTopic = "firstseen-topic"
	// HeaderError holds what the handler returned last, why there is no ID, or
	// what the store could not know: the first 1,000 bytes.
	HeaderError = "firstseen-error"
	// HeaderReason holds why the store could not know whether a copy of the record
	// was handled: late, clock, cold, evicted or lost. Only dead letters of
	// Options.Unknown have it.
	HeaderReason = "firstseen-reason"
	// HeaderAttempts holds how often the handler was called for it in a row, in
	// decimal; 0 when it was not.
	HeaderAttempts = "firstseen-attempts"
	// HeaderToken holds the record's token, see Record.Token.
	HeaderToken = "firstseen-token"
	// HeaderOriginal begins the name of a header of the record that itself
	// begins with HeaderPrefix: "firstseen-original-origin" was
	// "firstseen-origin".
	HeaderOriginal = "firstseen-original-"
)

// maxErrorText is how many bytes of an error a dead letter carries.
const maxErrorText = 1000

// deadLetter stages the record itself for the dead-letter topic.
func (t *Tx) deadLetter(gone failed) error {
	rec := t.rec
	out, own := t.asItIs(t.p.s.c.opts.DeadLetterTopic)
	own = append(own,
		kgo.RecordHeader{Key: HeaderTopic, Value: []byte(rec.Topic)},
		kgo.RecordHeader{Key: HeaderError, Value: []byte(errorText(gone.err))},
		kgo.RecordHeader{Key: HeaderAttempts, Value: strconv.AppendInt(nil, int64(gone.attempts), 10)},
		kgo.RecordHeader{Key: HeaderToken, Value: []byte(rec.Token())},
	)
	if d := rec.Decision; d.Verdict == store.Unknown {
		own = append(own, kgo.RecordHeader{Key: HeaderReason, Value: []byte(d.Reason.String())})
	}
	return t.aside(out, own)
}

// errorText returns the beginning of what an error says, in whole characters.
func errorText(err error) string {
	text := strings.ToValidUTF8(err.Error(), "\uFFFD")
	if len(text) <= maxErrorText {
		return text
	}
	end := maxErrorText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
