package adapter

import (
	"maps"
	"slices"
)

// An Assignment is a partition that a consumer has now.
type Assignment struct {
	// Topic, Partition and Offset are where it stands: the offset is the next one
	// that it will handle.
	Topic     string
	Partition int32
	Offset    int64
	// Lag is how many offsets lie before the end of its log, as far as is known;
	// -1: it is not.
	Lag int64
	// Paused says why it stands still, as Pause.Err does; nil: it flows.
	Paused error
}

// Partitions returns the partitions that the consumer has now, in order: those that
// flow, and those of Paused. There are none while no session has joined the group,
// between two sessions, and when Run has ended. It may be called at any time, from
// any goroutine.
func (c *Consumer) Partitions() []Assignment {
	s := c.session.Load()
	if s == nil {
		return nil
	}
	s.mu.Lock() // no call under pauses.mu waits for it
	defer s.mu.Unlock()
	c.pauses.mu.Lock()
	defer c.pauses.mu.Unlock()
	now := make(map[topicPartition]Assignment)
	add := func(of topicPartition, offset, end int64) {
		a := Assignment{Topic: of.topic, Partition: of.number, Offset: offset, Lag: -1}
		if at, ok := c.pauses.now[of]; ok {
			a.Offset, a.Paused = at.Offset, at.Err
		}
		if end >= 0 {
			a.Lag = max(0, end-a.Offset)
		}
		now[of] = a
	}
	for of, p := range s.parts {
		add(of, p.at.Load(), p.end)
	}
	for of, r := range s.restoring {
		add(of, r.p.at.Load(), r.p.end)
	}
	for of := range s.standing {
		if at, ok := c.pauses.now[of]; ok { // else its handler has returned, and it begins anew
			add(of, at.Offset, -1)
		}
	}
	all := make([]Assignment, 0, len(now))
	for _, of := range slices.SortedFunc(maps.Keys(now), topicPartition.compare) {
		all = append(all, now[of])
	}
	return all
}
