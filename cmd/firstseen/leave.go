package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

func newLeave() *cobra.Command {
	var brokers, given []string
	var group, dir, instance string
	cmd := &cobra.Command{
		Use:   "leave --brokers H:P[,..] --group NAME {--store DIR | --instance ID}",
		Short: "Take a store that does not come back out of its consumer group",
		Long: "Take an instance out of a group for good: the others get its partitions at once,\n" +
			"instead of waiting for it as long as the session time-out. The instance is the ID\n" +
			"of its store; give --instance when the disk is gone. Nothing in the store changes,\n" +
			"and a relay that is started on it again joins again.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := &adapter.Options{}
			err := checkFlags(checkFunc(func(f *faults) {
				f.need("brokers", strings.Join(brokers, ","), "--brokers HOST:PORT")
				f.need("group", group, "--group NAME")
				if (dir == "") == (instance == "") {
					f.addf("give either --store DIR, or --instance ID when the disk is gone")
				}
				if err := applySettings(o, given); err != nil {
					f.addf("%w", err)
				}
			}))
			if err != nil {
				return err
			}
			leave := func() error {
				if err := adapter.Leave(cmd.Context(), brokers, group, instance, o.Client...); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "instance %s is not in group %s any more\n", instance, group)
				return err
			}
			if dir == "" {
				return leave()
			}
			err = lookInto(dir, func(s *store.Store) error {
				instance = s.ID().String()
				return leave()
			})
			if errors.Is(err, store.ErrLocked) {
				return fmt.Errorf("%w, and a consumer that runs would join again", err)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&brokers, "brokers", nil, "addresses of brokers to begin with, host:port")
	flags.StringVar(&group, "group", "", "consumer group")
	flags.StringVar(&dir, "store", "", "directory of the store")
	flags.StringVar(&instance, "instance", "", "ID of the store, as firstseen stat shows it")
	flags.StringArrayVarP(&given, "setting", "X", nil, "a setting of the Kafka client, key=value, as of relay")
	return cmd
}
