package store

// flight is a batch that is on its way to the disk while the namespace already is
// somebody else's. It is applied, so that the batch that follows it finds its
// markers and its state; that it is durable is told to nobody before it is.
//
//	first   |-- fn --|- apply -|---- sync ----|- returns
//	second            (waits)  |-- fn --|      - apply -|---- sync ----|- returns
//
// Only a batch flies after which nothing is to be done but to wait: one that added
// markers to the segment that was open before. One flies at a time: the next is
// written when it has arrived. All that is not a batch of records waits for it.
type flight struct {
	n    *Namespace
	wait func() error

	// What is told when it is durable.
	batches uint64 // for the witness to count
	picture *picture
	status  *Status

	done chan struct{} // closed when it has arrived
	err  error         // then: why it is not durable, and the store is poisoned
}

// takeOff makes a batch that is applied what the owner goes by, and lets others have
// the namespace. wait waits until it is durable.
func (n *Namespace) takeOff(b *Batch, wait func() error) *flight {
	f := &flight{n: n, wait: wait, batches: b.head.sequence - n.head.sequence, done: make(chan struct{})}
	n.keep(b)
	f.picture, f.status = n.draw(), n.tell()
	n.flight.Store(f)
	return f
}

// arrive waits until the batch is durable, and shows it to everybody. It is called
// once, by whoever made the batch, who does not own the namespace any more.
func (f *flight) arrive() error {
	n := f.n
	f.err = f.wait()
	if f.err == nil {
		n.s.batches.Add(f.batches)
		n.picture.Store(f.picture)
		n.status.Store(f.status)
	}
	n.index.unhold(f.err == nil)
	close(f.done)
	if n.tryTake() { // else whoever has it lands it
		n.giveBack() // and does so here: but not one that took off meanwhile
	}
	return f.err
}

// over reports whether it has arrived.
func (f *flight) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// follows reports whether a batch may run while the one before it is on its way.
func (n *Namespace) follows() bool {
	f := n.flight.Load()
	return f != nil && !f.over() && n.index.follows(n.head.clock)
}

// land waits for the batch that is on its way. The caller has taken the namespace.
func (n *Namespace) land() error {
	f := n.flight.Load()
	if f == nil {
		return nil
	}
	<-f.done // the wait for the disk has an end
	n.flight.Store(nil)
	if f.err != nil {
		n.index.hold()
		n.lose()
		return f.err
	}
	return nil
}

// lose gives the index up after a write that failed; what is on disk is read again.
// The index is held.
func (n *Namespace) lose() {
	n.index.failed()
	n.index, n.loaded = nil, false
}

// detach is refused where something is to be done when the batch is durable: to
// remove what it drops, to have a segment that it closes spilled, or, as it opens
// one, segments merged; and to keep the budgets. So what is not durable yet counts:
// however long a chain of flights is, it adds nothing to a budget that is spent.
func (x *segments) detach() bool {
	b := &x.batch
	if len(b.drops)+len(b.sealed) > 0 || b.swept || len(b.sweeps) != len(x.sweeps) || x.open != b.into {
		return false
	}
	if x.recount(); x.s.memory.Load() > x.s.opts.Memory || x.s.filters.Load() > x.s.opts.FilterMemory {
		return false
	}
	x.endBatch()
	return true
}

func (x *segments) unhold(durable bool) {
	x.gone = !durable
	x.mu.Unlock()
}

// follows is refused where something waits to be done between two batches.
func (x *segments) follows(now clock) bool {
	for _, g := range x.list {
		m := g.merging
		if g.uncatalogued || g.table == nil && g.spilled.Load() != nil || m != nil && m.done.Load() != nil ||
			g.expired(now.now, now.first, x.rules) {
			return false
		}
	}
	return true
}

func (x *segments) follow() {
	b := &x.batch
	b.borrow(&x.s.scratch)
	b.into, b.count = x.open, x.count
}
