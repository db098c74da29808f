package adapter

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Headers of a duplicate in Options.DuplicatesTopic, beside HeaderTopic,
// HeaderToken and those of every output. It is the record as it is, as a dead
// letter is.
const (
	// HeaderFirstSeen holds when the accepted copy was first seen, by the clock of
	// its namespace, in Unix milliseconds; 0 before the first time.
	HeaderFirstSeen = "firstseen-first-seen"
	// HeaderFirstOrigin holds where the accepted copy stands, as HeaderOrigin says
	// it of the duplicate.
	HeaderFirstOrigin = "firstseen-first-origin"
)

// seesDuplicates tells whether something is to be done with duplicates.
func (o *Options) seesDuplicates() bool { return o.Observe || o.DuplicatesTopic != "" }

// handles tells whether a record is handed to the handler.
func (o *Options) handles(d store.Decision) bool {
	return o.Observe || d.Verdict != store.Duplicate && d.Action != store.Drop && d.Action != store.DeadLetter
}

// call does with a record what is to be done inside its batch. h is called if it
// is to be handled.
func (p *partition) call(ctx context.Context, tx *Tx, h Handler) error {
	o, d := &p.s.c.opts, tx.rec.Decision
	if d.Verdict == store.Duplicate && o.DuplicatesTopic != "" {
		if err := tx.duplicate(o.DuplicatesTopic); err != nil {
			return err
		}
	}
	switch {
	case o.handles(d):
	case d.Action == store.DeadLetter:
		return p.unknown(tx)
	default:
		return nil
	}
	return h(ctx, tx, tx.rec)
}

// duplicate stages a copy of the record for the topic of duplicates.
func (t *Tx) duplicate(topic string) error {
	rec, d := t.rec, t.rec.Decision
	out, own := t.asItIs(topic)
	own = append(own,
		kgo.RecordHeader{Key: HeaderTopic, Value: []byte(rec.Topic)},
		kgo.RecordHeader{Key: HeaderToken, Value: []byte(rec.Token())},
		kgo.RecordHeader{Key: HeaderFirstSeen, Value: strconv.AppendInt(nil, millis(d.First), 10)},
		kgo.RecordHeader{Key: HeaderFirstOrigin, Value: []byte(d.Origin.String())},
	)
	return t.aside(out, own)
}
