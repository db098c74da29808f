package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// commitTimeout bounds a commit, which waits behind a running rebalance.
const commitTimeout = 15 * time.Second

// topicPartition names a partition.
type topicPartition struct {
	topic  string
	number int32
}

// commit commits the positions of these partitions, each with its tag, and waits
// for the answer. What it commits is L as the store has it, durable and with no
// output pending (R10). It returns an error when the session or Run has to end. A
// commit whose fate is unknown is no error: the next one is as high or higher.
func (s *session) commit(parts []*partition, all bool) error {
	if !all && s.membership.joining.Load() {
		return nil // it would wait for the group; what is kept flows on, and the next one carries it
	}
	var refused error
	if all && s.txn != nil {
		if refused = s.transactLast(parts); isAgain(refused) || isCrash(refused) {
			return refused
		}
	}
	o, err := s.offer(parts, all)
	if err != nil || o == nil {
		return errors.Join(refused, err)
	}
	answers, err := s.commitSync(o.at, o.sent)
	if err != nil {
		return err
	}
	return errors.Join(refused, s.accepted(o, answers))
}

// offered are the positions of one commit.
type offered struct {
	parts   []*partition
	at      map[string]map[int32]kgo.EpochOffset
	sent    map[topicPartition]store.Committed
	carried map[topicPartition]uint64
}

// offer returns the positions of these partitions that can be committed now: those
// that moved since Kafka acknowledged one, or all; nil when there are none.
func (s *session) offer(parts []*partition, all bool) (*offered, error) {
	at := make(map[string]map[int32]kgo.EpochOffset)
	sent := make(map[topicPartition]store.Committed)
	carried := make(map[topicPartition]uint64)
	for _, p := range parts {
		if !p.out.empty() || !all && !p.moved() {
			continue
		}
		tag, err := p.tag(p.sent)
		if err != nil {
			return nil, err
		}
		if at[p.topic] == nil {
			at[p.topic] = make(map[int32]kgo.EpochOffset)
		}
		at[p.topic][p.number] = kgo.EpochOffset{Epoch: p.next.LeaderEpoch, Offset: p.next.Offset}
		key := topicPartition{p.topic, p.number}
		sent[key] = store.Committed{Offset: p.next.Offset, LeaderEpoch: p.next.LeaderEpoch, Tag: tag}
		carried[key] = p.sent
	}
	if len(at) == 0 {
		return nil, nil
	}
	return &offered{parts, at, sent, carried}, nil
}

// accepted takes over what Kafka answered to a commit.
func (s *session) accepted(o *offered, answers map[topicPartition]error) error {
	var errs []error
	for _, p := range o.parts {
		key := topicPartition{p.topic, p.number}
		err, answered := answers[key]
		switch {
		case !answered:
		case err == nil:
			p.committed, p.carried, p.noted = o.sent[key], o.carried[key], false
		case endsSession(err):
			errs = append(errs, &again{fmt.Errorf("the offset of %s/%d was not committed: %w", p.topic, p.number, err)})
		case errors.Is(err, kerr.RebalanceInProgress), passes(err):
		default:
			errs = append(errs, fmt.Errorf("%w of %s/%d for group %q: %w; %s",
				ErrCommitRefused, p.topic, p.number, s.c.opts.Group, err, wayOut(err)))
		}
	}
	return errors.Join(errs...)
}

// moved tells whether the position, or what is acknowledged below it, is ahead
// of what Kafka has acknowledged.
func (p *partition) moved() bool {
	return p.next.Offset != p.committed.Offset || p.carried < p.staged || p.committed.Tag == ""
}

// commitSync sends one commit and returns Kafka's answer for every partition
// that it answered for; none when the fate of the commit is unknown.
func (s *session) commitSync(
	at map[string]map[int32]kgo.EpochOffset, sent map[topicPartition]store.Committed,
) (map[topicPartition]error, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.work), s.commitTime())
	defer cancel()
	if s.c.opts.pinned() {
		return s.commitPinned(ctx, at, sent)
	}
	if !s.membership.awaitJoined(ctx) {
		return nil, nil // the group has not let the member commit
	}
	member := s.memberID()
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		// kgo joins again by itself after it was fenced; what this session
		// knows is of the member that it was assigned to.
		if req.MemberID != member {
			return kerr.UnknownMemberID
		}
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				tag := sent[topicPartition{t.Topic, t.Partitions[j].Partition}].Tag
				t.Partitions[j].Metadata = &tag
			}
		}
		return nil
	})
	var (
		answers map[topicPartition]error
		failed  error
	)
	s.cl.CommitOffsetsSync(ctx, at, func(
		_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error,
	) {
		if err != nil {
			failed = err
			return
		}
		answers = answersOf(req, resp)
	})
	if failed != nil && endsSession(failed) {
		return nil, &again{fmt.Errorf("offsets were not committed: %w", failed)}
	}
	return answers, nil
}

// answersOf reads the answer to a commit, which names topics or only their IDs.
func answersOf(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) map[topicPartition]error {
	names := make(map[[16]byte]string, len(req.Topics))
	for _, t := range req.Topics {
		names[t.TopicID] = t.Topic
	}
	answers := make(map[topicPartition]error)
	for _, t := range resp.Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for _, p := range t.Partitions {
			answers[topicPartition{name, p.Partition}] = kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return answers
}

// tag returns what goes with the partition's offset into Kafka: among other things
// up to which batch the outputs are acknowledged, or in the same transaction.
func (p *partition) tag(sent uint64) (string, error) {
	status, err := p.ns.Status()
	if err != nil {
		return "", err
	}
	st := p.s.c.st
	kept := p.kept.within(p.s.c.opts.Window, millis(status.Clock))
	return offsetTag{
		StoreID:  st.ID(),
		OpenID:   st.OpenID(),
		TopicID:  p.log,
		Rewind:   status.Rewind,
		Sequence: sent,
		Clock:    millis(status.Clock),
		Timeline: status.Timeline,
		Forgets:  status.Forgets,
		Skipped:  kept.ranges(),
		Merged:   kept.merged,
		HasState: status.HasState,
	}.encode()
}
