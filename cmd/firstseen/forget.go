package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newForget() *cobra.Command {
	var st storeFlag
	var ns namespaceFlag
	var what forgetFlags
	cmd := &cobra.Command{
		Use: "forget --store DIR --namespace NAME " +
			"(--id ID [--hex] | --origins TOPICID:PARTITION:FROM-TO | [--from TIME] [--to TIME] | --all)",
		Short: "Forget IDs: one, a range, or all",
		Long: "Forget an ID, every ID that was accepted in a range of a log or of time, or all IDs of\n" +
			"a namespace: their next record is decided as if none had come. That is durable when\n" +
			"the command ends; the bytes go when their segment is merged or leaves the window.\n" +
			"State, outputs and the position stay, so nothing is read again for it.\n\n" +
			"--origins takes the topic ID that firstseen why shows, or the one that Kafka's tools\n" +
			"show. Ranges go up to, not including, their end; without an end they have none.\n" +
			"What is not there is forgotten without an error, and the command says so.\n\n" + idHelp,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &ns, &what); err != nil {
				return err
			}
			return changeNamespace(st.dir, ns.name, func(n *store.Namespace) error {
				return what.forget(cmd.OutOrStdout(), n)
			})
		},
	}
	addFlags(cmd, &st, &ns, &what)
	return cmd
}

// forgetFlags say what is to be forgotten: one thing at a time.
type forgetFlags struct {
	idFlags
	origins  string
	from, to string
	all      bool

	logRange   logRange
	begin, end time.Time
}

func (f *forgetFlags) add(cmd *cobra.Command) {
	f.idFlags.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.origins, "origins", "", "forget what these records left: TOPICID:PARTITION:FROM-TO, in offsets")
	flags.StringVar(&f.from, "from", "", "forget what was first seen from this time on, by the namespace's clock")
	flags.StringVar(&f.to, "to", "", "forget what was first seen before this time")
	flags.BoolVar(&f.all, "all", false, "forget every ID of the namespace")
}

func (f *forgetFlags) check(faults *faults) {
	asked := 0
	for _, given := range []bool{f.text != "", f.origins != "", f.from != "" || f.to != "", f.all} {
		if given {
			asked++
		}
	}
	switch asked {
	case 0:
		faults.addf("nothing is named that is to be forgotten; give --id, --origins, --from and --to, or --all")
	case 1:
	default:
		faults.addf("more than one thing is to be forgotten; give one of --id, --origins, --from and --to, and --all")
	}
	if f.hex && f.text == "" {
		faults.addf("--hex is about an ID; give --id as well")
	}
	f.parse(faults)
	if f.origins != "" {
		f.logRange = parseLogRange("origins", f.origins, faults)
	}
	f.begin = parseTime("from", f.from, faults)
	f.end = parseTime("to", f.to, faults)
	if !f.begin.IsZero() && !f.end.IsZero() && !f.begin.Before(f.end) {
		faults.addf("--from %s is not before --to %s; give the earlier time first", f.from, f.to)
	}
}

// parseTime reads a time that may have been left out.
func parseTime(flag, value string, f *faults) time.Time {
	if value == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		f.addf("--%s %q is not a time; give one such as 2026-11-01T12:00:00Z", flag, value)
	}
	return t
}

// forget forgets, and says what was forgotten as far as it is known.
func (f *forgetFlags) forget(w io.Writer, n *store.Namespace) error {
	if f.text != "" {
		there, err := n.Forget(f.id)
		if err != nil {
			return err
		}
		if !there {
			_, err = fmt.Fprintln(w, "there was nothing to forget: no marker of the ID counts")
			return err
		}
		_, err = fmt.Fprintln(w, "forgotten: the ID")
		return err
	}
	st, err := n.Status()
	if err != nil {
		return err
	}
	if st.Markers == 0 {
		_, err = fmt.Fprintln(w, "there was nothing to forget: the namespace holds no marker")
		return err
	}
	var said string
	switch r := f.logRange; {
	case f.all:
		said, err = "every ID of the namespace", n.ForgetAll()
	case f.origins != "":
		said = "whatever " + r.String() + " had left"
		err = n.ForgetOrigins(r.topic, r.partition, r.from, r.to)
	default:
		said = "whatever was first seen " + timesWords(f.begin, f.end)
		err = n.ForgetTimes(f.begin, f.end)
	}
	if errors.Is(err, store.ErrForgets) {
		return fmt.Errorf("%w; wait until some have left the window, or give --all", err)
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "forgotten: %s; how many IDs that were is not counted\n", said)
	}
	return err
}

func timesWords(from, to time.Time) string {
	switch {
	case to.IsZero():
		return "from " + timeWords(&from) + " on"
	case from.IsZero():
		return "before " + timeWords(&to)
	default:
		return "from " + timeWords(&from) + " up to " + timeWords(&to)
	}
}
