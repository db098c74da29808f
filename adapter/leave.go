package adapter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Leave takes the store out of the group for good: its partitions go to the other
// members at once, instead of waiting for it as long as the session time-out.
// Without it a static member that ends is expected back. It is no fault when the
// group does not have the member any more, and a later Run joins again. It is
// ErrInUse while the consumer runs; in pinned mode, and for a dynamic member, there
// is nothing to leave.
func (c *Consumer) Leave(ctx context.Context) error {
	if c.opts.pinned() || c.opts.Dynamic {
		return nil
	}
	me := use{c.st, c.opts.Group}
	if _, used := running.LoadOrStore(me, c); used {
		return fmt.Errorf("%w: store %s, group %q; end that one, then leave", ErrInUse, c.st.ID(), c.opts.Group)
	}
	defer running.Delete(me)
	return Leave(ctx, c.opts.Brokers, c.opts.Group, c.st.ID().String(), c.opts.Client...)
}

// Leave takes an instance out of a group, as Consumer.Leave does, for a store that
// nobody can open any more: instance is its ID as text. A consumer that still runs
// as that instance joins again.
func Leave(ctx context.Context, brokers []string, group, instance string, client ...kgo.Opt) error {
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, client...), kgo.SeedBrokers(brokers...))...)
	if err != nil {
		return fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	members := kadm.LeaveGroup(group).InstanceIDs(instance).Reason("it does not come back")
	left, err := kadm.NewClient(cl).LeaveGroup(ctx, members)
	if err == nil {
		err = left.Error()
	}
	if errors.Is(err, kerr.UnknownMemberID) { // or a member by KIP-848
		err = leaveServer(ctx, cl, group, instance)
	}
	var answer *kerr.Error
	switch {
	case err == nil, errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.GroupIDNotFound):
		return nil
	case errors.As(err, &answer):
		return fmt.Errorf("%w: instance %s cannot leave group %q: %w; mend that and leave again",
			ErrConsumeRefused, instance, group, err)
	default:
		return fmt.Errorf("%w: instance %s cannot leave group %q: %w; check the addresses and that Kafka runs",
			ErrBrokersAway, instance, group, err)
	}
}

// leaveServer takes an instance out of a group by KIP-848: the last heartbeat of a
// member that does not come back, under the member ID that it has.
func leaveServer(ctx context.Context, cl *kgo.Client, group, instance string) error {
	ask := kmsg.NewPtrConsumerGroupDescribeRequest()
	ask.Groups = []string{group}
	described, err := ask.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, g := range described.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
		for _, m := range g.Members {
			if m.InstanceID == nil || *m.InstanceID != instance {
				continue
			}
			last := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			last.Group, last.MemberID, last.InstanceID, last.MemberEpoch = group, m.MemberID, &instance, -1
			answer, err := last.RequestWith(ctx, cl)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(answer.ErrorCode)
		}
	}
	return kerr.UnknownMemberID
}
