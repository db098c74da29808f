// Firstseen removes duplicates from Kafka topics: it keeps, beside the consumer,
// which IDs were seen within a window, together with position and state.
//
//	firstseen demo      what is lost and doubled, and by whom, on an embedded broker
//	firstseen relay     write a deduplicated copy of a topic
//	firstseen redrive   feed dead letters back, once each
//
//	firstseen stat      what a store holds
//	firstseen why       everything that is known about an ID
//	firstseen markers   the IDs that a namespace remembers
//	firstseen advise    which window would have caught how many duplicates
//	firstseen check     prove all that a store or a backup holds
//
//	firstseen backup    take a backup
//	firstseen adopt     make a store of a backup
//	firstseen repair    take damaged markers out of a store
//	firstseen forget    forget IDs
//	firstseen advance   move the clock of an idle namespace
//	firstseen delete    delete a namespace
//	firstseen leave     take a store out of its consumer group for good
//
// The second group changes nothing, and goes on a file system that is mounted for
// reading only. A running relay answers stat itself; otherwise a store that is
// looked into, kept or changed is one that nobody has open: what runs is asked by
// its own program, through package store.
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
	"strconv"
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
	} else if way := wayOut(cmd.Name(), err); way != "" {
		fmt.Fprintf(os.Stderr, "See %s %s --help.\n", cmd.Root().Name(), way)
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
				return usagef("there is no command %q; firstseen --help lists them", args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{plainly(err)} })
	root.SetVersionTemplate("firstseen {{.Version}}\n")
	for _, g := range []struct {
		title string
		cmds  []*cobra.Command
	}{
		{"Deduplicate:", []*cobra.Command{newDemo(), newDemoConsumer(), newRelay(), newRedrive()}},
		{"Look into a store (nothing in it changes):",
			[]*cobra.Command{newStat(), newWhy(), newMarkers(), newAdvise(), newCheck()}},
		{"Keep and change a store:",
			[]*cobra.Command{newBackup(), newAdopt(), newRepair(), newForget(), newAdvance(), newDelete(), newLeave()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, cmd := range g.cmds {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	for _, cmd := range root.Commands() {
		cmd.Args, cmd.DisableFlagsInUseLine = noArguments, true
	}
	return root
}

// plainly says of a value that should be a number what it should be, in place of
// which function could not read it.
func plainly(err error) error {
	if errors.Is(err, strconv.ErrSyntax) || errors.Is(err, strconv.ErrRange) {
		what, _, _ := strings.Cut(err.Error(), ": strconv.")
		return fmt.Errorf("%s; give whole numbers", what)
	}
	return err
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
