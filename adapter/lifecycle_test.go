package adapter

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

func TestNew_ReportsEverything(t *testing.T) {
	_, err := New(nil, nil, nil)
	require.Error(t, err)
	for _, what := range []string{"the store is nil", "the handler is nil", "Brokers", "Group", "Topics", "ID extractor"} {
		require.ErrorContains(t, err, what)
	}
	_, err = New(nil, nil, &Options{
		Topics: []string{"b", "a", "b", ""}, BatchTimeout: -1, MaxPollRecords: -1, ShutdownTimeout: -1,
		MissingID: 9, Start: 9, ID: Header(""), Window: window.Of(1),
	})
	for _, what := range []string{
		"empty name", "twice", "BatchTimeout", "MaxPollRecords", "ShutdownTimeout",
		"MissingID", "Start", "header", "1ns",
	} {
		require.ErrorContains(t, err, what)
	}
}

// New refuses the options of the client that it owns, all at once, and lets the
// others pass. It starts nothing.
func TestNew_ClientOptions(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	with := func(opts ...kgo.Opt) error {
		_, err := New(st, shout, &Options{
			Brokers: []string{"localhost:1"}, Group: group, Topics: []string{topic}, ID: Key(), Client: opts,
		})
		return err
	}
	require.NoError(t, with())
	require.NoError(t, with(kgo.ClientID("x"), kgo.SessionTimeout(time.Minute), kgo.ProducerLinger(time.Second),
		kgo.DialTimeout(time.Second), kgo.DisableAutoCommit(), kgo.MaxConcurrentFetches(7)))

	nothing := func(context.Context, *kgo.Client, map[string][]int32) {}
	for name, opt := range map[string]kgo.Opt{
		"SeedBrokers":               kgo.SeedBrokers("localhost:2"),
		"WithContext":               kgo.WithContext(t.Context()),
		"ConsumerGroup":             kgo.ConsumerGroup("other"),
		"ConsumeTopics":             kgo.ConsumeTopics("more"),
		"ConsumeRegex":              kgo.ConsumeRegex(),
		"InstanceID":                kgo.InstanceID("one"),
		"Balancers":                 kgo.Balancers(kgo.CooperativeStickyBalancer()),
		"GroupProtocol":             kgo.GroupProtocol("other"),
		"RebalanceTimeout":          kgo.RebalanceTimeout(time.Minute),
		"OnPartitionsAssigned":      kgo.OnPartitionsAssigned(nothing),
		"OnPartitionsRevoked":       kgo.OnPartitionsRevoked(nothing),
		"OnPartitionsLost":          kgo.OnPartitionsLost(nothing),
		"AutoCommitInterval":        kgo.AutoCommitInterval(time.Second),
		"ConsumeStartOffset":        kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()),
		"ConsumeResetOffset":        kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		"FetchIsolationLevel":       kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
		"KeepControlRecords":        kgo.KeepControlRecords(),
		"KeepRetryableFetchErrors":  kgo.KeepRetryableFetchErrors(),
		"TransactionalID":           kgo.TransactionalID("tx"),
		"RecordPartitioner":         kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		"RecordDeliveryTimeout":     kgo.RecordDeliveryTimeout(time.Minute),
		"MaxBufferedRecords":        kgo.MaxBufferedRecords(7),
		"ProducerBatchMaxBytes":     kgo.ProducerBatchMaxBytes(5000),
		"DefaultProduceTopicAlways": kgo.DefaultProduceTopicAlways(),
	} {
		t.Run(name, func(t *testing.T) {
			opts := []kgo.Opt{opt}
			if name == "DefaultProduceTopicAlways" {
				opts = append(opts, kgo.DefaultProduceTopic("x"))
			}
			err := with(opts...)
			require.ErrorContains(t, err, "set what the adapter sets: ")
			require.ErrorContains(t, err, name+";")
		})
	}
	require.ErrorContains(t, with(kgo.ConsumerGroup("x"), kgo.InstanceID("y")), "ConsumerGroup, InstanceID")

	// kgo itself refuses these; what is owned is named all the same.
	err = with(kgo.GreedyAutoCommit(), kgo.InstanceID("y"), kgo.MaxConcurrentFetches(-5))
	require.ErrorContains(t, err, "cannot be used")
	require.ErrorContains(t, err, "InstanceID")
}

