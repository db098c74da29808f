package adapter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// plans gathers the inputs of R11 for the assigned partitions, and plans where
// each of them starts.
func (s *session) plans(
	ctx context.Context, assigned map[string]map[int32]kgo.Offset,
) ([]*partition, []resumePlan, error) {
	log, err := s.askLog(ctx, assigned)
	if err != nil {
		return nil, nil, err
	}
	var parts []*partition
	var inputs []resumeInputs
	for topic, numbers := range assigned {
		for number := range numbers {
			p, in, err := s.open(topic, number, log)
			if err != nil {
				return nil, nil, err
			}
			parts, inputs = append(parts, p), append(inputs, in)
		}
	}
	if err := s.askEpochs(ctx, inputs); err != nil {
		return nil, nil, err
	}
	if err := s.askSeams(ctx, parts, inputs); err != nil {
		return nil, nil, err
	}
	if err := s.askName(ctx, inputs); err != nil {
		return nil, nil, err
	}
	if err := s.askTime(ctx, inputs); err != nil {
		return nil, nil, err
	}
	if err := s.askCompacted(ctx, inputs); err != nil {
		return nil, nil, err
	}
	plans := make([]resumePlan, len(inputs))
	for i, in := range inputs {
		plans[i], parts[i].in = planResume(in), in
	}
	return parts, plans, nil
}

// logState is what Kafka says of the logs.
type logState struct {
	ids        map[string]store.ID
	start, end offsets
}

func (s *session) askLog(
	ctx context.Context, assigned map[string]map[int32]kgo.Offset,
) (logState, error) {
	state := logState{ids: make(map[string]store.ID)}
	topics := make([]string, 0, len(assigned))
	for topic := range assigned {
		topics = append(topics, topic)
	}
	metadata, err := s.admin.Metadata(ctx, topics...)
	if err != nil {
		return state, unanswered("topics", err)
	}
	for _, topic := range topics {
		detail, err := usable(metadata, topic)
		if errors.Is(err, ErrUnknownTopic) || err != nil && passes(err) && !errors.Is(err, ErrNoTopicID) {
			return state, &again{err}
		}
		if err != nil {
			return state, err
		}
		state.ids[topic] = store.ID(detail.ID)
	}
	if state.start, err = listed(s.admin.ListStartOffsets(ctx, topics...)); err != nil {
		return state, unanswered("log starts", err)
	}
	state.end, err = s.admin.ends(ctx, topics)
	return state, err
}

// unanswered is a question to Kafka that failed: another session asks again,
// unless the answer was final.
func unanswered(what string, err error) error {
	if passes(err) || endsSession(err) {
		return &again{fmt.Errorf("%s were not told: %w", what, err)}
	}
	return fmt.Errorf("%w: %s were not told: %w; %s", ErrConsumeRefused, what, err, wayOut(err))
}

// open opens the namespace of a partition, and returns the inputs that it and
// the coordinator's answer hold.
func (s *session) open(topic string, number int32, log logState) (*partition, resumeInputs, error) {
	o := &s.c.opts
	p := &partition{s: s, topic: topic, number: number, log: log.ids[topic], end: log.end[topic][number]}
	in := resumeInputs{
		Group: o.Group, Topic: topic, Partition: number,
		TopicID:    p.log,
		Committed:  s.groupOffset(topic, p.log, number),
		LogStart:   log.start[topic][number],
		LogEnd:     p.end,
		StoreID:    s.c.st.ID(),
		KnownOpen:  func(id [16]byte) bool { return s.c.st.KnowsOpen(id) },
		FreshState: o.FreshState,
		Pure:       o.Pure,
		ByOutput:   o.RestoreFrom != "",
		Start:      o.Start,

		Transactional: o.Transactional,
		OnGap:         o.OnGap, OnForeignOffset: o.OnForeignOffset, OnMissingOffset: o.OnMissingOffset,
	}
	if s.aside {
		p.source = s.reader(p)
	}
	ns, err := s.c.st.Namespace(namespaceName(o.Group, topic, number),
		&store.NamespaceOptions{IDSource: o.ID.Name(), Unknown: o.unknownPolicy(), Window: o.Window})
	if err != nil {
		return nil, in, fmt.Errorf("adapter: namespace of %s/%d in group %q: %w", topic, number, o.Group, err)
	}
	status, err := ns.Status()
	if err != nil {
		return nil, in, fmt.Errorf("adapter: namespace of %s/%d in group %q: %w", topic, number, o.Group, err)
	}
	p.ns = ns
	if p.kept, err = decodeNote(status.Note); err != nil {
		return nil, in, fmt.Errorf("adapter: namespace of %s/%d in group %q: %w", topic, number, o.Group, err)
	}
	p.stamp = p.kept.stamp
	in.HasState, in.StateWhole = status.HasState, status.HasState && !p.kept.broken
	in.Local = localPosition{
		Present: !status.Position.IsZero(),
		TopicID: status.Position.TopicID,
		Offset:  status.Position.Offset,
		Epoch:   status.Position.LeaderEpoch,
		Last:    status.LastOffset,
		Rewind:  status.Rewind,
	}
	if r := status.Restore; r != nil {
		in.Local.Restoring = r.To
	}
	if k := status.Committed; k != nil {
		in.Local.Acknowledged = committedOffset{
			Present: true, Offset: k.Offset, Epoch: k.LeaderEpoch, Tag: k.Tag,
		}
	}
	for _, id := range s.c.st.Ancestors() {
		in.Ancestors = append(in.Ancestors, id)
	}
	p.resumed(in)
	return p, in, nil
}

