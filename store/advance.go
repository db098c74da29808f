package store

import (
	"fmt"
	"time"
)

// Advance moves the clock of a namespace that is idle, so that what has left
// the window gives its space back (C14): no record comes that would move it.
// It is durable when Advance returns, and so is the end of what expired; the
// space itself comes back in the background.
//
// It is outside the log, like a word from somebody who knows that nothing older
// will come: records that do come later and are older than the window are
// Unknown(late), and one more than MaxAdvance older moves nothing (R1). A row of
// jumps that stands is given up, and coverage stays as it is; what is open stays
// open.
//
// It is also the way out of a full disk whose markers are old: it goes through
// below the floor of free space, as it makes room. Only a disk that has none at
// all, with its ballast given up, refuses it (ErrDiskFull).
//
// A time at or below the clock moves nothing. A time beyond the wall clock is
// ErrAhead, a namespace whose first 8 times are not complete has no clock to move
// (ErrNoClock). Advance may be called beside Update, which it waits for, and not
// inside its function.
func (n *Namespace) Advance(to time.Time) error {
	if err := n.update(func(b *Batch) error { return b.advance(to) }, false); err != nil {
		return err
	}
	// What has expired is told by the clock that is on disk (R9): only the next
	// batch may drop it.
	if err := n.update((*Batch).drop, false); err != nil {
		return fmt.Errorf("the clock of namespace %q was moved, but what expired still stands: %w", n.name, err)
	}
	return nil
}

func (b *Batch) advance(to time.Time) error {
	c := b.head.clock
	switch {
	case b.head.restore.on:
		return fmt.Errorf("%w: namespace %q, up to offset %d; its clock moves when that is done",
			ErrRestoring, b.n.name, b.head.restore.to)
	case c.times < firstTimes:
		return fmt.Errorf("%w: namespace %q, after %d of its first %d times; let it see more records",
			ErrNoClock, b.n.name, c.times, firstTimes)
	case to.After(b.n.s.opts.Now()):
		return fmt.Errorf("%w: namespace %q to %v; give a time that has passed",
			ErrAhead, b.n.name, to.UTC().Format(time.RFC3339Nano))
	case millis(to) <= c.now:
		return nil
	}
	s := b.head.clock.sound(millis(to))
	b.join(s.join)
	b.dirty = true
	return nil
}

// drop makes a batch of nothing but the end of what has expired. It has no
// number of its own: how markers are laid out must not show.
func (b *Batch) drop() error {
	b.unnumbered = true
	b.dirty = b.n.index.dropping()
	return nil
}

func (x *segments) dropping() bool { return len(x.batch.drops) > 0 }
