package main

import (
	"errors"
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
			"count as pending. Nothing in it changes, and it may be mounted for reading only.\n\n" +
			"A store that a firstseen relay has open is shown by that relay, as it is now; there a\n" +
			"namespace that was not used since the start shows no segments, and is not proved.\n" +
			"Any other program shows its store by Store.Stats and Namespace.Status.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &out); err != nil {
				return err
			}
			report, err := stat(st.dir, segments)
			if errors.Is(err, store.ErrLocked) {
				return askLive(cmd.OutOrStdout(), st.dir, liveQuestion{out.format, segments}, err)
			}
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
	ID    string `json:"id"`
	Bytes uint64 `json:"bytes"`
	// InUse is there when the program answered that has the store open.
	InUse      bool              `json:"inUse,omitempty"`
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
		for name := range st.Namespaces() { // read and prove them
			if err := withNamespace(st, name, func(*store.Namespace) error { return nil }); err != nil {
				return err
			}
		}
		report, err = statOpen(st, segments)
		return err
	})
	return report, err
}

// statOpen reads what a store holds that may be at work.
func statOpen(st *store.Store, segments bool) (report storeReport, err error) {
	report = storeReport{
		ID: st.ID().String(), Bytes: st.Stats().DiskBytes, Namespaces: []namespaceReport{},
	}
	for name := range st.Namespaces() {
		ns, err := st.Namespace(name, nil)
		if err != nil {
			return report, err
		}
		n, err := statNamespace(ns)
		if err == nil && segments {
			n.SegmentList, err = segmentsOf(ns)
		}
		if err != nil {
			return report, err
		}
		report.Namespaces = append(report.Namespaces, n)
	}
	return report, nil
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
	use := ""
	if r.InUse {
		use = ", in use"
	}
	fmt.Fprintf(w, "store %s, %s%s\n", r.ID, count(len(r.Namespaces), "namespace"), use)
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
