package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// relayFlags are the flags of relay as they were given.
type relayFlags struct {
	brokers  []string
	from     []string
	to       string
	group    string
	ids      []string
	window   string
	dir      string
	untilEnd bool
	plain    bool // at least once, without transactions
	settings []string
	policies policyFlags
	members  groupFlags
	scope    scopeFlags
}

func newRelay() *cobra.Command {
	var f relayFlags
	cmd := &cobra.Command{
		Use: "relay --brokers H:P[,..] --from TOPIC --to TOPIC --group NAME --id SPEC [--id SPEC ..] " +
			"--window DUR --store DIR",
		Short: "Write a deduplicated copy of a topic",
		Long: "Write every message of a topic once to another one: partition, key, value, headers\n" +
			"and time stay. The output topic is created when it is missing. SIGINT or SIGTERM end\n" +
			"it: the batch in hand is finished and committed. Where no broker answers at its start it\n" +
			"exits with 4, to be started again; once it runs it waits for them as long as it takes.\n\n" +
			"The copies and the group's offset go out in one Kafka transaction, so that a reader\n" +
			"with isolation.level=read_committed sees each message exactly once, whatever crashes.\n\n" +
			"With --id content, for messages that carry no ID, two of the same key and value are one.\n\n" +
			scopeHelp + "\n\n" +
			"Settings of the Kafka client, each by -X key=value:\n" + settingsHelp(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return relay(cmd.Context(), cmd.ErrOrStderr(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.brokers, "brokers", nil, "addresses of brokers to begin with, host:port")
	flags.StringSliceVar(&f.from, "from", nil, "topic to read; several go with --repartition")
	flags.StringVar(&f.to, "to", "", "topic to write")
	flags.StringVar(&f.group, "group", "", "consumer group")
	flags.StringArrayVar(&f.ids, "id", nil,
		"what names a message: header:NAME, key, json:/pointer, or content; several make one ID in that order")
	flags.StringVar(&f.window, "window", "", "how long an ID is remembered: 90m, 24h, 7d, 4w, forever")
	flags.StringVar(&f.dir, "store", "", "directory of the store, created when it is missing")
	flags.BoolVar(&f.plain, "at-least-once", false,
		"send without transactions: sooner to be seen, and once more after a crash")
	f.policies.register(cmd)
	f.members.register(cmd)
	f.scope.register(cmd)
	flags.BoolVar(&f.untilEnd, "until-end", false, "end at the end that the topic has now")
	flags.StringArrayVarP(&f.settings, "setting", "X", nil, "a setting of the Kafka client, key=value")
	return cmd
}

// options returns what the flags ask for, or everything that is wrong with them.
func (f *relayFlags) options() (*adapter.Options, error) {
	o := &adapter.Options{
		Brokers: f.brokers, Group: f.group, Topics: f.from, UntilEnd: f.untilEnd,
		Transactional: !f.plain,
	}
	var errs []error
	for _, required := range []struct{ name, value, give string }{
		{"brokers", strings.Join(f.brokers, ","), "--brokers HOST:PORT"},
		{"from", strings.Join(f.from, ","), "--from TOPIC"},
		{"to", f.to, "--to TOPIC"},
		{"group", f.group, "--group NAME"},
		{"id", strings.Join(f.ids, " "), "--id header:NAME, --id key, --id json:/pointer or --id content"},
		{"window", f.window, "--window DURATION, such as 24h or 7d"},
		{"store", f.dir, "--store DIR"},
	} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("--%s is missing; give %s", required.name, required.give))
		}
	}
	if f.to != "" && slices.Contains(f.from, f.to) {
		errs = append(errs, fmt.Errorf(
			"--to %s is the topic that is read; give the copy a topic of its own", f.to))
	}
	var err error
	if len(f.ids) > 0 {
		o.ID, err = adapter.ParseSpec(f.ids...)
		errs = append(errs, err)
	}
	if f.window != "" {
		o.Window, err = window.Parse(f.window)
		errs = append(errs, err)
	}
	errs = append(errs, f.policies.apply(o), f.policies.applyRestore(o, f.decidedTopic(), f.to))
	errs = append(errs, f.members.apply(o), f.checkScope())
	errs = append(errs, applySettings(o, f.settings))
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{err}
	}
	return o, nil
}

// relay copies until ctx ends, or until the end when that is asked for.
func relay(ctx context.Context, stderr io.Writer, f relayFlags) (err error) {
	options, err := f.options()
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	options.Logger = logger
	st, err := store.Open(f.dir, &store.Options{Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	consumer, err := f.consumer(st, options)
	if err != nil {
		return &usageError{err}
	}
	if err := prepareOutputs(ctx, options, f.outputs()); err != nil {
		if ctx.Err() != nil {
			return nil // it was asked to end, and had begun nothing
		}
		return err
	}
	l := startLive(logger, st, f.dir)
	defer l.end()
	p := startProgress(stderr, logger, consumer)
	err = consumer.Run(ctx)
	p.end()
	return err
}
