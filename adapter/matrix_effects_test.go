package adapter

import (
	"slices"
	"sync"
)

// effects are what handlers did, and what of that became durable.
type effects struct {
	mu      sync.Mutex // held over nothing that waits
	pending [2][]pendingEffect
	durable map[effect]int
}

type effect struct {
	partition int32
	id        string
}

type pendingEffect struct {
	effect
	offset int64
}

// begin forgets what a process had done that did not become durable.
func (e *effects) begin(disk int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending[disk] = nil
}

func (e *effects) call(disk int, rec *Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending[disk] = append(e.pending[disk], pendingEffect{effect{rec.Partition, string(rec.ID)}, rec.Offset})
}

// settle takes over what lies below the positions of a disk.
func (e *effects) settle(disk int, position func(p int32) int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending[disk] = slices.DeleteFunc(e.pending[disk], func(p pendingEffect) bool {
		if p.offset >= position(p.partition) {
			return false
		}
		e.durable[p.effect]++
		return true
	})
}
