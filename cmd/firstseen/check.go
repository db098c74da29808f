package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newCheck() *cobra.Command {
	var st storeFlag
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "check --store DIR [-o table|json]",
		Short: "Prove all that a store or a backup holds",
		Long: "Read everything that a store, or a backup, has on disk and prove it: every marker, run,\n" +
			"table, filter, position, output and setting. It names what is wrong and where, and\n" +
			"exits with 3 if any of it could make an answer wrong. Nothing changes, and it may be\n" +
			"mounted for reading only. Nobody may have the store open.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &out); err != nil {
				return err
			}
			if err := checkStore(st.dir); err != nil {
				return err
			}
			bar := newReading(cmd.ErrOrStderr(), "checking")
			r, err := store.VerifyDir(cmd.Context(), st.dir, &store.VerifyOptions{Progress: bar.tell})
			bar.end()
			if err != nil {
				return err
			}
			report := checkOf(r)
			if err := out.print(cmd.OutOrStdout(), report, report.writeTable); err != nil {
				return err
			}
			if r.Err() != nil {
				return fmt.Errorf("%w: %s; firstseen repair sets damaged markers aside, or restore a backup",
					store.ErrCorrupt, st.dir)
			}
			return nil
		},
	}
	addFlags(cmd, &st, &out)
	return cmd
}

// checkReport is what check has read, and what it found.
type checkReport struct {
	// Sound is unset when an answer could be wrong.
	Sound      bool   `json:"sound"`
	Namespaces int    `json:"namespaces"`
	Segments   int    `json:"segments"`
	Markers    uint64 `json:"markers"`
	Pages      uint64 `json:"pages"`
	Runs       uint64 `json:"runs"`
	StateKeys  uint64 `json:"stateKeys"`
	Outputs    uint64 `json:"outputs"`
	Bytes      uint64 `json:"bytes"`
	// Damages is how many there are, Damage the first of them.
	Damages int            `json:"damages"`
	Damage  []damageReport `json:"damage"`

	found []store.Damage
}

type damageReport struct {
	Namespace string `json:"namespace,omitempty"`
	Segment   *int64 `json:"segment,omitempty"`
	Page      *int64 `json:"page,omitempty"`
	Part      string `json:"part"`
	What      string `json:"what"`
	Harmless  bool   `json:"harmless"`
}

func checkOf(r *store.Report) checkReport {
	c := checkReport{
		Sound: r.Err() == nil, Namespaces: r.Namespaces, Segments: r.Segments, Markers: r.Markers,
		Pages: r.Pages, Runs: r.Runs, StateKeys: r.StateKeys, Outputs: r.Outputs, Bytes: r.Bytes,
		Damages: r.Damages, Damage: []damageReport{}, found: r.Damage,
	}
	for _, d := range r.Damage {
		c.Damage = append(c.Damage, damageReport{
			d.Namespace, numberOf(d.Segment), numberOf(d.Page), string(d.Part), d.What, d.Harmless(),
		})
	}
	return c
}

// numberOf returns nil for a number that there is not.
func numberOf(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func (c checkReport) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "read %s: %s with %s in %s and %s, %s of state, %s; %s bytes\n",
		count(c.Namespaces, "namespace"), count(c.Segments, "segment"), count(int(c.Markers), "marker"),
		count(int(c.Pages), "page"), count(int(c.Runs), "run"), count(int(c.StateKeys), "key"),
		count(int(c.Outputs), "pending output"), grouped(c.Bytes))
	writeDamage(w, c.found, c.Damages)
	var err error
	switch {
	case c.Damages == 0:
		_, err = fmt.Fprintln(w, "everything is as it was written")
	case c.Sound:
		_, err = fmt.Fprintln(w, "answers are right all the same: a filter is made anew when it is read")
	}
	return err
}

// writeDamage names what was found, a line each.
func writeDamage(w io.Writer, found []store.Damage, all int) {
	for _, d := range found {
		kind := "damaged"
		if d.Harmless() {
			kind = "harmless"
		}
		fmt.Fprintf(w, "%-8s  %v\n", kind, d)
	}
	if more := all - len(found); more > 0 {
		fmt.Fprintf(w, "and %s more\n", grouped(uint64(more)))
	}
}

// reading is a line on a terminal that says how far a store was read. On
// anything else it says nothing.
type reading struct {
	w     io.Writer // nil: no terminal
	doing string
	next  time.Time
	wrote bool
}

func newReading(w io.Writer, doing string) *reading {
	if !isTerminal(w) {
		w = nil
	}
	return &reading{w: w, doing: doing}
}

const clearLine = "\r\x1b[K"

func (r *reading) tell(p store.VerifyProgress) {
	now := time.Now()
	if r.w == nil || now.Before(r.next) {
		return
	}
	r.next, r.wrote = now.Add(200*time.Millisecond), true
	fmt.Fprintf(r.w, "%s%s namespace %d of %d, %s of about %s markers", clearLine, r.doing,
		min(p.Done+1, p.Namespaces), p.Namespaces, grouped(p.Markers), grouped(p.Of))
}

func (r *reading) end() {
	if r.wrote {
		fmt.Fprint(r.w, clearLine)
	}
}