func TestRun_InUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, stop := w.start(w.calls.handle)
		w.until(func() bool { return w.inUse() })
		require.ErrorIs(t, w.run(), ErrInUse)
		require.NoError(t, stop())
		require.NoError(t, w.run())
	})
}

func (w *world) inUse() bool {
	_, used := running.Load(use{w.st, group})
	return used
}

func TestRun_BrokersAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Brokers = []string{"localhost:9999", "localhost:9998"}
		begun := time.Now()
		err := w.run()
		require.ErrorIs(t, err, ErrBrokersAway)
		require.ErrorContains(t, err, "localhost:9999, localhost:9998")
		require.WithinDuration(t, begun.Add(startTimeout), time.Now(), 15*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, w.consumer(shout).Run(ctx), "the context ended before")
	})
}

// A topic that there is not is named, soon: the brokers are not away.
func TestRun_UnknownTopic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, change := range []func(*Options){
			func(o *Options) { o.Topics = []string{topic, "nowhere", "nothing"} },
			func(o *Options) { o.DeadLetterTopic = "nowhere" },
			func(o *Options) { o.DuplicatesTopic = "nowhere" },
		} {
			given := w.opts
			change(&w.opts)
			begun := time.Now()
			err := w.run()
			require.ErrorIs(t, err, ErrUnknownTopic)
			require.NotErrorIs(t, err, ErrBrokersAway)
			require.ErrorContains(t, err, `"nowhere"; create it, or correct its name`)
			require.Equal(t, len(w.opts.Topics) > 1, strings.Contains(err.Error(), "nothing"))
			require.Less(t, time.Since(begun), startTimeout/2, "a pause may follow topicPatience")
			w.opts = given
		}
	})
}

// A topic that a broker has not heard of yet is waited for.
func TestRun_TopicIsNew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Topics = []string{"new"}
		_, stop := w.start(w.calls.handle)
		time.Sleep(time.Second)
		_, err := kadm.NewClient(w.kafka.Client(t)).CreateTopic(t.Context(), 1, 1, nil, "new")
		require.NoError(t, err)
		w.kafka.Produce(t, &kgo.Record{Topic: "new", Headers: []kgo.RecordHeader{{Key: "id", Value: []byte("a")}}})
		w.until(func() bool { return len(w.calls.count()) == 1 })
		require.NoError(t, stop())
	})
}

// A topic that is deleted for good while it is consumed ends Run.
func TestRun_TopicDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a")
		cl := w.kafka.Client(t)
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			_, err := kadm.NewClient(cl).DeleteTopic(ctx, topic)
			require.NoError(t, err)
			return w.calls.handle(ctx, tx, rec)
		})
		c.opts.UntilEnd = false
		require.ErrorIs(t, c.Run(t.Context()), ErrUnknownTopic)
		require.Equal(t, []string{"a"}, w.calls.order)
	})
}

func TestRun_EmptyTopic(t *testing.T) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		require.NoError(t, w.run())
		require.Empty(t, w.calls.order)
		require.Equal(t, int64(0), w.committedAt(2))
	})
}

// The end of the context finishes the record in hand, commits, and returns nil.
func TestRun_EndOfContext(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 10)...)
		ctx, cancel := context.WithCancel(t.Context())
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 4 {
				cancel()
				time.Sleep(time.Second)
				require.NoError(t, ctx.Err())
			}
			return w.calls.handle(ctx, tx, rec)
		})
		require.NoError(t, c.Run(ctx))
		require.Equal(t, ids("a", 5), w.calls.order)
		require.Equal(t, int64(5), w.committedAt(0))
		require.NoError(t, w.run())
		require.Equal(t, ids("a", 10), w.calls.order)
	})
}

// A handler that does not come to an end at the end of the context is told; its
// record is as if never begun.
func TestRun_ShutdownTimeout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "c")
		ctx, cancel := context.WithCancel(t.Context())
		var begun time.Time
		c := w.consumer(func(hctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 1 {
				begun = time.Now()
				cancel()
				<-hctx.Done()
				return hctx.Err()
			}
			return w.calls.handle(hctx, tx, rec)
		})
		require.NoError(t, c.Run(ctx))
		require.WithinDuration(t, begun.Add(30*time.Second), time.Now(), 5*time.Second)
		require.Equal(t, int64(1), w.position(0))
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
	})
}

