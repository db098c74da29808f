package main

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// demoBroker is the demo's Kafka. It sees every offset that is committed, and
// kills a consumer whose trap the offset springs before the broker acts on it.
type demoBroker struct {
	fake *kfake.Cluster

	mu        sync.Mutex
	committed map[string]map[int32]int64 // by group and partition
	traps     map[string]trap            // by group
}

// trap kills a consumer that commits offset, or one above, in the first
// partition. kill returns when the consumer is dead.
type trap struct {
	offset int64
	kill   func()
}

func newDemoBroker() (*demoBroker, error) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(demoPartitions, demoTopic))
	if err != nil {
		return nil, fmt.Errorf("%w: the embedded broker does not start: %w; "+
			"the demo needs a free port on 127.0.0.1", errBroker, err)
	}
	b := &demoBroker{fake: fake, committed: map[string]map[int32]int64{}, traps: map[string]trap{}}
	fake.ControlKey(int16(kmsg.OffsetCommit), b.onCommit)
	return b, nil
}

func (b *demoBroker) close() { b.fake.Close() }

// onCommit runs before the broker keeps the offsets of a request.
func (b *demoBroker) onCommit(request kmsg.Request) (kmsg.Response, error, bool) {
	req := request.(*kmsg.OffsetCommitRequest)
	b.mu.Lock()
	defer b.mu.Unlock()
	offsets := b.committed[req.Group]
	if offsets == nil {
		offsets = map[int32]int64{}
		b.committed[req.Group] = offsets
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			if t, set := b.traps[req.Group]; set && p.Partition == 0 && p.Offset >= t.offset {
				delete(b.traps, req.Group)
				t.kill()
				b.fake.KeepControl()
				return nil, errors.New("the consumer is dead"), true
			}
		}
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			offsets[p.Partition] = p.Offset
		}
	}
	return nil, nil, false
}

func (b *demoBroker) setTrap(group string, t trap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.traps[group] = t
}

// committedBy returns how many records a group has committed.
func (b *demoBroker) committedBy(group string) (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, offset := range b.committed[group] {
		n += offset
	}
	return n
}

// loseAnswers has the broker answer every nth write with an error after it has
// kept the records, as when a replica is late: the producer cannot know, and
// sends them again. The function returned ends it.
func (b *demoBroker) loseAnswers(nth int64) (end func()) {
	var writes atomic.Int64
	return b.fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend, Count: -1,
		When: func(kmsg.Request) bool { return writes.Add(1)%nth == 0 },
	}).Remove
}
