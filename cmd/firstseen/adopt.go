package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newAdopt() *cobra.Command {
	var st storeFlag
	var yes, unsealed bool
	cmd := &cobra.Command{
		Use:   "adopt --store DIR --yes [--unsealed]",
		Short: "Make a store of a backup",
		Long: "Make a store of a backup, in the directory where it is to run. It gets an ID of its\n" +
			"own, and the store that it was taken from as its ancestor: the two are never taken\n" +
			"for each other. What came after the backup is not in it; a consumer reads it again\n" +
			"from Kafka, or stops and says why not.\n\n" +
			"--unsealed also takes a directory that is no backup: a copy of a store that was closed\n" +
			"while it was copied or moved, or an older state of one. All of it is proved first;\n" +
			"but that nothing is missing at its end cannot be proved.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(&st, checkFunc(func(f *faults) {
				f.confirm(yes, "an adopted store is another one than that which it was taken from")
			}))
			if err != nil {
				return err
			}
			if err := checkStore(st.dir); err != nil {
				return err
			}
			if err := store.Adopt(st.dir, &store.AdoptOptions{Unsealed: unsealed}); err != nil {
				return err
			}
			return lookInto(st.dir, func(s *store.Store) error {
				ancestors := s.Ancestors()
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is store %v now, taken from store %v\n",
					st.dir, s.ID(), ancestors[len(ancestors)-1])
				return err
			})
		},
	}
	addFlags(cmd, &st)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&unsealed, "unsealed", false, "also take a copy of a closed store, or an older state of one")
	return cmd
}
