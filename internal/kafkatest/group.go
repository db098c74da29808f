package kafkatest

import (
	"cmp"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
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
		await(ctx, t, "a stable offset of group "+group, func() bool {
			offsets, err := adm.FetchOffsets(kadm.RequireStable(ctx), group)
			if errors.Is(err, kerr.GroupIDNotFound) {
				return true
			}
			found, exists := offsets.Lookup(topic, partition)
			if err = cmp.Or(err, found.Err); passes(err) {
				return false
			}
			require.NoError(t, err)
			offset, ok = found.Offset, exists
			return true
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
		await(ctx, t, "the coordinator of group "+group, func() bool {
			err := adm.CommitAllOffsets(ctx, group, offsets)
			if passes(err) {
				return false
			}
			require.NoError(t, err)
			return true
		})
	})
}

// passes tells whether an error ends by itself: the group's coordinator is on
// its way, or a transaction that holds an offset is still open.
func passes(err error) bool {
	return errors.Is(err, kerr.CoordinatorNotAvailable) ||
		errors.Is(err, kerr.CoordinatorLoadInProgress) ||
		errors.Is(err, kerr.NotCoordinator) ||
		errors.Is(err, kerr.UnstableOffsetCommit)
}
