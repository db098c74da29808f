package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// RedriveConfig says which dead letters are fed back. Brokers and DeadLetterTopic
// must be set.
type RedriveConfig struct {
	// Brokers are the addresses to begin with, host:port.
	Brokers []string

	// Client holds further settings of the Kafka client, such as TLS or SASL.
	Client []kgo.Opt

	// DeadLetterTopic is read, from where the group stands to the end that it has
	// when Redrive begins.
	DeadLetterTopic string

	// Group is the consumer group that keeps how far the topic is fed back, and
	// names the transactions. Defaults to "firstseen-redrive-" and the topic's name.
	Group string
}

// Redrive feeds dead letters back, each once: to the end of the partition that its
// record stood in, with the record's key, value and headers, and with
// HeaderRedrive. A consumer handles it if no marker of its message stands, whatever
// its age, and does not dead-letter it as Unknown again; in a group that handled
// the message it is a duplicate (R7). Mend the cause first: what fails again is a
// dead letter again, for the next Redrive.
//
// Records and the group's offsets go in one Kafka transaction each, so that a
// Redrive that is cut short goes on by the next one, and repeats nothing for
// readers of committed records, which every Consumer is. One at a time has a
// group: a second one fences the first. Redrive returns how many records it fed
// back; ErrNotDeadLetter for a record that is no dead letter, and ErrConsumeRefused
// for a damaged batch, where it stops: what stands before that is fed back.
func Redrive(ctx context.Context, config *RedriveConfig) (fed int64, err error) {
	r := &redriver{topic: config.DeadLetterTopic, group: config.Group}
	r.group = cmp.Or(r.group, "firstseen-redrive-"+r.topic)
	if len(config.Brokers) == 0 || r.topic == "" {
		return 0, errors.New("adapter: Brokers and DeadLetterTopic of a redrive must be set; " +
			"give at least one host:port, and the topic of the dead letters")
	}
	opts := append([]kgo.Opt{kgo.SessionTimeout(10 * time.Second), kgo.MaxDecompressBatchBytes(mostDecompressed)},
		config.Client...)
	opts = append(opts, kgo.SeedBrokers(config.Brokers...))
	if r.beside, err = kgo.NewClient(opts...); err != nil {
		return 0, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	defer r.beside.Close()
	err = r.until(ctx)
	if away := (*again)(nil); errors.As(err, &away) {
		return 0, fmt.Errorf("%w: redrive of %q: %w; check the addresses, the settings of TLS and SASL, "+
			"and that Kafka runs", ErrBrokersAway, r.topic, err)
	}
	if err != nil || r.done() {
		return 0, err
	}
	r.session, err = kgo.NewGroupTransactSession(append(opts,
		kgo.ConsumerGroup(r.group),
		kgo.InstanceID(r.group), // one that was killed is followed at once
		kgo.TransactionalID(r.group),
		kgo.ConsumeTopics(r.topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // by which the end is known
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
	)...)
	if err != nil {
		return 0, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	defer r.session.Close()
	for !r.done() && err == nil {
		err = r.feed(ctx)
	}
	if err != nil {
		err = fmt.Errorf("adapter: redrive of %q, after %d dead letters: %w", r.topic, r.fed, err)
	}
	return r.fed, err
}

// redriver is a Redrive that runs.
type redriver struct {
	topic, group string
	beside       *kgo.Client // no member
	session      *kgo.GroupTransactSession
	log          store.ID
	at           map[int32]int64 // how far each partition is fed back
	left         map[int32]int64 // where each partition ends of which something is left
	fed          int64
}

// until finds out where the topic ends now, and which partitions are not there.
func (r *redriver) until(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	adm := admin{kadm.NewClient(r.beside)}
	if err := adm.checkTopics(within, []string{r.topic}); err != nil {
		return err
	}
	metadata, err := adm.Metadata(within, r.topic)
	if err != nil {
		return unanswered("topics", err)
	}
	r.log = store.ID(metadata.Topics[r.topic].ID)
	starts, err := listed(adm.ListStartOffsets(within, r.topic))
	if err != nil {
		return unanswered("log starts", err)
	}
	ends, err := adm.stableEnds(within, []string{r.topic})
	if err != nil {
		return err
	}
	r.left, r.at = ends[r.topic], make(map[int32]int64)
	for partition, start := range starts[r.topic] {
		r.reached(partition, start)
	}
	return r.look(within)
}

// look asks how far the group is.
func (r *redriver) look(ctx context.Context) error {
	at, err := admin{kadm.NewClient(r.beside)}.stableOffsets(ctx, r.group, r.topic)
	if err != nil {
		return unanswered("offsets of the group", err)
	}
	for partition, o := range at[r.topic] {
		r.reached(partition, o.At)
	}
	return nil
}

// reached notes that a partition is fed back up to an offset.
func (r *redriver) reached(partition int32, offset int64) {
	r.at[partition] = max(r.at[partition], offset)
	if end, ok := r.left[partition]; ok && offset >= end {
		delete(r.left, partition)
	}
}

// stableOffsets returns the offsets of a group in a topic, none for a new one. Those
// that a transaction is about to settle are waited for: of a topic that is not named
// Kafka leaves them out.
func (a admin) stableOffsets(ctx context.Context, group, topic string) (kadm.OffsetResponses, error) {
	for failures := 0; ; failures++ {
		at, err := a.FetchOffsetsForTopics(kadm.RequireStable(ctx), group, topic)
		if err == nil {
			err = at.Error()
		}
		switch {
		case err == nil, errors.Is(err, kerr.GroupIDNotFound):
			return at, nil
		case !passes(err) && !errors.Is(err, kerr.UnstableOffsetCommit) || !wait(ctx, backOff(failures)):
			return nil, err
		}
	}
}

func (r *redriver) done() bool { return len(r.left) == 0 }

// quiet finds out why a poll brought nothing: perhaps somebody else is there already,
// or the client does not tell of damage.
func (r *redriver) quiet(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	for _, partition := range slices.Sorted(maps.Keys(r.left)) {
		log := r.reader(partition)
		for at := r.at[partition]; at < r.left[partition]; {
			c := log.next(ctx, at)
			var d *damage
			if errors.As(c.err, &d) {
				return r.damaged(partition, d)
			}
			if c.err != nil || len(c.recs) > 0 {
				break // it is polled, or asked again
			}
			at = c.next
		}
	}
	return nil
}

// damaged is the error for a batch that cannot be read.
func (r *redriver) damaged(partition int32, err error) error {
	return fmt.Errorf("%w: partition %d from offset %d on: %w; mend the log, or delete the records up to the end "+
		"of that batch, and run again", ErrConsumeRefused, partition, r.at[partition], err)
}

// refused returns the errors of a poll, of which the records are fed back. While more
// of them stand before damage, the next poll brings them.
func (r *redriver) refused(ctx context.Context, polled kgo.Fetches) error {
	var errs []error
	polled.EachPartition(func(fp kgo.FetchTopicPartition) {
		switch {
		case fp.Err == nil:
		case damageOf(fp.Err) == nil:
			errs = append(errs, fmt.Errorf("partition %d: %w", fp.Partition, fp.Err))
		case len(fp.Records) == 0 || !r.reader(fp.Partition).brings(ctx, r.at[fp.Partition]):
			errs = append(errs, r.damaged(fp.Partition, fp.Err))
		}
	})
	return errors.Join(errs...)
}

func (r *redriver) reader(partition int32) *reader {
	return &reader{cl: r.beside, topic: r.topic, number: partition, log: r.log, leader: -1, most: leastBytes}
}

// feed feeds back what one poll brings.
func (r *redriver) feed(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startTimeout/10)
	defer cancel()
	polled := r.session.PollRecords(within, 500)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil && polled.NumRecords() == 0:
		return r.quiet(ctx)
	}
	if polled.NumRecords() == 0 {
		return r.refused(ctx, polled)
	}
	if err := r.session.Begin(); err != nil {
		return err
	}
	n, at := int64(0), make(map[int32]int64)
	var bad error
	failed := kgo.AbortingFirstErrPromise(r.session.Client())
	polled.EachRecord(func(rec *kgo.Record) {
		at[rec.Partition] = rec.Offset + 1
		if rec.Attrs.IsControl() || bad != nil {
			return
		}
		out, err := redrive(rec)
		if bad = err; bad == nil {
			n++
			r.session.Produce(ctx, out, failed.Promise())
		}
	})
	sent := errors.Join(bad, failed.Err())
	took, err := r.session.End(context.WithoutCancel(ctx), kgo.TransactionEndTry(sent == nil))
	if err = errors.Join(sent, err); err != nil || !took {
		return err // not taken for a rebalance: it comes again
	}
	r.fed += n
	for partition, offset := range at {
		r.reached(partition, offset)
	}
	return r.refused(ctx, polled)
}

// redrive returns the record that feeds a dead letter back.
func redrive(dead *kgo.Record) (*kgo.Record, error) {
	out := &kgo.Record{Key: dead.Key, Value: dead.Value}
	origin, isDead := "", false
	for _, h := range dead.Headers {
		original, its := strings.CutPrefix(h.Key, HeaderOriginal)
		switch {
		case h.Key == HeaderTopic:
			out.Topic = string(h.Value)
		case h.Key == HeaderOrigin:
			origin = string(h.Value)
		case h.Key == HeaderError:
			isDead = true
		case its && HeaderPrefix+original == HeaderRedrive: // of a redrive before
		case its:
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: HeaderPrefix + original, Value: h.Value})
		case !strings.HasPrefix(h.Key, HeaderPrefix):
			out.Headers = append(out.Headers, h)
		}
	}
	at, ok := parseOrigin(origin)
	if !ok || !isDead || out.Topic == "" || out.Topic == dead.Topic {
		return nil, fmt.Errorf("%w: %s/%d@%d; give a topic that holds nothing else",
			ErrNotDeadLetter, dead.Topic, dead.Partition, dead.Offset)
	}
	out.Partition = at.Partition
	out.Headers = append(out.Headers, kgo.RecordHeader{Key: HeaderRedrive, Value: []byte(origin)})
	return out, nil
}
