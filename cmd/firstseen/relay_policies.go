package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// policyFlags are the flags of relay that say what to do where Kafka and the
// store do not agree, or where the store cannot know.
type policyFlags struct {
	start         string
	missingID     string
	gap           string
	foreignOffset string
	missingOffset string
	unknown       []string
	deadLetters   string
	restoreFrom   string
	standby       []int32
}

func (f *policyFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.start, "start", "earliest",
		"where a new group begins: earliest, latest, or a time such as 2026-01-31T12:00:00Z")
	flags.StringVar(&f.missingID, "missing-id", "stop",
		"what happens to a record without an ID: stop, accept it without deduplication, dead-letter,\n"+
			"or content: key and value are its ID")
	flags.StringVar(&f.gap, "on-gap", "stop",
		"what happens when retention deleted records before they were read: stop or jump")
	flags.StringVar(&f.foreignOffset, "on-foreign-offset", "fail",
		"what happens when somebody else moved the group's offset: fail, honour or ignore")
	flags.StringVar(&f.missingOffset, "on-missing-offset", "stop",
		"what happens when Kafka lost the group's offset: stop or resume")
	flags.StringArrayVar(&f.unknown, "unknown", nil,
		"what happens to a record that the store cannot know: accept, dead-letter or drop,\n"+
			"or REASON=ACTION for one of late, clock, cold, evicted, lost (default accept)")
	flags.StringVar(&f.restoreFrom, "restore-from", "input",
		"what the markers of a partition are restored from that another store had: input, or output,\n"+
			"which holds what was accepted")
	flags.Int32SliceVar(&f.standby, "standby", nil,
		"partitions to keep warm while other members have them, such as 0,1,2")
	flags.StringVar(&f.deadLetters, "dead-letter-topic", "", "topic for dead letters, which exists")
}

// apply sets in o what the flags ask for, or returns all that is wrong with them.
func (f *policyFlags) apply(o *adapter.Options) error {
	o.DeadLetterTopic = f.deadLetters
	return errors.Join(
		f.applyStart(o),
		choose("missing-id", f.missingID, &o.MissingID, "stop", "accept", "dead-letter", "content"),
		choose("on-gap", f.gap, &o.OnGap, "stop", "jump"),
		choose("on-foreign-offset", f.foreignOffset, &o.OnForeignOffset, "fail", "honour", "ignore"),
		choose("on-missing-offset", f.missingOffset, &o.OnMissingOffset, "stop", "resume"),
		f.applyUnknown(&o.Unknown),
		f.checkDeadLetters(),
	)
}

func (f *policyFlags) checkDeadLetters() error {
	asked := slices.ContainsFunc(append(slices.Clone(f.unknown), f.missingID), func(given string) bool {
		return strings.HasSuffix(given, store.DeadLetter.String())
	})
	if asked && f.deadLetters == "" {
		return errors.New("--dead-letter-topic is missing; give the topic for dead letters")
	}
	return nil
}

// choose sets a policy by its name; names are those of its values, in order.
func choose[P ~uint8](flag, name string, policy *P, names ...string) error {
	i := slices.Index(names, name)
	if i < 0 {
		last := len(names) - 1
		return fmt.Errorf("--%s %q is not known; give %s or %s",
			flag, name, strings.Join(names[:last], ", "), names[last])
	}
	*policy = P(i)
	return nil
}

func (f *policyFlags) applyStart(o *adapter.Options) (err error) {
	switch f.start {
	case "earliest":
	case "latest":
		o.Start = adapter.StartLatest
	default:
		o.Start = adapter.StartTime
		if o.StartTime, err = time.Parse(time.RFC3339, f.start); err != nil {
			return fmt.Errorf("--start %q is not known; give earliest, latest or a time such as "+
				"2026-01-31T12:00:00Z", f.start)
		}
	}
	return nil
}

func (f *policyFlags) applyUnknown(p *store.UnknownPolicy) error {
	reasons := map[string]*store.Action{
		"late": &p.Late, "clock": &p.Clock, "cold": &p.Cold, "evicted": &p.Evicted, "lost": &p.Lost,
	}
	actions := map[string]store.Action{}
	for _, a := range []store.Action{store.Accept, store.DeadLetter, store.Drop} {
		actions[a.String()] = a
	}
	var errs []error
	for _, given := range f.unknown {
		reason, name, one := strings.Cut(given, "=")
		if !one {
			reason, name = "", given
		}
		action, known := actions[name]
		if at, ok := reasons[reason]; known && ok {
			*at = action
		} else if known && !one {
			for _, at := range reasons {
				*at = action
			}
		} else {
			errs = append(errs, fmt.Errorf("--unknown %q is not known; give accept, dead-letter or drop, "+
				"or one of them for late, clock, cold, evicted or lost, such as cold=drop", given))
		}
	}
	return errors.Join(errs...)
}

// applyRestore sets where markers are restored from, and what is kept warm.
func (f *policyFlags) applyRestore(o *adapter.Options, input, output string) error {
	if len(f.standby) > 0 {
		o.Standby = map[string][]int32{input: f.standby}
	}
	switch f.restoreFrom {
	case "input":
		return nil
	case "output":
		o.RestoreFrom = output
		return nil
	}
	return fmt.Errorf("--restore-from %q is not known; give input or output", f.restoreFrom)
}
