package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// faults is what is wrong with a command line: all of it is told at once.
type faults []error

func (f *faults) addf(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// need asks for a flag that has to be given.
func (f *faults) need(name, value, give string) {
	if value == "" {
		f.addf("--%s is missing; give %s", name, give)
	}
}

// confirm asks for the word without which nothing is done.
func (f *faults) confirm(yes bool, deed string) {
	if !yes {
		f.addf("--yes is missing: %s; give --yes if that is meant", deed)
	}
}

func (f faults) err() error {
	if err := errors.Join(f...); err != nil {
		return &usageError{err}
	}
	return nil
}

// storeFlag is --store, which most commands have.
type storeFlag struct{ dir string }

func (s *storeFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.dir, "store", "", "directory of the store")
}

func (s *storeFlag) check(f *faults) { f.need("store", s.dir, "--store DIR") }

// namespaceFlag is --namespace.
type namespaceFlag struct{ name string }

func (n *namespaceFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&n.name, "namespace", "", "the namespace, as stat names it: GROUP/TOPIC/PARTITION")
}

func (n *namespaceFlag) check(f *faults) {
	f.need("namespace", n.name, "--namespace NAME, one of those that firstseen stat shows")
}

// outputFlag is -o: a table for people, or JSON for programs.
type outputFlag struct{ format string }

func (o *outputFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "table or json")
}

func (o *outputFlag) check(f *faults) {
	if o.format != "table" && o.format != "json" {
		f.addf("-o %q is not known; give table or json", o.format)
	}
}

// print writes a report in the form that was asked for.
func (o *outputFlag) print(w io.Writer, report any, table func(io.Writer) error) error {
	if o.format == "table" {
		return table(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(report)
}

// addFlags adds what several commands have in common.
func addFlags(cmd *cobra.Command, all ...interface{ add(*cobra.Command) }) {
	for _, flag := range all {
		flag.add(cmd)
	}
}

// checkFlags returns everything that is wrong with them.
func checkFlags(all ...interface{ check(*faults) }) error {
	var f faults
	for _, flag := range all {
		flag.check(&f)
	}
	return f.err()
}

// checkFunc is a check of one command's own.
type checkFunc func(*faults)

func (c checkFunc) check(f *faults) { c(f) }