// resumed takes over what Kafka has acknowledged to this store before.
func (p *partition) resumed(in resumeInputs) {
	g := in.Committed
	tag, ours, err := decodeTag(g.Tag)
	if !g.Present || !ours || err != nil || tag.StoreID != in.StoreID || tag.TopicID != in.TopicID {
		return
	}
	p.committed = store.Committed{Offset: g.Offset, LeaderEpoch: g.Epoch, Tag: g.Tag}
	p.carried = tag.Sequence
	p.noted = in.Local.Acknowledged == g
}

// groupOffset returns what the coordinator said of a partition (G).
func (s *session) groupOffset(topic string, id store.ID, number int32) committedOffset {
	for _, g := range s.committed.Groups {
		for _, t := range g.Topics {
			if t.Topic != topic && (t.Topic != "" || t.TopicID != id) {
				continue
			}
			for _, p := range t.Partitions {
				if p.Partition == number && p.Offset >= 0 {
					c := committedOffset{Present: true, Offset: p.Offset, Epoch: p.LeaderEpoch}
					if p.Metadata != nil {
						c.Tag = *p.Metadata
					}
					return c
				}
			}
		}
	}
	return committedOffset{}
}

// askEpochs asks the brokers where the leader epochs of L and of G ended.
func (s *session) askEpochs(ctx context.Context, inputs []resumeInputs) error {
	ask := func(epoch func(*resumeInputs) (int32, bool), set func(*resumeInputs, epochEnd)) error {
		var req kadm.OffsetForLeaderEpochRequest
		for i := range inputs {
			if e, ok := epoch(&inputs[i]); ok && e >= 0 {
				req.Add(inputs[i].Topic, inputs[i].Partition, e)
			}
		}
		if req == nil {
			return nil
		}
		ends, err := s.admin.OffsetForLeaderEpoch(ctx, req)
		if err != nil {
			return unanswered("leader epochs", err)
		}
		for i := range inputs {
			end, ok := ends[inputs[i].Topic][inputs[i].Partition]
			if ok && end.Err != nil {
				return unanswered("leader epochs", end.Err)
			}
			if ok && end.EndOffset >= 0 {
				set(&inputs[i], epochEnd{Known: true, Offset: end.EndOffset})
			}
		}
		return nil
	}
	err := ask(
		func(in *resumeInputs) (int32, bool) {
			return in.Local.Epoch, in.Local.Present && in.Local.TopicID == in.TopicID
		},
		func(in *resumeInputs, end epochEnd) { in.LocalEpochEnd = end })
	if err != nil {
		return err
	}
	return ask(
		func(in *resumeInputs) (int32, bool) { return in.Committed.Epoch, in.Committed.Present },
		func(in *resumeInputs, end epochEnd) { in.CommittedEpochEnd = end })
}

// askSeams looks at what stands now where the last record of each partition
// stood.
func (s *session) askSeams(ctx context.Context, parts []*partition, inputs []resumeInputs) error {
	order := make([]int, len(parts))
	for i := range order {
		order[i] = i
	}
	return each(order, func(i int) error {
		p, l := parts[i], &inputs[i].Local
		if !l.Present || l.TopicID != inputs[i].TopicID || l.Last < inputs[i].LogStart || l.Last >= inputs[i].LogEnd {
			return nil
		}
		status, err := p.ns.Status()
		if err != nil {
			return err
		}
		recs, _, err := p.read(ctx, l.Last)
		switch {
		case err != nil:
			return err
		case len(recs) == 0 || recs[0].Offset != l.Last:
			l.Seam = seamNothing
		case fingerprint(recs[0]) == status.Fingerprint:
			l.Seam = seamSame
		default:
			l.Seam = seamOther
		}
		return nil
	})
}

// askName asks, for partitions of which nobody knows a position, whether the
// group or this store ever had one in the topic's name.
func (s *session) askName(ctx context.Context, inputs []resumeInputs) error {
	had := make(map[string]bool)
	for i := range inputs {
		if in := &inputs[i]; !in.Committed.Present && !in.Local.Present {
			had[in.Topic] = false
		}
	}
	for topic := range had {
		prefix := namespacePrefix(s.c.opts.Group, topic)
		for name := range s.c.st.Namespaces() {
			if had[topic] || !strings.HasPrefix(name, prefix) {
				continue
			}
			ns, err := s.c.st.Namespace(name, nil)
			if err != nil {
				return fmt.Errorf("adapter: namespace %q: %w", name, err)
			}
			status, err := ns.Status()
			if err != nil {
				return fmt.Errorf("adapter: namespace %q: %w", name, err)
			}
			had[topic] = !status.Position.IsZero()
		}
	}
	var unknown []string
	for topic, known := range had {
		if !known {
			unknown = append(unknown, topic)
		}
	}
	if len(unknown) > 0 {
		found, err := s.admin.FetchOffsetsForTopics(ctx, s.c.opts.Group, unknown...)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // without members, it is made by its first offset
			return unanswered("the group's offsets", err)
		}
		found.Each(func(o kadm.OffsetResponse) {
			had[o.Topic] = had[o.Topic] || o.Err == nil && o.At >= 0
		})
	}
	for i := range inputs {
		inputs[i].EverPositioned = had[inputs[i].Topic]
	}
	return nil
}
