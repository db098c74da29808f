package adapter

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// RestoreProgress is how far the restore of a partition has come (R13): markers, or
// the state of a pure handler, are read back from the log before it flows.
type RestoreProgress struct {
	// Topic and Partition are what is restored.
	Topic     string
	Partition int32
	// From, Next and To are offsets: where the reading began, the next one, and
	// where it ends.
	From, Next, To int64
	// Records that were read, and their bytes as Kafka sent them; 0 bytes where a
	// handler runs again.
	Records, Bytes uint64
	// ETA is how long the rest takes at the pace so far; 0 while that is not known,
	// and when it is done.
	ETA time.Duration
	// Done tells that it is complete: the partition flows.
	Done bool
}

// progressPause is how often a callback is told.
const progressPause = time.Second

// restoreStats are the restores of a consumer.
type restoreStats struct {
	mu      sync.Mutex // held over no call
	now     map[topicPartition]*progress
	records uint64 // of those that have ended
	bytes   uint64
}

// A progress counts one restore. A nil one counts nothing. Its methods are called
// by the goroutine that restores.
type progress struct {
	c     *Consumer
	of    topicPartition
	begun time.Time
	told  time.Time
	at    RestoreProgress // guarded by restoreStats.mu
}

func (c *Consumer) newProgress(p *partition, plan resumePlan) *progress {
	return &progress{c: c, of: topicPartition{p.topic, p.number},
		at: RestoreProgress{Topic: p.topic, Partition: p.number, From: -1, To: plan.Read.To}}
}

func (g *progress) begin() {
	g.begun = time.Now()
	s := &g.c.restoreStats
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = make(map[topicPartition]*progress)
	}
	s.now[g.of] = g
}

// starts says where the reading begins.
func (g *progress) starts(at int64) {
	if g == nil {
		return
	}
	g.change(func(p *RestoreProgress) { p.From, p.Next = at, at })
	g.tell()
}

func (g *progress) add(next int64, records, bytes int) {
	if g == nil {
		return
	}
	g.change(func(p *RestoreProgress) {
		p.Next, p.Records, p.Bytes = next, p.Records+uint64(records), p.Bytes+uint64(bytes)
		p.ETA = 0
		if done := next - p.From; done > 0 {
			p.ETA = time.Duration(float64(time.Since(g.begun)) * float64(p.To-next) / float64(done))
		}
	})
	if time.Since(g.told) >= progressPause {
		g.tell()
	}
}

func (g *progress) end(done bool) {
	g.change(func(p *RestoreProgress) { p.ETA, p.Done = 0, done })
	s := &g.c.restoreStats
	s.mu.Lock()
	if s.now[g.of] == g {
		delete(s.now, g.of)
	}
	s.records += g.at.Records
	s.bytes += g.at.Bytes
	s.mu.Unlock()
	if done {
		g.tell()
	}
}

func (g *progress) change(fn func(*RestoreProgress)) {
	g.c.restoreStats.mu.Lock()
	defer g.c.restoreStats.mu.Unlock()
	fn(&g.at)
}

func (g *progress) tell() {
	g.told = time.Now()
	if fn := g.c.opts.OnRestore; fn != nil {
		fn(g.at) // only this goroutine changes it
	}
}

// Restores returns how far the restores that run now have come, in the order of
// their partitions. It may be called at any time, from any goroutine.
func (c *Consumer) Restores() []RestoreProgress {
	s := &c.restoreStats
	s.mu.Lock()
	defer s.mu.Unlock()
	of := slices.SortedFunc(maps.Keys(s.now), topicPartition.compare)
	all := make([]RestoreProgress, len(of))
	for i, tp := range of {
		all[i] = s.now[tp].at
	}
	return all
}

// addTo adds the restores to the numbers of a consumer.
func (s *restoreStats) addTo(n *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.Restoring, n.Restored, n.RestoredBytes = len(s.now), s.records, s.bytes
	for _, g := range s.now {
		n.Restored += g.at.Records
		n.RestoredBytes += g.at.Bytes
		n.RestoreETA = max(n.RestoreETA, g.at.ETA)
	}
}

func (a topicPartition) compare(b topicPartition) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
}
