package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/store"
)

func newMarkers() *cobra.Command {
	var st storeFlag
	var ns namespaceFlag
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "markers --store DIR --namespace NAME [-o table|json]",
		Short: "List the IDs that a namespace remembers",
		Long: "List every ID that would make a record a duplicate now, with when and where it was\n" +
			"first seen, in no order that means anything. An ID is shown as its text, or in\n" +
			"hexadecimal where it has none (firstseen why takes it with --hex); of an ID above\n" +
			"256 bytes only the SHA-256 is stored. It takes little memory however many there\n" +
			"are; -o json gives one object a line. Nothing in the store changes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFlags(&st, &ns, &out); err != nil {
				return err
			}
			return lookIntoNamespace(st.dir, ns.name, func(n *store.Namespace) error {
				write := writeMarkers
				if out.format == "json" {
					write = writeMarkersJSON
				}
				w := bufio.NewWriter(cmd.OutOrStdout())
				return errors.Join(write(cmd.Context(), w, n), w.Flush())
			})
		},
	}
	addFlags(cmd, &st, &ns, &out)
	return cmd
}

func writeMarkers(ctx context.Context, w io.Writer, n *store.Namespace) error {
	const line = "%-24s  %9s  %12s  %-6s  %s\n"
	if _, err := fmt.Fprintf(w, line, "FIRST SEEN", "PARTITION", "OFFSET", "ID AS", "ID"); err != nil {
		return err
	}
	return n.Markers(func(m store.MarkerEntry) error {
		partition, offset := "-", "-"
		if !m.Origin.IsZero() {
			partition, offset = fmt.Sprint(m.Origin.Partition), fmt.Sprint(m.Origin.Offset)
		}
		as, id := idWords(m.ID, m.Kind)
		_, err := fmt.Fprintf(w, line, timeWords(&m.First), partition, offset, as, id)
		return errors.Join(err, ctx.Err())
	})
}

// markerLine is a marker as one line of JSON. Of text, hex and sha256 one is
// there.
type markerLine struct {
	Text   string `json:"text,omitempty"`
	Hex    string `json:"hex,omitempty"`
	SHA256 string `json:"sha256,omitempty"`

	First  time.Time       `json:"firstSeen"`
	Leaves *time.Time      `json:"leavesWindow,omitempty"`
	Origin *positionReport `json:"origin,omitempty"`
}

func writeMarkersJSON(ctx context.Context, w io.Writer, n *store.Namespace) error {
	enc := json.NewEncoder(w)
	return n.Markers(func(m store.MarkerEntry) error {
		l := markerLine{First: m.First, Leaves: timeOf(m.Leaves), Origin: positionOf(m.Origin)}
		switch as, id := idWords(m.ID, m.Kind); as {
		case "text":
			l.Text = id
		case "hex":
			l.Hex = id
		default:
			l.SHA256 = id
		}
		return errors.Join(enc.Encode(l), ctx.Err())
	})
}
