package adapter

import "time"

// joinPatience is how long a session waits for its first partitions before it says
// so. A rebalance of members that all live takes about three seconds.
const joinPatience = 10 * time.Second

// What a member may wait for that has no partitions. Kafka takes a process that died
// for a member until its session has timed out.
const (
	notLetIn = "no partitions yet: the group has not let this member in; a rebalance waits for each of its " +
		"members, for one that died without leaving as long as its session time-out (45s by default), " +
		"or the coordinator does not answer"
	noneLeft = "no partitions yet: the group has given this member none; its other members have them all, " +
		"or one that died without leaving keeps its own as long as its session time-out (45s by default)"
)

// watchJoin says so, once, when the session has no partitions for a while.
func (s *session) watchJoin() {
	if s.c.opts.pinned() || !wait(s.poll, joinPatience) || s.awaited.ever() {
		return
	}
	what := noneLeft
	if _, generation := s.cl.GroupMetadata(); generation <= 0 || s.membership.joining.Load() {
		what = notLetIn
	}
	s.c.opts.Logger.Info(what, "group", s.c.opts.Group, "for", joinPatience)
}
