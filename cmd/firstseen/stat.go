package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newStat() *cobra.Command {
	var st storeFlag
	var out outputFlag
	var segments bool
	cmd := &cobra.Command{
		Use:   "stat --store DIR [--segments] [-o table|json]",
		Short: "Show what a store holds",
		Long: "Show what a store holds: its namespaces with clock, coverage, position, segments,\n" +
			"markers, pending outputs and bytes. The markers are proved first. Of outputs that\n" +
			"Kafka has acknowledged, the store learns with its next batch; until then they\n" +
			"count as pending. A store that is in use cannot be shown. Nothing in it changes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &out); err != nil {
				return err
			}
			report, err := stat(st.dir, segments)
			if err != nil {
				return err
			}
			return out.print(cmd.OutOrStdout(), report, report.writeTable)
		},
	}
	addFlags(cmd, &st, &out)
	cmd.Flags().BoolVar(&segments, "segments", false, "also show the segments, in which markers are stored and dropped")
	return cmd
}

// storeReport is what stat shows; its JSON form is for programs.
type storeReport struct {
	ID         string            `json:"id"`
	Bytes      uint64            `json:"bytes"`
	Namespaces []namespaceReport `json:"namespaces"`
}

type namespaceReport struct {
	Name   string `json:"name"`
	Window string `json:"window"`
	// Clock is missing before the first time.
	Clock    *time.Time     `json:"clock,omitempty"`
	Coverage coverageReport `json:"coverage"`
	// Position is missing when no log has been read.
	Position *positionReport `json:"position,omitempty"`
	Segments int             `json:"segments"`
	Sealed   int             `json:"sealed"`
	Markers  uint64          `json:"markers"`
	Pending  int             `json:"pending"`
	State    bool            `json:"state"`
	Bytes    uint64          `json:"bytes"`
	// SegmentList is there when it was asked for.
	SegmentList []segmentReport `json:"segmentList,omitempty"`

	coverage store.Coverage
}

// stat reads what the store in dir holds, which must be there.
func stat(dir string, segments bool) (report storeReport, err error) {
	err = lookInto(dir, func(st *store.Store) error {
		report = storeReport{
			ID: st.ID().String(), Bytes: st.Stats().DiskBytes, Namespaces: []namespaceReport{},
		}
		for name := range st.Namespaces() {
			err := withNamespace(st, name, func(ns *store.Namespace) error {
				n, err := statNamespace(ns)
				if err == nil && segments {
					n.SegmentList, err = segmentsOf(ns)
				}
				report.Namespaces = append(report.Namespaces, n)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return report, err
}

func statNamespace(ns *store.Namespace) (r namespaceReport, err error) {
	s, err := ns.Status()
	if err != nil {
		return r, err
	}
	r = namespaceReport{
		Name: ns.Name(), Window: ns.Window().String(), Clock: timeOf(s.Clock),
		Coverage: coverageOf(s.Coverage), Position: positionOf(s.Position),
		Segments: s.Segments, Sealed: s.Sealed, Markers: s.Markers,
		Pending: s.Pending, State: s.HasState, coverage: s.Coverage,
	}
	r.Bytes, err = ns.DiskBytes()
	return r, err
}

func (r storeReport) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "store %s, %s\n", r.ID, count(len(r.Namespaces), "namespace"))
	if len(r.Namespaces) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAMESPACE\tWINDOW\tCLOCK\tCOVERAGE\tPOSITION\tSEGMENTS\tMARKERS\tPENDING\tBYTES")
	for _, n := range r.Namespaces {
		clock, position := "-", "-"
		if n.Clock != nil {
			clock = n.Clock.Format(time.RFC3339)
		}
		if n.Position != nil {
			position = fmt.Sprint(n.Position.Offset)
		}
		fmt.Fprintln(t, strings.Join([]string{
			n.Name, n.Window, clock, n.coverage.String(), position, fmt.Sprint(n.Segments),
			grouped(n.Markers), grouped(uint64(n.Pending)), grouped(n.Bytes),
		}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := r.writeSegments(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s bytes on disk, with the log of the newest batches\n",
		grouped(r.Bytes))
	return err
}
