// Firstseen removes duplicates from Kafka topics: it keeps, beside the consumer,
// which IDs were seen within a window, together with position and state.
//
//	firstseen demo    what is lost and doubled, and by whom, on an embedded broker
//	firstseen relay   write a deduplicated copy of a topic
//	firstseen stat    what a store holds
//
// It exits with 0 when it is done, 1 when it failed, 2 for a command line that
// is wrong, 3 when the store is locked or damaged, 4 when Kafka is away or
// refuses, and 5 when a verdict was bad.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	privateFiles()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(os.Stderr, "firstseen: %s\n", line)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "usage: %s\nSee %s --help.\n", cmd.UseLine(), cmd.CommandPath())
	}
	return exitCode(err)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "firstseen",
		Short: "Remove duplicates from Kafka topics, across crashes and restarts",
		Long: "firstseen removes duplicates from Kafka topics. It keeps, beside the consumer, which\n" +
			"IDs were seen within a window, in the same synced step as the position and the state.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage, 3 store locked or damaged, 4 broker,\n" +
			"5 a verdict was bad.",
		Version:           version(),
		Args:              cobra.ArbitraryArgs, // a command that there is not, see RunE
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q; give demo, relay or stat", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetVersionTemplate("firstseen {{.Version}}\n")
	root.AddCommand(newDemo(), newDemoConsumer(), newRelay(), newStat())
	for _, cmd := range root.Commands() {
		cmd.Args, cmd.DisableFlagsInUseLine = noArguments, true
	}
	return root
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is not a flag; every value is given by one, see the help", args[0])
	}
	return nil
}

// version is that of the module that the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
