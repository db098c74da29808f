package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
)

// groupFlags are the flags of relay that say how it gets its partitions.
type groupFlags struct {
	balancer string
	dynamic  bool
	pinned   []string
}

func (f *groupFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.balancer, "balancer", "range",
		"how the group divides partitions: range, round-robin, sticky, cooperative-sticky,\n"+
			"or by the broker (Kafka 4.0): server-range, server-uniform")
	flags.BoolVar(&f.dynamic, "dynamic", false,
		"leave the group at the end; otherwise the partitions wait for the store to come back")
	flags.StringSliceVar(&f.pinned, "pinned", nil,
		"partitions to read without a group, such as 0,3-5: one instance a disk, no rebalance")
}

// apply sets in o what the flags ask for, or returns all that is wrong with them.
func (f *groupFlags) apply(o *adapter.Options) error {
	o.Dynamic = f.dynamic
	err := choose("balancer", f.balancer, &o.Balancer,
		"range", "round-robin", "sticky", "cooperative-sticky", "server-range", "server-uniform")
	if len(f.pinned) == 0 || len(o.Topics) == 0 {
		return err
	}
	var errs []error
	var numbers []int32
	for _, given := range f.pinned {
		from, to, err := partitionRange(given)
		errs = append(errs, err)
		for n := from; err == nil && n <= to; n++ {
			numbers = append(numbers, n)
		}
	}
	if f.dynamic || f.balancer != "range" {
		errs = append(errs, errors.New("--pinned goes with neither --balancer nor --dynamic, which are for a group; "+
			"leave them out"))
	}
	o.Pinned = map[string][]int32{o.Topics[0]: numbers}
	return errors.Join(append(errs, err)...)
}

// maxPartition bounds what --pinned may name: a range is written out.
const maxPartition = 1_000_000

// partitionRange reads a partition, or a range of them.
func partitionRange(given string) (from, to int32, err error) {
	first, last, isRange := strings.Cut(given, "-")
	if !isRange {
		last = first
	}
	a, err1 := strconv.ParseUint(first, 10, 31)
	b, err2 := strconv.ParseUint(last, 10, 31)
	if err1 != nil || err2 != nil || a > b || b > maxPartition {
		return 0, 0, fmt.Errorf("--pinned %q is no partition; give numbers, or ranges such as 3-5", given)
	}
	return int32(a), int32(b), nil
}
