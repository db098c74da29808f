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
	cl, err := outside(brokers, client)
	if err != nil {
		return err
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
		err = lastHeartbeat(ctx, cl, group, instance, epochLeaves)
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

// The member epochs of the last heartbeat by KIP-848: of a member that does not come
// back, and of a static one that does.
const (
	epochLeaves = -1
	epochAway   = -2
)

// lastHeartbeat sends, by KIP-848, the last heartbeat of the member that the group
// has under an instance ID. It is kerr.UnknownMemberID when there is none.
func lastHeartbeat(ctx context.Context, cl *kgo.Client, group, instance string, epoch int32) error {
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
			last.Group, last.MemberID, last.InstanceID, last.MemberEpoch = group, m.MemberID, &instance, epoch
			answer, err := last.RequestWith(ctx, cl)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(answer.ErrorCode)
		}
	}
	return kerr.UnknownMemberID
}

// release has the group hand over what it keeps for the store's instance ID. By
// KIP-848 it keeps that for the member that was there before, which may have died
// without a word, until the session time-out, and refuses another one; and what the
// client says at its end lacks the instance ID, so Kafka does not hear it. The store
// is locked: no other process can be that member. Whatever fails here, the group
// says when it is joined.
func (s *session) release(ctx context.Context) {
	if !balancers[s.c.opts.Balancer].server || s.c.opts.Dynamic || s.c.opts.pinned() {
		return
	}
	cl, err := outside(s.c.opts.Brokers, s.c.opts.Client)
	if err != nil {
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, vouchPatience)
	defer cancel()
	_ = lastHeartbeat(ctx, cl, s.c.opts.Group, s.c.st.ID().String(), epochAway)
}

// outside makes a client that is no member.
func outside(brokers []string, client []kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, client...), kgo.SeedBrokers(brokers...))...)
	if err != nil {
		return nil, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	return cl, nil
}
