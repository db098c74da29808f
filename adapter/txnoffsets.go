package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// offsetsPause is how long to wait where Kafka is still at work on the transaction.
const offsetsPause = 5 * time.Millisecond

// addOffsets adds the positions of partitions to the transaction that is open. They
// are the store's, so the request is made here: the client's own group sessions
// commit what was polled.
//
// It goes in the name of the member that the partitions were assigned to, so the
// group's coordinator refuses it when the member is not one any more.
func (s *session) addOffsets(ctx context.Context, sent map[*partition]store.Committed) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if !s.txn.v2 {
		if err := s.addGroup(ctx); err != nil {
			return err
		}
	}
	req, err := s.offsetsRequest(sent)
	if err != nil {
		return err
	}
	return whileConcurrent(ctx, func() error {
		resp, err := req.RequestWith(ctx, s.txn.cl)
		if err != nil {
			return err
		}
		var errs []error
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				errs = append(errs, kerr.ErrorForCode(p.ErrorCode))
			}
		}
		return firstWorst(errs)
	})
}

// addGroup has the group's offsets take part, where they do not by themselves.
func (s *session) addGroup(ctx context.Context) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.Group = s.txn.id, s.c.opts.Group
	req.ProducerID, req.ProducerEpoch = s.txn.number, s.txn.epoch
	return whileConcurrent(ctx, func() error {
		resp, err := req.RequestWith(ctx, s.txn.cl)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
}

func (s *session) offsetsRequest(sent map[*partition]store.Committed) (*kmsg.TxnOffsetCommitRequest, error) {
	member, generation := s.cl.GroupMetadata()
	s.mu.Lock()
	assigned := s.member
	s.mu.Unlock()
	if member != assigned {
		return nil, kerr.UnknownMemberID // kgo joined again by itself after it was fenced
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group = s.txn.id, s.c.opts.Group
	req.ProducerID, req.ProducerEpoch = s.txn.number, s.txn.epoch
	req.MemberID, req.Generation = member, generation
	if instance, ok := s.cl.OptValue(kgo.InstanceID).(string); ok && instance != "" {
		req.InstanceID = &instance
	}
	place := make(map[string]int)
	for p, c := range sent {
		i, ok := place[p.topic]
		if !ok {
			i = len(req.Topics)
			place[p.topic] = i
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic, t.TopicID = p.topic, p.log
			req.Topics = append(req.Topics, t)
		}
		part := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset, part.LeaderEpoch = p.number, c.Offset, c.LeaderEpoch
		part.Metadata = &c.Tag
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, part)
	}
	return req, nil
}

// whileConcurrent calls fn again while Kafka says that it is still at work on the
// transaction.
func whileConcurrent(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !errors.Is(err, kerr.ConcurrentTransactions) || !wait(ctx, offsetsPause) {
			return err
		}
	}
}

// firstWorst returns of several answers the one that decides: the end of a session
// before anything else, and what passes by itself last.
func firstWorst(errs []error) (worst error) {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case endsSession(err) || endsTransactions(err):
			return 3
		case !passes(err):
			return 2
		default:
			return 1
		}
	}
	for _, err := range errs {
		if rank(err) > rank(worst) {
			worst = err
		}
	}
	return worst
}
