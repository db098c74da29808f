package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerConfig says what a Producer is made of. Brokers must be set.
type ProducerConfig struct {
	// Brokers are the addresses to begin with, host:port.
	Brokers []string

	// Client holds further settings of the Kafka client, such as TLS, SASL or
	// StrictOrderOptions(). They come after ProducerOptions(), and count.
	Client []kgo.Opt

	// DeadLetter receives the records that failed, in bursts: all that have
	// failed since its last call, in the order in which they did. One burst at a
	// time, on a goroutine of the Producer's. It may take its time, and may send
	// with its ctx: such records wait for no room, and do not come back to it
	// when they fail. ctx ends when that of Close does. While 10,000 records
	// wait for it, others who send wait, too. Nil: only the sender is told.
	DeadLetter func(ctx context.Context, failed []FailedRecord)

	// IDHeader is the header that holds a message's ID, as the consumer's
	// Header(IDHeader) reads it. Defaults to "message-id".
	IDHeader string
}

// A FailedRecord is a record that could not be sent, and why.
type FailedRecord struct {
	Record *kgo.Record
	Err    error
}

// A Producer sends records at least once: each carries a message ID that stays
// the same however often it is sent, so that a consumer with a store handles
// the message once. Kafka's own idempotence covers the attempts of one client
// at one partition; what it does not cover, a restart, another producer,
// another partition, is what the ID is for.
//
// Its methods may be called from any goroutine. It lives until Close.
type Producer struct {
	cl       *kgo.Client
	end      func() // closes cl, once
	idHeader string
	given    func(ctx context.Context, failed []FailedRecord)
	delivery time.Duration // how long a record may take; 0: for ever

	work context.Context // of DeadLetter
	stop context.CancelFunc
	ran  sync.WaitGroup

	lacks *lacks

	mu      sync.Mutex // guards what is below; held over no call
	change  *sync.Cond // of anything below
	open    int        // records taken and not done with
	failed  []FailedRecord
	told    []outcome // of SendAsync
	closing bool
	done    bool // nothing comes any more: the goroutines end
}

// outcome is what the function given to SendAsync is to be told.
type outcome struct {
	promise func(error)
	err     error
}

// maxFailed is how many failed records may wait for DeadLetter.
const maxFailed = 10_000

// NewProducer returns a Producer. It connects when it sends first.
func NewProducer(cfg *ProducerConfig) (*Producer, error) {
	if cfg == nil || len(cfg.Brokers) == 0 {
		return nil, errors.New("adapter: Brokers is empty; give at least one host:port")
	}
	opts := append(ProducerOptions(), cfg.Client...)
	opts = append(opts, kgo.SeedBrokers(cfg.Brokers...))
	delivery, err := deliveryTimeout(opts)
	if err != nil {
		return nil, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	cl, err := kgo.NewClient(append(opts, kgo.RecordDeliveryTimeout(0))...)
	if err != nil {
		return nil, fmt.Errorf("adapter: the Kafka client cannot be made: %w", err)
	}
	p := &Producer{
		cl: cl, end: sync.OnceFunc(cl.Close), lacks: newLacks(cl),
		idHeader: cmp.Or(cfg.IDHeader, "message-id"), given: cfg.DeadLetter, delivery: delivery,
	}
	p.change = sync.NewCond(&p.mu)
	p.work, p.stop = context.WithCancel(context.WithValue(context.Background(), inDeadLetter{}, p))
	p.ran.Go(p.tell)
	p.ran.Go(p.giveAway)
	return p, nil
}

// inDeadLetter marks the context of DeadLetter; its value is the Producer.
type inDeadLetter struct{}

// Send sends a record and waits until Kafka has acknowledged it. An error is
// final: see ClassOf. The record may be sent again, and keeps its ID.
//
// A record without an ID in the header gets one, a random UUID, in
// rec.Headers. ctx ends the waiting, not what is on its way: the record may be
// in the log all the same.
func (p *Producer) Send(ctx context.Context, rec *kgo.Record) error {
	done := make(chan error, 1)
	p.send(ctx, rec, func(err error) { done <- err })
	return p.why(rec, <-done)
}

// SendAsync sends a record and returns at once, unless 10,000 records are on
// their way, or wait for DeadLetter. promise is told how it ended, what Send
// would have returned; nil for nobody. It is called on a goroutine of the
// Producer's, for one record at a time, and may send. A Producer that is closed
// calls it before SendAsync returns.
func (p *Producer) SendAsync(ctx context.Context, rec *kgo.Record, promise func(error)) {
	if promise == nil {
		promise = func(error) {}
	}
	p.send(ctx, rec, func(err error) {
		if !p.tellLater(outcome{func(err error) { promise(p.why(rec, err)) }, err}) {
			promise(err)
		}
	})
}

// tellLater leaves an outcome to tell. It returns false when that has ended.
func (p *Producer) tellLater(o outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return false
	}
	p.open++
	p.told = append(p.told, o)
	p.change.Broadcast()
	return true
}

