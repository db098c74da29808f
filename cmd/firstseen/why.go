package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newWhy() *cobra.Command {
	var st storeFlag
	var ns namespaceFlag
	var id idFlags
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "why --store DIR --namespace NAME --id ID [--hex] [-o table|json]",
		Short: "Show everything that is known about an ID",
		Long: "Show what a record of an ID would be told if it came now, without a time of its own,\n" +
			"and everything that this follows from. Nothing in the store changes.\n\n" + idHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &ns, &id, &out); err != nil {
				return err
			}
			return lookIntoNamespace(st.dir, ns.name, func(n *store.Namespace) error {
				w, err := n.Why(id.id)
				if err != nil {
					return err
				}
				report := whyOf(ns.name, w)
				return out.print(cmd.OutOrStdout(), report, report.writeTable)
			})
		},
	}
	addFlags(cmd, &st, &ns, &id, &out)
	return cmd
}

// whyReport is what why shows.
type whyReport struct {
	Namespace string `json:"namespace"`
	Verdict   string `json:"verdict"`
	// Reason is there when the verdict is unknown.
	Reason string `json:"reason,omitempty"`
	// Says is the verdict as a sentence.
	Says string `json:"says"`
	// StoredAs is how an ID like this is stored: raw, uuid or digest.
	StoredAs string `json:"storedAs"`
	// Marker is missing when none stands.
	Marker   *markerReport   `json:"marker,omitempty"`
	Window   string          `json:"window"`
	Clock    *time.Time      `json:"clock,omitempty"`
	Coverage coverageReport  `json:"coverage"`
	Position *positionReport `json:"position,omitempty"`
	// Segments that were asked; of them RuledOut said no without a read, and
	// Pages were read.
	Segments int `json:"segmentsAsked"`
	RuledOut int `json:"segmentsRuledOut"`
	Pages    int `json:"pagesRead"`

	why store.Why
}

type markerReport struct {
	First time.Time `json:"firstSeen"`
	// AgeMillis is its age by the namespace's clock.
	AgeMillis int64 `json:"ageMs"`
	// Leaves is missing when it never does.
	Leaves *time.Time `json:"leavesWindow,omitempty"`
	// Origin is missing when there is no log behind it.
	Origin *positionReport `json:"origin,omitempty"`
	Place  string          `json:"place"`
}

func whyOf(namespace string, w store.Why) whyReport {
	r := whyReport{
		Namespace: namespace, Verdict: w.Decision.Verdict.String(), Reason: w.Decision.Reason.String(),
		Says: verdictWords(&w), StoredAs: w.Kind.String(),
		Window: w.Window.String(), Clock: timeOf(w.Clock),
		Coverage: coverageOf(w.Coverage), Position: positionOf(w.Position),
		Segments: w.Asked, RuledOut: w.RuledOut, Pages: w.Read, why: w,
	}
	if w.Found {
		r.Marker = &markerReport{
			First: w.Marker.First, AgeMillis: w.Age.Milliseconds(), Leaves: timeOf(w.Marker.Leaves),
			Origin: positionOf(w.Marker.Origin), Place: w.Place.String(),
		}
	}
	return r
}

// verdictWords says what the verdict rests on, and where coverage cannot tell.
func verdictWords(w *store.Why) string {
	stands := ""
	if w.Found {
		stands = "; a marker of it stands, but has left the window"
	}
	switch d := w.Decision; d.Verdict {
	case store.Duplicate:
		until := "for ever"
		if !w.Marker.Leaves.IsZero() {
			until = "until the clock is " + timeWords(&w.Marker.Leaves)
		}
		return "a record of this ID was accepted, and counts " + until
	case store.New:
		return fmt.Sprintf("no record of this ID was accepted within the window of %v%s", w.Window, stands)
	default:
		return unknownWords(d.Reason) + stands
	}
}

func unknownWords(r store.Reason) string {
	switch r {
	case store.Clock:
		return "it cannot be told whether it was seen: the clock is in doubt, times that jump ahead stand in a row"
	case store.Cold:
		return "it cannot be told whether it was seen: the namespace has not seen the whole window, see coverage"
	case store.Evicted:
		return "it cannot be told whether it was seen: markers of the window were given up, see coverage"
	case store.Lost:
		return "it cannot be told whether it was seen: markers of the window were lost, see coverage"
	default:
		return "it cannot be told whether it was seen"
	}
}

func (r whyReport) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	verdict := r.Verdict
	if r.Reason != "" {
		verdict = fmt.Sprintf("%s (%s)", verdict, r.Reason)
	}
	fmt.Fprintf(t, "verdict\t%s: %s\n", verdict, r.Says)
	if m := r.Marker; m != nil {
		fmt.Fprintf(t, "first seen\t%s, %v before the clock\n", timeWords(&m.First), r.why.Age)
		fmt.Fprintf(t, "origin\t%s\n", m.Origin.words())
		fmt.Fprintf(t, "stands in\t%s\n", m.Place)
	}
	fmt.Fprintf(t, "window\t%s\n", r.Window)
	fmt.Fprintf(t, "clock\t%s\n", timeWords(r.Clock))
	fmt.Fprintf(t, "coverage\t%v\n", r.why.Coverage)
	position := r.Position.words()
	if r.Position != nil {
		position = "next is " + position
	}
	fmt.Fprintf(t, "position\t%s\n", position)
	fmt.Fprintf(t, "look-up\t%s asked, %d ruled out without a read, %s read\n",
		count(r.Segments, "segment"), r.RuledOut, count(r.Pages, "page"))
	return t.Flush()
}
