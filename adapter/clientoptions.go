package adapter

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// sessionTimeout is how long a member that went silent keeps its partitions.
const sessionTimeout = 45 * time.Second

// rebalanceTimeout is how long the group waits for a member whose batch takes its
// time, and whose handler then has to be given up.
func (o *Options) rebalanceTimeout() time.Duration {
	return o.BatchTimeout + hangPatience + o.deliverTimeout()
}

// pinned tells whether partitions are assigned without a group.
func (o *Options) pinned() bool { return len(o.Pinned) > 0 }

// clientOptions returns the settings of a session's client: defaults that the
// user may change, the user's own, and those that the adapter owns.
func (o *Options) clientOptions(st *store.Store, owned ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{kgo.SessionTimeout(sessionTimeout), kgo.ProducerLinger(0),
		kgo.MaxDecompressBatchBytes(mostDecompressed)}
	opts = append(opts, o.Client...)
	opts = append(opts, o.ownedOptions(st)...)
	return append(opts, owned...)
}

// ownedOptions are the settings without which the law does not hold, apart from
// the functions that a session adds.
func (o *Options) ownedOptions(st *store.Store) []kgo.Opt {
	opts := append(o.groupOptions(st),
		kgo.SeedBrokers(o.Brokers...),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), // never used: a plan gives exact offsets
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	return append(opts, sendOptions()...)
}

// sendOptions are those of ownedOptions that are about outputs.
func sendOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), // chosen when an output is staged
		kgo.MaxBufferedRecords(math.MaxInt32),          // what is pending is bounded, and Produce must not block
	}
}

// ownedNames are the options of kgo that the adapter sets, or that would undo
// what it sets.
var ownedNames = []string{
	"SeedBrokers", "WithContext",
	"ConsumerGroup", "ConsumeTopics", "ConsumeRegex", "ConsumeExcludeTopics", "ConsumePartitions",
	"ShareGroup", "GroupProtocol", "ServerSideBalancer", "InstanceID", "Balancers", "RebalanceTimeout",
	"DisableAutoCommit", "GreedyAutoCommit", "AutoCommitMarks", "AutoCommitCallback", "AutoCommitInterval",
	"BlockRebalanceOnPoll", "AdjustFetchOffsetsFn", "OnOffsetsFetched",
	"OnPartitionsAssigned", "OnPartitionsRevoked", "OnPartitionsLost", "OnPartitionsCallbackBlocked",
	"ConsumeStartOffset", "ConsumeResetOffset", "FetchIsolationLevel", "KeepControlRecords",
	"KeepRetryableFetchErrors", "ConsumePreferringLagFn",
	"RequiredAcks", "RecordDeliveryTimeout", "DisableIdempotentWrite", "TransactionalID", "RecordPartitioner",
	"MaxBufferedRecords", "MaxBufferedBytes", "ProducerBatchMaxBytes", "DefaultProduceTopicAlways", "ManualFlushing",
}
