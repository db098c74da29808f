package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

const scopeHelp = "Copies in different partitions are not seen together, unless --repartition brings\n" +
	"them together: every record goes through a topic with so many partitions, by the hash\n" +
	"of its ID, and is deduplicated there, by a second group, NAME" + adapter.GroupSuffix + ".\n" +
	"The copy has as many partitions, and the order of one ID."

// A relayer is what a relay runs: one Consumer, or the two of a Repartition.
type relayer interface {
	Run(ctx context.Context) error
	Stats() adapter.Stats
}

// scopeFlags are the flags of relay that say within what an ID is unique.
type scopeFlags struct {
	repartition int32
	through     string
}

func (f *scopeFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Int32Var(&f.repartition, "repartition", 0,
		"bring copies of all partitions and topics together, in a topic with so many partitions;\n"+
			"the number stays as it is")
	flags.StringVar(&f.through, "through", "",
		"that topic, which holds nothing else; created when it is missing (default GROUP"+adapter.GroupSuffix+")")
}

// through is the topic between, "" without one.
func (f *relayFlags) through() string {
	if f.scope.repartition == 0 {
		return ""
	}
	return cmp.Or(f.scope.through, f.group+adapter.GroupSuffix)
}

// decidedTopic is the topic whose records are decided.
func (f *relayFlags) decidedTopic() string {
	if through := f.through(); through != "" || len(f.from) == 0 {
		return through
	}
	return f.from[0]
}

func (f *relayFlags) checkScope() error {
	var errs []error
	n := f.scope.repartition
	if n < 0 || n > maxPartition {
		errs = append(errs, fmt.Errorf("--repartition %d is no number of partitions; give one from 1 to %d", n, maxPartition))
	}
	if n == 0 && f.scope.through != "" {
		errs = append(errs, errors.New("--through goes with --repartition; give both, or neither"))
	}
	if n == 0 && len(f.from) > 1 {
		errs = append(errs, errors.New("--from names several topics; give --repartition as well, "+
			"or run a relay for each"))
	}
	if n != 0 && len(f.members.pinned) > 0 {
		errs = append(errs, errors.New("--pinned does not go with --repartition, which has groups; leave one of them out"))
	}
	if through := f.through(); through != "" && (slices.Contains(f.from, through) || through == f.to) {
		errs = append(errs, fmt.Errorf("--through %s is read or written; give the topic between a name of its own", through))
	}
	return errors.Join(errs...)
}

// consumer returns what the relay runs.
func (f *relayFlags) consumer(st *store.Store, o *adapter.Options) (relayer, error) {
	if f.scope.repartition == 0 {
		return adapter.New(st, adapter.Forward(f.to), o)
	}
	return adapter.NewRepartition(st, adapter.Forward(f.to), o, f.through(), f.scope.repartition)
}

// outputs are the topics that the relay writes. The one between keeps every record
// with its time, whatever the brokers do by default.
func (f *relayFlags) outputs() []output {
	n := int(f.scope.repartition)
	outputs := []output{{flag: "to", topic: f.to, partitions: n}}
	if n > 0 {
		del, created := "delete", "CreateTime"
		outputs = append(outputs, output{flag: "through", topic: f.through(), partitions: n,
			config: map[string]*string{"cleanup.policy": &del, "message.timestamp.type": &created}})
	}
	return outputs
}
