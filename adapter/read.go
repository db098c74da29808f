package adapter

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// read fetches from an offset on, as a read_committed reader, and returns the
// records of the first batches with a record at or above it, and the offset
// after what was read: over gaps, aborted records and control records.
func (p *partition) read(ctx context.Context, from int64) ([]*kgo.Record, int64, error) {
	leader, err := p.s.leader(topicPartition{p.topic, p.number})
	if err != nil {
		return nil, 0, unanswered("leaders", err)
	}
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.number, from, readBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = p.topic, p.log
	topic.Partitions = append(topic.Partitions, part)
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.IsolationLevel, req.SessionEpoch = readBytes, 1, 1, -1
	req.Topics = append(req.Topics, topic)

	answer, err := p.s.cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, 0, unanswered("records", err)
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, unanswered("records", err)
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, from, nil
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: from, Topic: p.topic, Partition: p.number, IsolationLevel: kgo.ReadCommitted(),
	}, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	if errors.Is(fetched.Err, kerr.OffsetOutOfRange) {
		return nil, from, nil
	}
	if fetched.Err != nil {
		return nil, 0, unanswered("records", fetched.Err)
	}
	return fetched.Records, next, nil
}

// readBytes bounds a single read; one batch that is larger comes whole.
const readBytes = 1 << 20

// atEnd tells whether nothing lies between the position and the end that Run
// waits for. Offsets without records, such as the end of a transaction, are
// only seen by reading there, which is done when a poll was quiet.
func (p *partition) atEnd(quiet bool) bool {
	until := p.s.until[p.topic][p.number]
	at := p.next.Offset
	for quiet && at < until {
		recs, next, err := p.read(p.s.poll, at)
		if err != nil || len(recs) > 0 && recs[0].Offset < until || len(recs) == 0 && next <= at {
			return false
		}
		if at = next; len(recs) > 0 {
			at = until
		}
	}
	return at >= until
}
