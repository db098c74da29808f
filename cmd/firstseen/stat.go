package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newStat() *cobra.Command {
	var dir, format string
	cmd := &cobra.Command{
		Use:   "stat --store DIR [-o table|json]",
		Short: "Show what a store holds",
		Long: "Show what a store holds: its namespaces with clock, coverage, position, segments,\n" +
			"markers, pending outputs and bytes. The markers are proved first. Of outputs that\n" +
			"Kafka has acknowledged, the store learns with its next batch; until then they\n" +
			"count as pending. A store that is in use cannot be shown.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usagef("no store is named; give --store DIR")
			}
			if format != "table" && format != "json" {
				return usagef("-o %q is not known; give table or json", format)
			}
			report, err := stat(dir)
			if err != nil {
				return err
			}
			if format == "json" {
				return report.writeJSON(cmd.OutOrStdout())
			}
			return report.writeTable(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dir, "store", "", "directory of the store")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
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

	coverage store.Coverage
}

type coverageReport struct {
	Open bool `json:"open"`
	// Since is missing when coverage is open or from the beginning.
	Since  *time.Time `json:"since,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

type positionReport struct {
	TopicID   string `json:"topicId"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Epoch     int32  `json:"leaderEpoch"`
}

// stat opens the store in dir, which must be there, and reads what it holds.
func stat(dir string) (report storeReport, err error) {
	if err := checkStore(dir); err != nil {
		return report, err
	}
	st, err := store.Open(dir, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	report = storeReport{
		ID: st.ID().String(), Bytes: st.Stats().DiskBytes, Namespaces: []namespaceReport{},
	}
	for name := range st.Namespaces() {
		n, err := statNamespace(st, name)
		if err != nil {
			return report, err
		}
		report.Namespaces = append(report.Namespaces, n)
	}
	return report, nil
}

func statNamespace(st *store.Store, name string) (r namespaceReport, err error) {
	ns, err := st.Namespace(name, nil)
	if err != nil {
		return r, err
	}
	if err := ns.Load(); err != nil {
		return r, err
	}
	s, err := ns.Status()
	if err != nil {
		return r, err
	}
	r = namespaceReport{
		Name: name, Window: ns.Window().String(),
		Segments: s.Segments, Sealed: s.Sealed, Markers: s.Markers,
		Pending: s.Pending, State: s.HasState, coverage: s.Coverage,
		Coverage: coverageReport{Open: s.Coverage.Open, Reason: s.Coverage.Reason.String()},
	}
	if !s.Clock.IsZero() {
		r.Clock = &s.Clock
	}
	if !s.Coverage.Since.IsZero() {
		r.Coverage.Since = &s.Coverage.Since
	}
	if p := s.Position; !p.IsZero() {
		r.Position = &positionReport{p.TopicID.String(), p.Partition, p.Offset, p.LeaderEpoch}
	}
	r.Bytes, err = ns.DiskBytes()
	return r, err
}

// checkStore refuses a directory that is no store: looking at one must not make
// one.
func checkStore(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no directory %s; give the directory of a store", dir)
	case err != nil:
		return fmt.Errorf("the store cannot be looked at: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory; give the directory of a store", dir)
	}
	_, err = os.Stat(filepath.Join(dir, "FIRSTSEEN"))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no store, it has no file FIRSTSEEN; give the directory of a store", dir)
	}
	return err
}

func (r storeReport) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
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
	_, err := fmt.Fprintf(w, "%s bytes on disk, with the log of the newest batches\n",
		grouped(r.Bytes))
	return err
}
