package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// read fetches from an offset on, as a read_committed reader, and returns the
// records of the first batches with a record at or above it, and the offset
// after what was read: over gaps, aborted records and control records.
func (p *partition) read(ctx context.Context, from int64) ([]*kgo.Record, int64, error) {
	if p.source != nil {
		c := p.source.next(ctx, from)
		return c.recs, c.next, c.err
	}
	leader, err := p.s.leader(topicPartition{p.topic, p.number})
	if err != nil {
		return nil, 0, unanswered("leaders", err)
	}
	r := reader{cl: p.s.cl, topic: p.topic, number: p.number, log: p.log, leader: leader, most: readBytes}
	recs, next, _, err := r.fetch(ctx, from)
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return nil, from, nil
	case err != nil:
		return nil, 0, unanswered("records", err)
	}
	return recs, next, nil
}

// fetch asks the leader; and again, a few times, where its answer says that the log
// is damaged there.
func (r *reader) fetch(ctx context.Context, from int64) (recs []*kgo.Record, next int64, bytes int, err error) {
	for tries := 1; ; tries++ {
		recs, next, bytes, err = r.fetchOnce(ctx, from)
		if !isWithheld(err) || tries == withheldTries || !wait(ctx, withheldPause) {
			return recs, next, bytes, err
		}
	}
}

func (r *reader) fetchOnce(ctx context.Context, from int64) (recs []*kgo.Record, next int64, bytes int, err error) {
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = r.number, from, r.most
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.topic, r.log
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.IsolationLevel, req.SessionEpoch = r.most, 1, 1, -1
	req.Topics = append(req.Topics, topic)

	answer, err := r.cl.Broker(int(r.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, 0, 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, from, 0, nil
	}
	raw := &resp.Topics[0].Partitions[0]
	r.stable, r.high = raw.LastStableOffset, raw.HighWatermark
	raw.RecordBatches = r.trim(raw.RecordBatches)
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, Topic: r.topic, Partition: r.number, IsolationLevel: kgo.ReadCommitted(),
	}, raw, r.cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor), nil)
	if err := withheldOf(raw, &fetched, next > from); err != nil {
		return nil, 0, 0, &damage{fmt.Errorf("%s/%d from offset %d on: %w", r.topic, r.number, from, err)}
	}
	if damageOf(fetched.Err) != nil {
		n := len(fetched.Records)
		if n == 0 {
			return nil, 0, 0, damageOf(fmt.Errorf("%s/%d from offset %d on: %w", r.topic, r.number, from, fetched.Err))
		}
		return fetched.Records, fetched.Records[n-1].Offset + 1, len(raw.RecordBatches), nil // the next read meets it
	}
	return fetched.Records, next, len(raw.RecordBatches), fetched.Err
}

// readBytes bounds a single read; one batch that is larger comes whole.
const readBytes = 1 << 20

// atEnd tells whether nothing lies between the position and the end that Run
// waits for. Offsets without records, such as the end of a transaction, are
// only seen by reading there, which is done when a poll was quiet, and by a client
// of its own: the session's waits for records, and what it asks for beside that
// would be answered when it has them, or seconds later.
func (p *partition) atEnd(quiet bool) bool {
	until := p.s.until[p.topic][p.number]
	at := p.next.Offset
	if quiet && at < until && p.s.openSource() != nil {
		return false
	}
	for log := p.s.reader(p); quiet && at < until; {
		recs, next, _, err := log.ask(p.s.poll, at)
		if isDamage(err) {
			p.s.take(unanswered("records", err))
		}
		if err != nil || len(recs) > 0 && recs[0].Offset < until || len(recs) == 0 && next <= at {
			return false
		}
		if at = next; len(recs) > 0 {
			at = until
		}
	}
	return at >= until
}
