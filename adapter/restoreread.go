package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

const (
	// chunkBytes is what the records of one read may take in memory, about: two
	// reads of 12 partitions are there at once, and what they leave behind.
	chunkBytes = 1 << 20
	// recordBytes is what a record takes beside its key, value and headers.
	recordBytes = 320
	// leastBytes is the least that is asked for.
	leastBytes = 16 << 10
	// readPatience is how long a read may bring nothing below the offset that the
	// group had committed.
	readPatience = 30 * time.Second
)

// A reader reads one partition of a log beside the group, with a client of its
// own, as a read_committed reader. It belongs to one goroutine.
type reader struct {
	cl     *kgo.Client
	topic  string
	number int32
	log    store.ID
	leader int32           // -1: not known
	most   int32           // bytes to ask for
	each   int             // what a record took in memory at the last read; 0: not known
	stable int64           // the last stable offset, in the last answer
	high   int64           // the high watermark there: what lies between is hidden by open transactions
	held   func(why error) // told what it waits for, nil: no longer; nil: such a wait is an error
}

// A chunk is what a read brought.
type chunk struct {
	recs       []*kgo.Record
	from, next int64 // the offsets of the read
	bytes      int   // as Kafka sent them
	hole       bool  // retention deleted what was there
	err        error
}

// next reads from an offset on. It waits for brokers that are away, for transactions to
// end if somebody is told, and changes leaders; its error is one that another session
// follows on, or final.
func (r *reader) next(ctx context.Context, from int64) chunk {
	begun, waits := time.Now(), false
	defer func() {
		if waits {
			r.held(nil)
		}
	}()
	for failures := 0; ; failures++ {
		recs, next, bytes, err := r.ask(ctx, from)
		switch {
		case ctx.Err() != nil:
			return chunk{err: ctx.Err()}
		case err == nil && (len(recs) > 0 || next > from):
			r.adapt(recs, bytes)
			return chunk{recs: recs, from: from, next: next, bytes: bytes}
		case errors.Is(err, kerr.OffsetOutOfRange):
			return r.hole(ctx, from)
		case errors.Is(err, kerr.UnknownTopicID), err != nil && !passes(err):
			return chunk{err: unanswered("records", err)}
		case err == nil && r.stable > from:
			if time.Since(begun) > nothingPatience {
				return chunk{err: unanswered("records", r.nothing(from))}
			}
		case err == nil && time.Since(begun) > readPatience && r.held != nil && r.high > from:
			r.held(r.absent(from))
			begun, waits = time.Now(), true
		case err == nil && time.Since(begun) > readPatience:
			return chunk{err: &again{r.absent(from)}}
		}
		if err != nil {
			r.leader = -1
		}
		if !wait(ctx, backOff(failures)) {
			return chunk{err: ctx.Err()}
		}
	}
}

// absent is why a read brings nothing below the offset that it is to reach.
func (r *reader) absent(from int64) error {
	if r.high > from {
		return fmt.Errorf("%s/%d cannot be read from offset %d to %d yet: a transaction is open there; it ends within "+
			"the transaction.timeout of its producer (60s by default), or else it hangs: "+
			"kafka-transactions.sh find-hanging finds it, and abort ends it", r.topic, r.number, from, r.high)
	}
	return fmt.Errorf("%s/%d holds nothing at %d, though it is to be read further", r.topic, r.number, from)
}

func (r *reader) ask(ctx context.Context, from int64) (recs []*kgo.Record, next int64, bytes int, err error) {
	if r.leader < 0 {
		metadata, err := kadm.NewClient(r.cl).Metadata(ctx, r.topic)
		if err != nil {
			return nil, 0, 0, err
		}
		detail := metadata.Topics[r.topic]
		switch part := detail.Partitions[r.number]; {
		case detail.Err != nil:
			return nil, 0, 0, detail.Err
		case store.ID(detail.ID) != r.log:
			return nil, 0, 0, kerr.UnknownTopicID
		case part.Err != nil:
			return nil, 0, 0, part.Err
		default:
			r.leader = part.Leader
		}
	}
	return r.fetch(ctx, from)
}

// hole says where the log goes on that does not have an offset any more.
func (r *reader) hole(ctx context.Context, from int64) chunk {
	starts, err := listed(kadm.NewClient(r.cl).ListStartOffsets(ctx, r.topic))
	if err != nil {
		return chunk{err: unanswered("log starts", err)}
	}
	if start := starts[r.topic][r.number]; start > from {
		return chunk{from: from, next: start, hole: true}
	}
	return chunk{err: &again{fmt.Errorf("%s/%d at %d: %w", r.topic, r.number, from, kerr.OffsetOutOfRange)}}
}

// adapt asks for more or less, so that what a read brings takes about chunkBytes.
func (r *reader) adapt(recs []*kgo.Record, bytes int) {
	size := 0
	for _, rec := range recs {
		size += recordBytes + len(rec.Key) + len(rec.Value)
		for i := range rec.Headers {
			size += recordBytes/4 + len(rec.Headers[i].Key) + len(rec.Headers[i].Value)
		}
	}
	if len(recs) > 0 {
		r.each = size / len(recs)
	}
	switch most := int64(r.most); {
	case size > chunkBytes:
		r.most = int32(max(leastBytes, most*chunkBytes/int64(size)))
	case size < chunkBytes/2 && int64(bytes) > most/2:
		r.most = int32(min(readBytes, most*2))
	}
}

// ahead reads a range, one read ahead of whoever takes them. Ranges that a policy
// skipped are passed over, as holes. The channel closes after the last read, or
// the first with an error; whoever stops before takes what is left after it has
// cancelled the context.
func (r *reader) ahead(ctx context.Context, from, to int64, skips []offsetRange) <-chan chunk {
	chunks := make(chan chunk)
	go func() {
		defer close(chunks)
		for at := from; at < to; {
			end := to
			c := chunk{}
			for _, s := range skips {
				if s.From <= at && at < s.To {
					c = chunk{from: at, next: min(s.To, to), hole: true}
				} else if at < s.From {
					end = min(end, s.From)
				}
			}
			if !c.hole {
				c = r.next(ctx, at)
				c.recs, c.next = below(c.recs, end), min(c.next, end)
			}
			select {
			case chunks <- c:
			case <-ctx.Done():
				return
			}
			if c.err != nil {
				return
			}
			at = c.next
		}
	}()
	return chunks
}
