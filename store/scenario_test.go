package store

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// The stories in testdata/*.txt. Times are counted from an arbitrary moment, the
// story's 0s. To accept what the store says now: go test -run Scenarios -rewrite.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		s := &story{t: t, fs: vfs.NewMem(), wall: t0.Add(24 * time.Hour)}
		defer func() { require.NoError(t, s.st.Close()) }()
		datadriven.RunTest(t, path, s.run)
	})
}

// story is one file: one namespace, one log.
type story struct {
	t    *testing.T
	fs   vfs.FS
	wall time.Time
	opts NamespaceOptions
	st   *Store
	n    *Namespace
	next int64
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "open": // [window=] [max-advance=] [at=the first offset] [late=, cold=: an action]
		s.opts = s.options(d)
		d.MaybeScanArgs(t, "at", &s.next)
		s.reopen()
		return s.status()
	case "change": // to the options of open [allow-shrink]
		o := s.options(d)
		if _, err := s.st.Namespace("story", &o); err != nil {
			require.ErrorIs(t, err, ErrSettings)
			return relative(err)
		}
		s.opts = o
		return s.status()
	case "advance": // to=
		if err := s.n.Advance(t0.Add(s.duration(d, "to", 0))); err != nil {
			return relative(err)
		}
		return s.status()
	case "reopen":
		require.NoError(t, s.st.Close())
		s.reopen()
		return s.status()
	case "see": // one record per line: ID, time, and "fails" where its handler does
		return s.see(strings.Split(d.Input, "\n"))
	case "repeat": // [times=] [id=] [time=]: that many records, each with an ID of its own
		var times int
		var id, at string
		d.ScanArgs(t, "times", &times)
		d.ScanArgs(t, "id", &id)
		d.ScanArgs(t, "time", &at)
		var lines []string
		for i := range times {
			lines = append(lines, fmt.Sprintf("%s-%d %s", id, i+1, at))
		}
		said := strings.Split(strings.TrimSpace(s.see(lines)), "\n")
		return fmt.Sprintf("%s\n... %d records\n%s\n", said[0], times, said[len(said)-1])
	case "pass": // the next record is not handled
		require.NoError(t, s.n.Update(func(b *Batch) error {
			s.next++
			return b.SetPosition(Position{TopicID: ID{1}, Offset: s.next})
		}))
		return s.status()
	case "forget": // [id=], or [from= to=] of offsets, or [since= until=] of times, or nothing: everything
		return s.forget(d)
	case "status":
		return s.status()
	default:
		d.Fatalf(t, "unknown command")
		return ""
	}
}

func (s *story) forget(d *datadriven.TestData) string {
	switch {
	case d.HasArg("id"):
		var id string
		d.ScanArgs(s.t, "id", &id)
		there, err := s.n.Forget([]byte(id))
		require.NoError(s.t, err)
		if !there {
			return "it was not there\n"
		}
	case d.HasArg("from"):
		var from, to int64
		d.ScanArgs(s.t, "from", &from)
		d.ScanArgs(s.t, "to", &to)
		require.NoError(s.t, s.n.ForgetOrigins(ID{1}, 0, from, to))
	case d.HasArg("since"):
		require.NoError(s.t, s.n.ForgetTimes(
			t0.Add(s.duration(d, "since", 0)), t0.Add(s.duration(d, "until", 0))))
	default:
		require.NoError(s.t, s.n.ForgetAll())
	}
	return "forgotten\n"
}

func (s *story) options(d *datadriven.TestData) NamespaceOptions {
	o := NamespaceOptions{
		Window: window.Of(s.duration(d, "window", time.Hour)), MaxAdvance: s.duration(d, "max-advance", 0),
		AllowShrink: d.HasArg("allow-shrink"),
	}
	for key, a := range map[string]*Action{"late": &o.Unknown.Late, "cold": &o.Unknown.Cold} {
		var name string
		d.MaybeScanArgs(s.t, key, &name)
		for *a = 0; name != "" && a.String() != name; *a++ {
			require.LessOrEqual(s.t, *a, Drop, "no action %q", name)
		}
	}
	return o
}

// relative returns an error's text with its times counted from the story's 0s.
func relative(err error) string {
	return times.ReplaceAllStringFunc(err.Error(), func(text string) string {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return text
		}
		return since0(at)
	}) + "\n"
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

func (s *story) duration(d *datadriven.TestData, key string, or time.Duration) time.Duration {
	if !d.HasArg(key) {
		return or
	}
	var text string
	d.ScanArgs(s.t, key, &text)
	v, err := time.ParseDuration(text)
	require.NoError(s.t, err)
	return v
}

func (s *story) reopen() {
	var err error
	s.st, err = open("store", &Options{
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return s.wall },
	}, seams{fs: s.fs})
	require.NoError(s.t, err)
	s.n, err = s.st.Namespace("story", &s.opts)
	require.NoError(s.t, err)
}

// see decides records in one batch, up to the first that fails.
func (s *story) see(lines []string) string {
	var said strings.Builder
	planned := errors.New("handler failed")
	require.NoError(s.t, s.n.Update(func(b *Batch) error {
		for _, line := range lines {
			f := strings.Fields(line)
			r := Record{ID: []byte(f[0]), Origin: Position{TopicID: ID{1}, Offset: s.next}}
			if f[1] != "none" {
				at, err := time.ParseDuration(f[1])
				require.NoError(s.t, err)
				r.At = t0.Add(at)
			}
			d, err := b.Do(r, func(*Tx) error {
				if len(f) > 2 {
					return planned
				}
				return nil
			})
			fmt.Fprintf(&said, "%d: %s", s.next, d.Verdict)
			switch {
			case d.Verdict == Duplicate:
				fmt.Fprintf(&said, " of %d, first seen at %s", d.Origin.Offset, since0(d.First))
			case d.Verdict == Unknown:
				fmt.Fprintf(&said, " (%s)", d.Reason)
				if d.Action != Accept {
					fmt.Fprintf(&said, ": %s", d.Action)
				}
			}
			if err != nil {
				fmt.Fprintf(&said, ", %v\n", err)
				require.ErrorIs(s.t, err, planned)
				return nil
			}
			said.WriteString("\n")
			s.next++
		}
		return nil
	}))
	return said.String()
}

func since0(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.Sub(t0).String()
}

func (s *story) status() string {
	st, err := s.n.Status()
	require.NoError(s.t, err)
	cov := st.Coverage.String()
	if !st.Coverage.Since.IsZero() {
		cov = fmt.Sprintf("since %s (%s)", since0(st.Coverage.Since), st.Coverage.Reason)
	}
	return fmt.Sprintf("next offset %d, clock %s, coverage %s\n", st.Position.Offset,
		since0(st.Clock), cov)
}
