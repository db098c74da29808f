package adapter

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A stamp says who gave a record its time. Kafka keeps it with every batch of
// records, as the topic's message.timestamp.type was when it was written.
type stamp uint8

const (
	unstamped  stamp = iota // no record yet, or none with a time
	byProducer              // CreateTime
	byBroker                // LogAppendTime
)

func stampOf(rec *kgo.Record) stamp { return stamp(rec.Attrs.TimestampType() + 1) }

func (s stamp) String() string {
	return [...]string{"no time", "CreateTime", "LogAppendTime"}[s]
}

// watchStamps warns where times begin to be given by somebody else than before
// (C06). Ages are then counted between two kinds of time. Nothing else follows
// from it: by whichever step the times go on, R1 says what becomes of the clock,
// so a window never expires at once. What was before is kept with the position: a
// topic that was switched while nobody consumed is found out as well.
func (p *partition) watchStamps(recs []*kgo.Record) {
	for _, rec := range recs {
		s := stampOf(rec)
		if s == unstamped || s == p.stamp {
			continue
		}
		if p.stamp != unstamped {
			p.s.c.opts.Logger.Warn("records have another kind of time than before: message.timestamp.type of the topic "+
				"was changed; ages are counted from one kind to the other until a window has passed",
				"topic", p.topic, "partition", p.number, "offset", rec.Offset, "time", s.String(), "before", p.stamp.String())
		}
		p.stamp = s
	}
}

// keepStamp keeps, in the batch whose newest record this is, who gave it its time.
// It returns what is kept with the position when the batch is durable; most batches
// change nothing of it.
func (p *partition) keepStamp(b *store.Batch, newest *kgo.Record) (note, error) {
	n := p.kept
	s := stampOf(newest)
	if s == unstamped || s == n.stamp {
		return n, nil
	}
	n.stamp = s
	return n, b.SetNote(n.encode())
}
