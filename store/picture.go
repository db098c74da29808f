package store

// picture is what others than its owner see of a namespace: what its newest
// durable batch left. It is immutable, but for the index, which has a lock.
type picture struct {
	rules rules
	head  head
	row   row
	index *segments // nil while the markers are not read
}

// show makes the owner's fields everybody's. A batch changes clones of them, so
// what was shown stands. While a batch ends, it is called with the index locked:
// so the picture and the index are of one moment.
func (n *Namespace) show() { n.picture.Store(n.draw()) }

func (n *Namespace) draw() *picture {
	p := &picture{rules: n.rules, head: n.head}
	if len(n.row.list) > 0 {
		p.row = n.row
	}
	p.index, _ = n.index.(*segments)
	return p
}

// look calls fn, which is short, with a picture whose index stands still
// meanwhile: its owner looks IDs up and calls handlers beside it, and waits with
// what it does to the index. Whoever looks waits for no handler: at most for a
// batch that is being written, or for the markers to be read.
func (n *Namespace) look(fn func(*picture) error) error {
	for {
		if x := n.picture.Load().index; x != nil {
			err, fresh := n.lookInto(x, fn)
			if fresh {
				return err
			}
		}
		if err := n.loadBeside(); err != nil {
			return err
		}
	}
}

func (n *Namespace) lookInto(x *segments, fn func(*picture) error) (err error, fresh bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p := n.picture.Load()
	if p.index != x || x.gone {
		return nil, false
	}
	return fn(p), true
}

// durable waits until what the database shows by now of the namespace is durable: a
// batch is to be seen there before it is. Who reads there beside the owner asks when it
// has its picture of the database.
func (n *Namespace) durable() error {
	if x := n.picture.Load().index; x != nil { // or no batch was written since all was durable
		x.mu.RLock() // nobody can while one is written
		defer x.mu.RUnlock()
	}
	return n.s.fault.get()
}

// loadBeside makes sure that the markers are read. Whoever owns the namespace
// reads them before it calls a handler, so nobody has to wait for the owner to
// be done: only for the reading.
func (n *Namespace) loadBeside() error {
	read := n.loading()
	if x := n.picture.Load().index; x != nil {
		if _, fresh := n.lookInto(x, func(*picture) error { return nil }); fresh {
			return nil
		}
	}
	select {
	case n.owner <- struct{}{}:
		defer n.giveBack()
		if err := n.there(); err != nil {
			return err // there is nothing to be read
		}
		if err := n.land(); err != nil {
			return err
		}
		return n.load(false)
	case <-read:
		return nil
	case <-n.s.closing:
		return ErrClosed
	case <-n.s.fault.done:
		return n.s.fault.get()
	}
}

// loading returns a channel that closes when the markers were read next, or
// could not be.
func (n *Namespace) loading() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reading == nil {
		n.reading = make(chan struct{})
	}
	return n.reading
}

func (n *Namespace) endLoading() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reading != nil {
		close(n.reading)
		n.reading = nil
	}
}
