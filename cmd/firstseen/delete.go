package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newDelete() *cobra.Command {
	var st storeFlag
	var ns namespaceFlag
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete --store DIR --namespace NAME --yes",
		Short: "Delete a namespace with all that it holds",
		Long: "Delete a namespace for good: markers, position, clock, state, pending outputs and\n" +
			"settings. A consumer that comes back to it begins as one that knows nothing. To\n" +
			"forget its IDs alone, see firstseen forget --all.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(&st, &ns, checkFunc(func(f *faults) {
				f.confirm(yes, "markers, position, state and pending outputs of the namespace go for good")
			}))
			if err != nil {
				return err
			}
			return changeStore(st.dir, func(s *store.Store) error {
				if err := checkNamespace(s, ns.name); err != nil {
					return err
				}
				if err := s.DeleteNamespace(ns.name); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "deleted namespace %s\n", ns.name)
				return err
			})
		},
	}
	addFlags(cmd, &st, &ns)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
