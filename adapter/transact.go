package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firstseen/firstseen/store"
)

const (
	// growFor is how long a transaction may grow while records are there already.
	growFor = 100 * time.Millisecond

	// growWait is how long the loop waits for more of them: about what a fetch
	// takes. Then what has grown is sent.
	growWait = 2 * time.Millisecond
)

// growing tells whether a transaction has something to send.
func (s *session) growing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.txn != nil && !s.txn.since.IsZero()
}

// grows tells whether the outputs of these partitions are to wait for those of the
// next poll. A round of a partition that is to stand still ends the growth, as its
// end is where partitions pause.
func (s *session) grows(parts []*partition) bool {
	if s.txn == nil {
		return false
	}
	for _, p := range parts {
		if p.failed != nil || p.stopped != nil || p.halfFull() {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txn.since.IsZero() {
		s.txn.since = time.Now()
	}
	return time.Since(s.txn.since) < growFor
}

// halfFull tells whether outputs have reached half of their bound: the partition
// would soon have to stand still.
func (p *partition) halfFull() bool {
	n, bytes := p.out.size()
	return 2*n >= p.s.c.opts.MaxPending || 2*bytes >= maxPendingBytes
}

// transact sends what is pending of these partitions, and with it the positions of
// all of them that have moved, in Kafka transactions: one, unless the outputs take
// more room than a transaction has, or Kafka did not take some. A transaction that
// it did not take is aborted, and those partitions are left out of the next one.
//
// An error of type *again says that the fate of a transaction is not known, or that
// this session is not the one to send any.
func (s *session) transact(parts []*partition) error {
	s.mu.Lock()
	s.txn.since = time.Time{}
	s.mu.Unlock()
	var errs []error
	for {
		due := s.due(parts)
		if len(due) == 0 {
			return errors.Join(errs...)
		}
		err := s.transaction(due, parts)
		if isAgain(err) || isCrash(err) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
}

// transactLast is transact where no later one follows: it waits while the member joins.
func (s *session) transactLast(parts []*partition) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.work), commitTimeout)
	defer cancel()
	if len(s.due(parts)) > 0 && !s.membership.awaitJoined(ctx) {
		return nil // what is pending stays so
	}
	return s.transact(parts)
}

// due returns the partitions whose outputs go into the next transaction.
func (s *session) due(parts []*partition) (due []*partition) {
	room := maxPendingBytes
	for _, p := range parts {
		n, bytes := p.out.size()
		if n == 0 || p.tries.refused || time.Now().Before(p.tries.again) || len(due) > 0 && bytes > room {
			continue
		}
		due = append(due, p)
		room -= bytes
	}
	return due
}

// transaction makes one with the outputs of the partitions that are due. When it
// returns nil, all of it is in Kafka, or it was aborted and the partitions in its way
// are put off. Otherwise the error is what ends the session or Run.
func (s *session) transaction(due, parts []*partition) error {
	t, ctx := s.txn, context.WithoutCancel(s.work)
	if err := t.begin(ctx); err != nil {
		return err
	}
	if failed := s.produceAll(ctx, due); len(failed) > 0 {
		return s.undo(ctx, putOff(due, failed))
	}
	if err := s.reached("produced"); err != nil {
		return err
	}
	sent, err := positions(due, parts)
	if err != nil {
		putOffAll(due)
		return s.undo(ctx, err)
	}
	if err := s.checkAlone(ctx, sent); err != nil {
		putOffAll(due)
		return s.undo(ctx, err)
	}
	if err := s.addOffsets(ctx, sent); err != nil {
		return s.undo(ctx, s.notAdded(due, err))
	}
	if err := s.reached("added"); err != nil {
		return err
	}
	if done, err := t.end(ctx, due); err != nil || !done {
		putOffAll(due)
		return s.undo(ctx, err)
	}
	if err := s.reached("ended"); err != nil {
		return err
	}
	for _, p := range due {
		s.c.stats.outputs.Add(uint64(len(p.out.all())))
		p.out.clear()
		p.sent, p.tries = p.batch, tries{}
	}
	for p, c := range sent {
		p.committed, p.carried, p.noted = c, p.batch, false
	}
	s.c.stats.transactions.Add(1)
	return nil
}

// undo aborts the transaction for this reason, unless the session ends for it: then
// whoever takes the ID over does.
func (s *session) undo(ctx context.Context, reason error) error {
	if isAgain(reason) {
		return reason
	}
	return cmp.Or(s.txn.abort(ctx), reason)
}

// positions are what a transaction commits: those of the partitions whose outputs
// are in it, and of those that have moved and have no outputs.
func positions(due, parts []*partition) (map[*partition]store.Committed, error) {
	sent := make(map[*partition]store.Committed)
	for _, p := range parts {
		if !slices.Contains(due, p) && (!p.out.empty() || !p.moved()) {
			continue
		}
		tag, err := p.tag(p.batch)
		if err != nil {
			return nil, err
		}
		sent[p] = store.Committed{Offset: p.next.Offset, LeaderEpoch: p.next.LeaderEpoch, Tag: tag}
	}
	return sent, nil
}

// notAdded says what follows from a failure to add the offsets: nil when that passes
// by itself. The partitions are put off, or the same transaction would follow at once.
func (s *session) notAdded(due []*partition, err error) error {
	putOffAll(due)
	switch {
	case endsSession(err), endsTransactions(err):
		return &again{fmt.Errorf("the offsets of a transaction were not taken: %w", err)}
	case passes(err), errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.TransactionAbortable):
		return nil
	default:
		return fmt.Errorf("%w for group %q, in a transaction: %w; %s",
			ErrCommitRefused, s.c.opts.Group, err, wayOut(err))
	}
}
