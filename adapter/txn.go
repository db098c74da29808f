package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/firstseen/firstseen/store"
)

// txnTimeout is after which time Kafka aborts a transaction by itself: its own
// default. It begins with the first output.
const txnTimeout = 60 * time.Second

// transactions are those of a session: the client that has the transactional ID.
// It is another one than the member of the group, for it has to have the ID before
// the group's offsets are read: taking the ID over is what ends a transaction that
// an earlier session has left, one way or the other (R12).
//
// The loop alone uses it, and the callbacks of revoking, which wait for the loop.
type transactions struct {
	cl *kgo.Client
	id string
	v2 bool // KIP-890: the offsets join the transaction by themselves

	number int64 // of the producer, and its epoch, when the transaction began
	epoch  int16

	since time.Time // when the next one began to grow; zero when it has nothing; session.mu guards it
}

// transactionalID is made of the group and the store, so that of two processes
// with one store Kafka lets only the later one go on. The store's ID has a fixed
// length: no two pairs share one.
func transactionalID(group string, st store.ID) string {
	return fmt.Sprintf("firstseen-%s-%s", group, st)
}

// beginTransactions takes the transactional ID over, before the session joins the
// group. Without Options.Transactional it does nothing.
func (s *session) beginTransactions(ctx context.Context) error {
	if !s.c.opts.Transactional {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	t := &transactions{id: transactionalID(s.c.opts.Group, s.c.st.ID())}
	version, caps, err := s.c.transactionVersion(ctx)
	if err != nil {
		return unanswered("transaction version", err)
	}
	owned := []kgo.Opt{kgo.TransactionalID(t.id), kgo.ProducerBatchMaxBytesFn(s.topics.maxBatch)}
	if t.v2 = version >= 2; !t.v2 {
		owned = append(owned, kgo.MaxVersions(caps))
	}
	if t.cl, err = kgo.NewClient(s.c.opts.producerOptions(owned...)...); err != nil {
		return fmt.Errorf("adapter: the Kafka client for transactions cannot be made: %w", err)
	}
	if own, ok := t.cl.OptValue(kgo.MaxVersions).(*kversion.Versions); ok && own != nil {
		newest, _ := own.LookupMaxKeyVersion(int16(kmsg.TxnOffsetCommit))
		t.v2 = t.v2 && newest >= 5 // or the client does not use it
	}
	if !t.v2 {
		s.c.opts.Logger.Warn("transactions are of a version before KIP-890: a request that is late can tear one, "+
			"so that an output is lost or comes twice; run brokers of Kafka 4.0 or later, "+
			"and raise their feature transaction.version to 2", "transaction_version", version)
	}
	if _, _, err = t.cl.ProducerID(ctx); err == nil {
		s.txn = t
		return nil
	}
	t.close()
	if passes(err) || endsTransactions(err) {
		return &again{fmt.Errorf("the transactional ID %q was not given: %w", t.id, err)}
	}
	return fmt.Errorf("%w: ID %q: %w; %s", ErrTransactionRefused, t.id, err, wayOut(err))
}

// close lets go of the ID. A transaction that is open is aborted by who takes the
// ID next, or by its time-out.
func (t *transactions) close() {
	if t != nil && t.cl != nil {
		t.cl.Close()
	}
}

// producerOptions returns the settings of the client for transactions.
func (o *Options) producerOptions(owned ...kgo.Opt) []kgo.Opt {
	opts := []kgo.Opt{kgo.ProducerLinger(0), kgo.TransactionTimeout(txnTimeout)}
	opts = append(opts, o.Client...)
	opts = append(opts, kgo.SeedBrokers(o.Brokers...))
	opts = append(opts, sendOptions()...)
	return append(opts, owned...)
}

// deliverTimeout is how long outputs and offsets may take, for which a rebalance
// waits.
func (o *Options) deliverTimeout() time.Duration {
	if o.Transactional {
		return txnTimeout + commitTimeout
	}
	return sendPatience + commitTimeout
}

// transactionVersion asks for the cluster's transaction.version: 0 when it names
// none. With it come the versions of requests that a client may use there when it
// is below 2: the versions of offsets in transactions that go with it.
func (c *Consumer) transactionVersion(ctx context.Context) (version int16, caps *kversion.Versions, err error) {
	err = c.withAdmin(ctx, func(a admin) error {
		brokers, err := a.ApiVersions(ctx)
		if err != nil {
			return err
		}
		version = -1
		for _, broker := range brokers {
			if broker.Err != nil {
				err = broker.Err
				continue
			}
			its := int16(0)
			for _, f := range broker.Raw().FinalizedFeatures {
				if f.Name == "transaction.version" {
					its = f.MaxVersionLevel
				}
			}
			if version < 0 || its < version {
				version = its
			}
		}
		return err
	})
	if version >= 0 { // a broker that does not answer is no reason to wait
		err = nil
	}
	caps = new(kversion.Versions)
	kversion.Tip().EachMaxKeyVersion(caps.SetMaxKeyVersion)
	caps.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	return max(version, 0), caps, err
}

// endsTransactions tells whether the client for transactions can send nothing any
// more: another one has its ID, or Kafka has given it up. A session takes it over
// anew.
func endsTransactions(err error) bool {
	for _, target := range []error{
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping,
		kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber, kerr.InvalidTxnState,
		kerr.TransactionCoordinatorFenced, kgo.ErrClientClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// begin begins a transaction, with an ID that is good: loading one anew could wait
// without an end otherwise.
func (t *transactions) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var err error
	if t.number, t.epoch, err = t.cl.ProducerID(ctx); err == nil {
		err = t.cl.BeginTransaction()
	}
	if err != nil {
		return &again{fmt.Errorf("a transaction was not begun: %w", err)}
	}
	return nil
}

// end commits the transaction. done is false when Kafka wants it to be aborted; an
// error says that it is not known what Kafka has made of it.
//
// A client that had to load its ID anew since the beginning has aborted with that
// what it had sent before: such a transaction is not whole.
func (t *transactions) end(ctx context.Context, due []*partition) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	number, epoch, err := t.cl.ProducerID(ctx)
	if err != nil || number != t.number || epoch != t.epoch {
		return false, nil
	}
	for _, p := range due {
		if !t.knows(ctx, p.out.all()) {
			return false, nil
		}
	}
	err = t.cl.EndTransaction(ctx, kgo.TryCommit)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, kerr.OperationNotAttempted), errors.Is(err, kerr.TransactionAbortable):
		return false, nil
	default:
		return false, &again{fmt.Errorf("it is not known whether a transaction was committed: %w", err)}
	}
}

// abort ends a transaction without effect. When that fails, what became of it is
// for the next session to find out.
func (t *transactions) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	err := t.cl.AbortBufferedRecords(ctx)
	if err == nil {
		err = t.cl.EndTransaction(ctx, kgo.TryAbort)
	}
	if err != nil {
		return &again{fmt.Errorf("a transaction was not aborted: %w", err)}
	}
	return nil
}
