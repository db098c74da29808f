package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/firstseen/firstseen/store"
)

// segmentReport is one segment of a namespace, as stat --segments shows it.
type segmentReport struct {
	Number uint64 `json:"number"`
	// MergedFrom is how many segments became this one, 1 when it was never
	// merged.
	MergedFrom uint64 `json:"mergedFrom"`
	State      string `json:"state"`
	Markers    uint64 `json:"markers"`
	Superseded uint64 `json:"superseded"`
	// Oldest and Newest are when its markers were first seen.
	Oldest *time.Time `json:"oldest,omitempty"`
	Newest *time.Time `json:"newest,omitempty"`
	// TableBytes, FilterBytes and Pages are missing while it has no table.
	TableBytes  uint64 `json:"tableBytes,omitempty"`
	FilterBytes int64  `json:"filterBytes,omitempty"`
	Pages       uint32 `json:"pages,omitempty"`
}

func segmentsOf(ns *store.Namespace) ([]segmentReport, error) {
	all, err := ns.Segments()
	var reports []segmentReport
	for _, s := range all {
		reports = append(reports, segmentReport{
			Number: s.Number, MergedFrom: s.Places, State: s.State.String(),
			Markers: s.Markers, Superseded: s.Superseded, Oldest: timeOf(s.Low), Newest: timeOf(s.High),
			TableBytes: s.TableBytes, FilterBytes: s.FilterBytes, Pages: s.Pages,
		})
	}
	return reports, err
}

// writeSegments writes nothing when the segments were not asked for.
func (r storeReport) writeSegments(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	said := false
	for _, n := range r.Namespaces {
		for _, s := range n.SegmentList {
			if !said {
				said = true
				fmt.Fprintln(t, "\nNAMESPACE\tSEGMENT\tSTATE\tMARKERS\tSUPERSEDED\tOLDEST\tNEWEST\tTABLE\tFILTER")
			}
			number := fmt.Sprint(s.Number)
			if s.MergedFrom > 1 {
				number += fmt.Sprintf(" (of %d)", s.MergedFrom)
			}
			fmt.Fprintln(t, strings.Join([]string{
				n.Name, number, s.State, grouped(s.Markers), grouped(s.Superseded),
				timeWords(s.Oldest), timeWords(s.Newest), grouped(s.TableBytes), grouped(uint64(s.FilterBytes)),
			}, "\t"))
		}
	}
	return t.Flush()
}
