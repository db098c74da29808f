package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newRepair() *cobra.Command {
	var st storeFlag
	var yes bool
	cmd := &cobra.Command{
		Use:   "repair --store DIR --yes",
		Short: "Take damaged markers out of a store",
		Long: "Make a damaged store usable again: segments whose markers do not prove are taken out\n" +
			"and copied, as far as they can be read, into files in DIR.quarantine. Coverage moves\n" +
			"accordingly: a record that could have been among what was lost is answered as\n" +
			"unknown (lost), never as new. Only markers can be given up like this; where anything\n" +
			"else is damaged nothing changes, and a backup has to be restored.\n\n" +
			"firstseen check says what is damaged, and changes nothing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(&st, checkFunc(func(f *faults) {
				f.confirm(yes, "a repair takes damaged segments out of the store for good; firstseen check shows them")
			}))
			if err != nil {
				return err
			}
			if err := checkStore(st.dir); err != nil {
				return err
			}
			bar := newReading(cmd.ErrOrStderr(), "reading")
			r, err := store.Repair(cmd.Context(), st.dir, &store.RepairOptions{
				Logger: slog.New(slog.DiscardHandler), Progress: bar.tell,
			})
			bar.end()
			if r != nil {
				writeRepair(cmd.OutOrStdout(), r)
			}
			return err
		},
	}
	addFlags(cmd, &st)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// writeRepair says what was found and done; also of a repair that failed.
func writeRepair(w io.Writer, r *store.RepairReport) {
	if r.Found != nil {
		writeDamage(w, r.Found.Damage, r.Found.Damages)
		if r.Found.Err() == nil {
			fmt.Fprintln(w, "nothing has to be repaired")
		}
	}
	for _, a := range r.SetAside {
		where := "nothing of it could be read"
		if a.File != "" {
			where = "kept in " + a.File
		}
		fmt.Fprintf(w, "set aside segment %d of %s with %s, %s\n", a.Segment, a.Namespace,
			count(int(a.Markers), "marker"), where)
	}
	for _, m := range r.Mended {
		fmt.Fprintf(w, "repaired %s: %s left; coverage is %v, it was %v\n", m.Namespace,
			count(int(m.Markers), "marker"), m.After, m.Before)
	}
}
