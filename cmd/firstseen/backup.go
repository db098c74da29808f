package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newBackup() *cobra.Command {
	var st storeFlag
	var to string
	cmd := &cobra.Command{
		Use:   "backup --store DIR --to DIR",
		Short: "Take a backup of a store that nobody has open",
		Long: "Take a backup: a checkpoint of the store in a directory that does not exist yet, on\n" +
			"the same file system. Tables are linked, so it is quick. Copy it to where it is to\n" +
			"be kept; firstseen check proves it, and firstseen adopt makes a store of it.\n\n" +
			"A running store is backed up by its own program, by Store.Checkpoint. A copy of the\n" +
			"directory is no backup.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(&st, checkFunc(func(f *faults) {
				f.need("to", to, "--to DIR, a directory that does not exist")
			}))
			if err != nil {
				return err
			}
			err = changeStore(st.dir, func(s *store.Store) error {
				if err := s.Checkpoint(cmd.Context(), to); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "backup of store %v in %s; firstseen adopt makes a store of it\n",
					s.ID(), to)
				return err
			})
			if errors.Is(err, store.ErrLocked) {
				return fmt.Errorf("%w, or let its program call Store.Checkpoint", err)
			}
			return err
		},
	}
	addFlags(cmd, &st)
	cmd.Flags().StringVar(&to, "to", "", "directory of the backup, which must not exist")
	return cmd
}
