package adapter

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What only some plans ask Kafka.

// askTime asks, for partitions that begin at a time, where that is.
func (s *session) askTime(ctx context.Context, inputs []resumeInputs) error {
	o := &s.c.opts
	topics := make(map[string]bool)
	for _, in := range inputs {
		if o.Start == StartTime && !in.EverPositioned && !in.Committed.Present && !in.Local.Present {
			topics[in.Topic] = true
		}
	}
	if len(topics) == 0 {
		return nil
	}
	found, err := listed(s.admin.ListOffsetsAfterMilli(ctx, o.StartTime.UnixMilli(),
		slices.Collect(maps.Keys(topics))...))
	if err != nil {
		return unanswered("offsets of a time", err)
	}
	for i := range inputs {
		inputs[i].TimeOffset = found[inputs[i].Topic][inputs[i].Partition]
	}
	return nil
}

// askCompacted asks, for partitions whose records are read once more, whether
// Kafka compacts the log.
func (s *session) askCompacted(ctx context.Context, inputs []resumeInputs) error {
	known := make(map[string]bool)
	for i := range inputs {
		in := &inputs[i]
		if !planResume(*in).reads() {
			continue
		}
		compacted, ok := known[in.Topic]
		if !ok {
			var err error
			if compacted, err = s.admin.compacted(ctx, in.Topic); err != nil {
				return err
			}
			known[in.Topic] = compacted
		}
		in.Compacted = compacted
	}
	return nil
}

// compacted tells whether Kafka compacts a topic. Without the permission to know,
// it is taken to.
func (a admin) compacted(ctx context.Context, topic string) (bool, error) {
	policy, err := a.topicConfig(ctx, topic, "cleanup.policy")
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return false, unanswered("topic settings", err)
	}
	return err != nil || strings.Contains(policy, "compact"), nil
}
