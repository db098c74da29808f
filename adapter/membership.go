package adapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A membership is what a session knows of its member of the group.
//
// The client's own heartbeats say that the process lives, not that it still has
// its partitions: a member that was stopped for a while, or that Kafka has put
// out, handles on what it had fetched. So a local batch becomes durable only when
// the group has vouched for the member within vouchAge (E02).
type membership struct {
	joining atomic.Bool  // from a request to join to the answer: the client holds commits back
	server  atomic.Bool  // the coordinator assigns (KIP-848)
	wanted  atomic.Bool  // a rebalance waits for the loop
	asked   atomic.Int64 // when the client asked last for its partitions, in Unix nanoseconds

	mu sync.Mutex // held over the question, so that one asks for all partitions
	at time.Time  // when the group was asked last that vouched
}

const (
	// vouchAge is how old the group's word for the member may be when a batch
	// becomes durable. Asking takes a millisecond or two.
	vouchAge = time.Second
	// vouchPatience is how long the group has to answer.
	vouchPatience = 5 * time.Second
	// staleTries is how often a member epoch that moved on is looked up again.
	staleTries = 10
)

const (
	keyJoinGroup              = 11
	keySyncGroup              = 14
	keyConsumerGroupHeartbeat = 68
)

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (m *membership) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case keyJoinGroup:
		m.server.Store(false) // or the brokers do not know KIP-848
		m.joining.Store(true)
	case keySyncGroup, keyConsumerGroupHeartbeat:
		m.asked.Store(time.Now().UnixNano())
	}
}

// OnBrokerRead implements kgo.HookBrokerRead.
func (m *membership) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	switch key {
	case keySyncGroup:
		m.joining.Store(false)
	case keyConsumerGroupHeartbeat:
		m.server.Store(true)
	}
}

// awaitJoined waits while the member joins: the client holds commits back as long.
// It returns false when ctx ends first.
func (m *membership) awaitJoined(ctx context.Context) bool {
	for m.joining.Load() {
		if !wait(ctx, joinCheck) {
			return false
		}
	}
	return true
}

// joinCheck is how often a commit that has to be sent looks whether it may.
const joinCheck = 20 * time.Millisecond

// vouched returns nil when the partitions are still the member's: the group has
// vouched for it just now, or within vouchAge. While the coordinator does not
// answer, its last word counts for as long as it cannot have given the partitions
// to another member. Otherwise it is an *again.
func (s *session) vouched(p *partition) error {
	if s.c.opts.pinned() || s.aside {
		return nil // a standby commits nothing
	}
	m := &s.membership
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.Sub(m.at) < vouchAge {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.work), vouchPatience)
	defer cancel()
	err := s.askGroup(ctx, p)
	switch {
	case err == nil:
		m.at = now
		return nil
	case !endsSession(err) && passes(err) && now.Sub(m.at) < s.lease():
		return nil
	default:
		return &again{fmt.Errorf("the group does not vouch for this member: %w", err)}
	}
}

// lease is how long the group keeps the partitions for a member that it has
// vouched for, with as much again for a coordinator whose settings differ.
func (s *session) lease() time.Duration {
	timeout, ok := s.cl.OptValue(kgo.SessionTimeout).(time.Duration)
	if !ok {
		timeout = sessionTimeout
	}
	return min(timeout, s.c.opts.rebalanceTimeout()) / 2
}

// askGroup asks the coordinator whether it knows the member.
func (s *session) askGroup(ctx context.Context, p *partition) error {
	for tries := 0; ; tries++ {
		member, generation := s.cl.GroupMetadata()
		if member != s.memberID() {
			return fmt.Errorf("%w: it is another one by now", kerr.UnknownMemberID)
		}
		if !s.membership.server.Load() {
			return s.heartbeat(ctx, member, generation)
		}
		err := s.askEpoch(ctx, p, member, generation)
		if !errors.Is(err, kerr.StaleMemberEpoch) || tries == staleTries || !wait(ctx, backOff(tries)) {
			return err
		}
	}
}

// heartbeat asks by a heartbeat of the classic protocol. That a rebalance is under
// way is no fault: it waits for this member.
func (s *session) heartbeat(ctx context.Context, member string, generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = s.c.opts.Group, member, generation
	req.InstanceID = s.instanceID()
	resp, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return err
	}
	if err = kerr.ErrorForCode(resp.ErrorCode); errors.Is(err, kerr.RebalanceInProgress) {
		return nil
	}
	return err
}

// askEpoch asks by fetching an offset as the member: in KIP-848 a heartbeat would
// answer for what the client has not done yet.
func (s *session) askEpoch(ctx context.Context, p *partition, member string, epoch int32) error {
	topic := kmsg.NewOffsetFetchRequestGroupTopic()
	topic.Topic, topic.TopicID, topic.Partitions = p.topic, p.log, []int32{p.number}
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group, group.MemberID, group.MemberEpoch = s.c.opts.Group, &member, epoch
	group.Topics = append(group.Topics, topic)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return err
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// instanceID is that of a static member, nil for a dynamic one.
func (s *session) instanceID() *string {
	if s.c.opts.Dynamic {
		return nil
	}
	id := s.c.st.ID().String()
	return &id
}

// memberID is the member that the session's partitions were assigned to.
func (s *session) memberID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.member
}

// isFenced tells whether nothing may be committed any more.
func (s *session) isFenced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fenced
}

// joined takes over the member that partitions are assigned to. A member that the
// group has put out joins again as another one, by itself, and a cooperative one
// keeps what it had, though another may have had it meanwhile: the session ends.
func (s *session) joined() error {
	m := &s.membership
	m.mu.Lock()
	m.at = time.Unix(0, m.asked.Load())
	m.mu.Unlock()
	member, _ := s.cl.GroupMetadata()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parts) > 0 && member != s.member {
		return &again{errors.New("the group had put this member out, and took it back as another one")}
	}
	s.member = member
	return nil
}

// onBlocked runs when a rebalance waits for the loop: the records in hand are
// finished, and no others are begun (E01).
func (s *session) onBlocked(context.Context, *kgo.Client) {
	s.membership.wanted.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut != nil {
		s.cut()
	}
}

// giveWay returns a context that ends when a rebalance waits for the loop, too.
func (s *session) giveWay(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cancel
	if s.membership.wanted.Load() {
		cancel()
	}
	return ctx, cancel
}

// allowRebalance lets a rebalance that waits go on.
func (s *session) allowRebalance() {
	s.membership.wanted.Store(false)
	s.cl.AllowRebalance()
}
