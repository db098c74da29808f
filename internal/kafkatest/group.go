package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Committed returns the offset that a group committed in a partition, with
// its metadata and leader epoch, and whether there is one. It waits for
// transactions that hold an offset of the group.
func (c *Cluster) Committed(
	t testing.TB, group, topic string, partition int32,
) (offset kadm.Offset, ok bool) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		await(ctx, t, "a stable offset of group "+group, func() error {
			offsets, err := adm.FetchOffsets(kadm.RequireStable(ctx), group)
			if errors.Is(err, kerr.GroupIDNotFound) {
				return nil
			}
			found, exists := offsets.Lookup(topic, partition)
			offset, ok = found.Offset, exists
			return cmp.Or(err, found.Err)
		})
	})
	return offset, ok
}

// SetGroupOffset commits an offset as an operator's reset does: with no
// metadata and no leader epoch. Kafka refuses it while the group has members.
func (c *Cluster) SetGroupOffset(
	t testing.TB, group, topic string, partition int32, offset int64,
) {
	t.Helper()
	c.admin(t, func(ctx context.Context, adm *kadm.Client) {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, partition, offset, -1)
		await(ctx, t, "the coordinator of group "+group, func() error {
			return adm.CommitAllOffsets(ctx, group, offsets)
		})
	})
}

// passes tells whether an error ends by itself: Kafka says to try again, since
// the group's coordinator is on its way or a transaction that holds an offset is
// still open, or it does not answer, since the broker asked was killed.
func passes(err error) bool {
	var answer *kerr.Error
	if errors.As(err, &answer) {
		return answer.Retriable
	}
	return err != nil
}