// send sends a record; ended is called once with the result, and does not block.
func (p *Producer) send(ctx context.Context, rec *kgo.Record, ended func(error)) {
	own := ctx.Value(inDeadLetter{}) == p
	if err := p.enter(ctx, own); err != nil {
		ended(err)
		return
	}
	if err := stampID(rec, p.idHeader); err != nil {
		p.leave(rec, err, own)
		ended(err)
		return
	}
	within, cancel := ctx, func() {}
	if p.delivery > 0 {
		within, cancel = context.WithTimeout(ctx, p.delivery)
	}
	givenContext := rec.Context
	p.cl.Produce(within, rec, func(rec *kgo.Record, err error) {
		rec.Context = givenContext // the client has put ours there, which ends: a copy would not go
		if err != nil && ctx.Err() == nil && errors.Is(err, within.Err()) {
			err = fmt.Errorf("%w (%v)", kgo.ErrRecordTimeout, p.delivery)
		}
		cancel()
		ended(err)
		p.leave(rec, err, own)
	})
}

// enter takes a record in. It waits while too many failed ones wait.
func (p *Producer) enter(ctx context.Context, own bool) error {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.change.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !own && !p.closing && len(p.failed) >= maxFailed && ctx.Err() == nil {
		p.change.Wait()
	}
	switch {
	case p.done, p.closing && !own:
		return fmt.Errorf("%w; make another one", ErrProducerClosed)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	p.open++
	return nil
}

// leave is the end of a record that was taken in; when it failed, DeadLetter is
// to have it first.
func (p *Producer) leave(rec *kgo.Record, err error, own bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.given != nil && !own {
		p.failed = append(p.failed, FailedRecord{rec, err})
	} else {
		p.open--
	}
	p.change.Broadcast()
}

// tell tells those who sent asynchronously. The client's own goroutine is not
// held up by them: what they wait for, it brings.
func (p *Producer) tell() {
	for {
		told, ok := drain(p, &p.told)
		if !ok {
			return
		}
		for _, o := range told {
			o.promise(o.err)
		}
		p.finished(len(told))
	}
}

// giveAway hands failed records to DeadLetter.
func (p *Producer) giveAway() {
	for {
		failed, ok := drain(p, &p.failed)
		if !ok {
			return
		}
		for i := range failed {
			failed[i].Err = p.why(failed[i].Record, failed[i].Err)
		}
		p.given(p.work, failed)
		p.finished(len(failed))
	}
}

// drain waits for something in a queue and takes all of it.
func drain[T any](p *Producer, queue *[]T) (all []T, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(*queue) == 0 && !p.done {
		p.change.Wait()
	}
	all, *queue = *queue, nil
	p.change.Broadcast()
	return all, len(all) > 0
}

func (p *Producer) finished(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open -= n
	p.change.Broadcast()
}

// Close ends the Producer: nothing is taken any more, what was taken is sent,
// and those who wait are told. When ctx ends before that, what is not sent fails
// with kgo.ErrClientClosed, and Close returns the error of ctx; DeadLetter has
// all that failed, however it ends. It may be called twice.
func (p *Producer) Close(ctx context.Context) error {
	var cut error
	var watch sync.WaitGroup
	all := make(chan struct{})
	watch.Go(func() {
		select {
		case <-all:
		case <-ctx.Done():
			cut = ctx.Err()
			p.stop()
			p.end()
		}
	})
	p.mu.Lock()
	p.closing = true
	p.change.Broadcast()
	for p.open > 0 {
		p.change.Wait()
	}
	p.done = true
	p.change.Broadcast()
	p.mu.Unlock()
	close(all)
	watch.Wait()
	p.ran.Wait()
	p.stop()
	p.end()
	return cut
}
