package adapter

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// A Balancer says how the partitions are divided among the members of the group,
// and by which protocol. All members of a group have the same one.
type Balancer uint8

// The balancers. With the eager ones a rebalance takes all partitions from every
// member for a moment; with the others those that stay flow on. The last two need
// Kafka 4.0, and 4.3 is better; older brokers get them by the eager protocol.
const (
	BalancerRange             Balancer = iota // eager, neighbouring partitions of each topic; the default
	BalancerRoundRobin                        // eager, one after another over all topics
	BalancerSticky                            // eager, and as few as possible move
	BalancerCooperativeSticky                 // cooperative (KIP-429), and as few as possible move
	BalancerServerRange                       // the coordinator assigns (KIP-848), neighbouring partitions
	BalancerServerUniform                     // the coordinator assigns (KIP-848), and as few as possible move
)

// balancers are what the client needs to know of each.
var balancers = []struct {
	make   func() kgo.GroupBalancer
	server bool // the coordinator assigns
}{
	BalancerRange:             {make: kgo.RangeBalancer},
	BalancerRoundRobin:        {make: kgo.RoundRobinBalancer},
	BalancerSticky:            {make: kgo.StickyBalancer},
	BalancerCooperativeSticky: {make: kgo.CooperativeStickyBalancer},
	BalancerServerRange:       {make: kgo.RangeBalancer, server: true},
	BalancerServerUniform:     {make: kgo.StickyBalancer, server: true},
}

// groupOptions are the settings of a member of the group; none in pinned mode,
// which has no member.
func (o *Options) groupOptions(st *store.Store) []kgo.Opt {
	if o.pinned() {
		return nil
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(o.Group),
		kgo.ConsumeTopics(o.Topics...),
		kgo.Balancers(balancers[o.Balancer].make()),
		kgo.RebalanceTimeout(o.rebalanceTimeout()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
	}
	if !o.Dynamic {
		opts = append(opts, kgo.InstanceID(st.ID().String()))
	}
	if balancers[o.Balancer].server {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return opts
}
