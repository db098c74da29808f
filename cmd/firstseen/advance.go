package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newAdvance() *cobra.Command {
	var st storeFlag
	var ns namespaceFlag
	var to string
	var at time.Time
	cmd := &cobra.Command{
		Use:   "advance --store DIR --namespace NAME --to TIME",
		Short: "Move the clock of an idle namespace",
		Long: "Move the clock of a namespace into which no records come that would do it, so that\n" +
			"what has left the window gives its space back. It is a promise that nothing older\n" +
			"will come: a record that does, and is older than the window then, is answered as\n" +
			"unknown (late).",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(&st, &ns, checkFunc(func(f *faults) {
				f.need("to", to, "--to TIME, such as 2026-11-01T12:00:00Z")
				at = parseTime("to", to, f)
			}))
			if err != nil {
				return err
			}
			return changeNamespace(st.dir, ns.name, func(n *store.Namespace) error {
				return advance(cmd.OutOrStdout(), n, at)
			})
		},
	}
	addFlags(cmd, &st, &ns)
	cmd.Flags().StringVar(&to, "to", "", "the time to move it to, which has passed")
	return cmd
}

func advance(w io.Writer, n *store.Namespace, to time.Time) error {
	before, err := n.Status()
	if err != nil {
		return err
	}
	if err := n.Advance(to); err != nil {
		return err
	}
	after, err := n.Status()
	if err != nil {
		return err
	}
	if !after.Clock.After(before.Clock) {
		_, err = fmt.Fprintf(w, "nothing to do: the clock is at %s already\n", timeWords(&after.Clock))
		return err
	}
	_, err = fmt.Fprintf(w, "the clock was at %s and is at %s; what has left the window since is forgotten\n",
		timeWords(&before.Clock), timeWords(&after.Clock))
	return err
}
