package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

func newAdvise() *cobra.Command {
	var st storeFlag
	var name string
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "advise --store DIR [--namespace NAME] [-o table|json]",
		Short: "Show which window would have caught how many duplicates",
		Long: "Show how old the duplicates were that a store has seen since it was made, and so how\n" +
			"long a window has to be: of each namespace the shortest window that would have caught\n" +
			"a share of them, or of one namespace all that is counted. A duplicate that is older\n" +
			"than the window in force is not known as one: where most come late in the window, a\n" +
			"longer one may catch more. Nothing in the store changes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &out); err != nil {
				return err
			}
			reports, err := advise(st.dir, name)
			if err != nil {
				return err
			}
			table := func(w io.Writer) error { return writeAdvice(w, reports) }
			if name != "" {
				table = reports[0].writeAges
			}
			return out.print(cmd.OutOrStdout(), reports, table)
		},
	}
	addFlags(cmd, &st, &out)
	cmd.Flags().StringVar(&name, "namespace", "", "show all that is counted of this namespace")
	return cmd
}

// adviceReport is what is known of the duplicates of a namespace.
type adviceReport struct {
	Namespace  string `json:"namespace"`
	Window     string `json:"window"`
	Duplicates uint64 `json:"duplicates"`
	// Ages are the classes up to the oldest duplicate.
	Ages []ageReport `json:"ages"`
}

// ageReport counts the duplicates that only a window of this length catches, and
// no shorter one in the list.
type ageReport struct {
	Window     string `json:"window"`
	Duplicates uint64 `json:"duplicates"`
	// Caught is the share, from 0 to 1, of all that the window would have caught.
	Caught float64 `json:"caught"`
}

// advise reads the ages of one namespace, or of all when name is empty.
func advise(dir, name string) ([]adviceReport, error) {
	reports := []adviceReport{}
	err := lookInto(dir, func(st *store.Store) error {
		if name != "" {
			if err := checkNamespace(st, name); err != nil {
				return err
			}
		}
		for each := range st.Namespaces() {
			if name != "" && each != name {
				continue
			}
			ns, err := st.Namespace(each, nil)
			if err != nil {
				return err
			}
			s, err := ns.Status()
			if err != nil {
				return err
			}
			reports = append(reports, adviceOf(each, ns.Window(), s.Ages))
		}
		return nil
	})
	return reports, err
}

func adviceOf(name string, w window.Window, ages store.Ages) adviceReport {
	r := adviceReport{Namespace: name, Window: w.String(), Duplicates: ages.Total(), Ages: []ageReport{}}
	left := r.Duplicates
	for i, n := range ages {
		if left == 0 {
			break
		}
		left -= n
		upTo := window.Of(ages.Edge(i))
		r.Ages = append(r.Ages, ageReport{upTo.String(), n, ages.Caught(upTo)})
	}
	return r
}

// shortest returns the shortest window that would have caught a share.
func (r adviceReport) shortest(share float64) string {
	for _, a := range r.Ages {
		if a.Caught >= share {
			return a.Window
		}
	}
	return "-"
}

func writeAdvice(w io.Writer, reports []adviceReport) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAMESPACE\tWINDOW\tDUPLICATES\t90%\t99%\t99.9%\tALL")
	for _, r := range reports {
		fmt.Fprintln(t, strings.Join([]string{
			r.Namespace, r.Window, grouped(r.Duplicates),
			r.shortest(0.9), r.shortest(0.99), r.shortest(0.999), r.shortest(1),
		}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w,
		"The last columns: the shortest window that would have caught that share of the duplicates seen.")
	return err
}

// writeAges writes all that is counted of one namespace.
func (r adviceReport) writeAges(w io.Writer) error {
	if r.Duplicates == 0 {
		_, err := fmt.Fprintf(w, "%s has a window of %s and has seen no duplicate\n", r.Namespace, r.Window)
		return err
	}
	fmt.Fprintf(w, "%s has a window of %s and has seen %s\n", r.Namespace, r.Window,
		count(int(r.Duplicates), "duplicate"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "A WINDOW OF\tCATCHES MORE\tIN ALL\t")
	for _, a := range r.Ages {
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", a.Window, grouped(a.Duplicates), percent(a.Caught))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w,
		"Each line: how many a window of that length would have caught that the one above would not.")
	return err
}

// percent rounds down: only all of them are 100.0%.
func percent(share float64) string {
	return fmt.Sprintf("%.1f%%", math.Floor(share*1000)/10)
}
