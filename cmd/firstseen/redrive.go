package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
)

// redriveFlags are the flags of redrive as they were given.
type redriveFlags struct {
	brokers  []string
	dead     string
	group    string
	settings []string
}

func newRedrive() *cobra.Command {
	var f redriveFlags
	cmd := &cobra.Command{
		Use:   "redrive --brokers H:P[,..] --dead-letter-topic TOPIC [--group NAME]",
		Short: "Feed the dead letters of a topic back, once each",
		Long: "Append every dead letter to the partition where its record stood, as it was, and end.\n" +
			"The consumer handles it if it has not handled the message before, whatever its age. What\n" +
			"fails again is a dead letter again: mend the cause first. A redrive that is cut short\n" +
			"goes on by the next one. It needs no store.\n\n" +
			"Settings of the Kafka client, each by -X key=value, are those of relay.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return redrive(cmd.Context(), cmd.OutOrStdout(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.brokers, "brokers", nil, "addresses of brokers to begin with, host:port")
	flags.StringVar(&f.dead, "dead-letter-topic", "", "topic of the dead letters")
	flags.StringVar(&f.group, "group", "", "consumer group that keeps how far it is fed back "+
		"(default firstseen-redrive-TOPIC)")
	flags.StringArrayVarP(&f.settings, "setting", "X", nil, "a setting of the Kafka client, key=value")
	return cmd
}

func redrive(ctx context.Context, stdout io.Writer, f redriveFlags) error {
	var errs []error
	for _, required := range []struct{ name, value, give string }{
		{"brokers", strings.Join(f.brokers, ","), "--brokers HOST:PORT"},
		{"dead-letter-topic", f.dead, "--dead-letter-topic TOPIC"},
	} {
		if required.value == "" {
			errs = append(errs, fmt.Errorf("--%s is missing; give %s", required.name, required.give))
		}
	}
	var client adapter.Options // -X speaks of these
	errs = append(errs, applySettings(&client, f.settings))
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	fed, err := adapter.Redrive(ctx, &adapter.RedriveConfig{
		Brokers: f.brokers, Client: client.Client, DeadLetterTopic: f.dead, Group: f.group,
	})
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // it was asked to end
	}
	_, failed := fmt.Fprintf(stdout, "redriven %d\n", fed)
	return errors.Join(err, failed)
}