// Brokers that are away for an hour are waited for.
func TestRun_RidesOutAnOutage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 5)...)
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return w.committedAt(0) == 5 })
		back := time.Now().Add(time.Hour)
		w.kafka.Fake.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.Fake.KeepControl()
			if time.Now().Before(back) {
				return nil, errors.New("connection is cut"), true
			}
			return nil, nil, false
		})
		time.Sleep(time.Hour + time.Minute)
		w.produce(0, ids("b", 5)...)
		w.until(func() bool { return w.committedAt(0) == 10 })
		require.NoError(t, stop())
		require.Equal(t, append(ids("a", 5), ids("b", 5)...), w.calls.order)
		require.Positive(t, c.Stats().Sessions)
	})
}

// A store that stops ends Run in the store's own error, even when nothing comes.
func TestRun_StoreStops(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, stop := w.start(w.calls.handle)
		w.until(func() bool { return w.inUse() })
		time.Sleep(time.Minute)
		require.NoError(t, w.st.Close())
		w.until(func() bool { return !w.inUse() })
		require.ErrorIs(t, stop(), store.ErrClosed)
		w.open()
	})
}

// A06: the answer to a commit is lost. The offset never goes back, and nothing
// is handled twice.
func TestFault_A06_CommitAnswerLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 3
		w.produce(0, ids("a", 10)...)
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut, Topic: topic, Count: 2,
		})
		require.NoError(t, w.run())
		require.Equal(t, int64(10), w.committedAt(0))
		require.Equal(t, ids("a", 10), w.calls.order)
		w.reopen()
		w.produce(0, "b")
		require.NoError(t, w.run())
		require.Equal(t, append(ids("a", 10), "b"), w.calls.order)
	})
}

// What Kafka refuses for good ends Run, and is named.
func TestRun_Refused(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault kfake.Fault
		want  error
	}{
		{"commit", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.TopicAuthorizationFailed, Topic: topic},
			ErrCommitRefused},
		{"join", kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.GroupAuthorizationFailed, TopLevel: true},
			ErrConsumeRefused},
		{"fetch", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Topic: topic},
			ErrConsumeRefused},
		{"list", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetForLeaderEpoch}, Err: kerr.TopicAuthorizationFailed, Topic: topic},
			ErrConsumeRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.produce(0, "a")
				require.NoError(t, w.run())
				w.produce(0, "b")
				test.fault.Count = -1
				fault := w.kafka.Fake.Fault(test.fault)
				err := w.run()
				require.ErrorIs(t, err, test.want)
				require.ErrorIs(t, err, test.fault.Err)
				fault.Remove()
				require.NoError(t, w.run())
				require.Equal(t, []string{"a", "b"}, w.calls.order)
			})
		})
	}
}

// On a real network, nothing is left running.
func TestRun_LeavesNothingBehind(t *testing.T) {
	kafka := kafkatest.NewFake(t, kfake.SeedTopics(3, topic), kfake.SeedTopics(3, outTopic))
	kafka.Produce(t, record(0, "a"), record(1, "b"), record(2, "c"), record(0, "a"))
	st, err := store.Open(t.TempDir(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, st.Close()) }()
	ignore := goleak.IgnoreCurrent()
	for _, untilEnd := range []bool{true, false} {
		limit := time.Second
		if untilEnd {
			limit = time.Minute
		}
		c, err := New(st, shout, &Options{
			Brokers: kafka.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"),
			UntilEnd: untilEnd, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		require.NoError(t, c.Run(ctx))
		cancel()
	}
	goleak.VerifyNone(t, ignore, // the fake broker takes its time to see that a client is gone
		goleak.IgnoreTopFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreTopFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"))
	require.Len(t, kafka.ReadAll(t, outTopic), 3)
}

// D09: IDs of another kind would not meet their markers: another extractor is
// refused, and so is another window in this release.
func TestFault_D09_OtherSettings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a")
		require.NoError(t, w.run())
		w.opts.ID = Key()
		require.ErrorIs(t, w.run(), store.ErrSettings)
		w.opts.ID, w.opts.Window = Header("id"), window.Of(time.Minute) // it would forget
		err := w.run()
		require.ErrorIs(t, err, store.ErrSettings)
		require.ErrorContains(t, err, topic)
		w.opts.Window = window.Hour
		require.NoError(t, w.run())
	})
}
