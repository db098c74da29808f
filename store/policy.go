package store

import (
	"errors"
	"fmt"
)

// Action is what is done with a record whose verdict is Unknown (R4).
type Action uint8

// The actions. The zero Action is none: an UnknownPolicy reads it as Accept, and
// a Decision that is not Unknown carries it.
const (
	_          Action = iota
	Accept            // handled like a new record; it leaves a marker
	DeadLetter        // handled only to be staged elsewhere; it leaves no marker and writes no state (R7)
	Drop              // not handled; it leaves no marker
)

// String returns the action's name in lower case, "" for the zero Action.
func (a Action) String() string {
	switch a {
	case Accept:
		return "accept"
	case DeadLetter:
		return "dead-letter"
	case Drop:
		return "drop"
	default:
		return ""
	}
}

// UnknownPolicy says what is done with a record that the store cannot know,
// for each reason. The zero value accepts all of them, so that no message is
// lost: a record may then be handled twice.
//
// Drop loses every such record that was not seen before, and DeadLetter leaves
// the choice to whoever reads the dead letters.
type UnknownPolicy struct {
	// Late is for records older than the window. Defaults to Accept.
	Late Action
	// Clock is for records judged while the clock is in doubt (R1). Defaults to
	// Accept.
	Clock Action
	// Cold is for records met before the store has seen a whole window.
	// Defaults to Accept.
	Cold Action
	// Evicted is for records met while markers of the window were given up.
	// Defaults to Accept.
	Evicted Action
	// Lost is for records met while markers of the window were lost. Defaults
	// to Accept.
	Lost Action
}

// of returns the action for a reason.
func (p *UnknownPolicy) of(r Reason) Action {
	switch r {
	case Late:
		return p.Late
	case Clock:
		return p.Clock
	case Evicted:
		return p.Evicted
	case Lost:
		return p.Lost
	default:
		return p.Cold
	}
}

// each calls fn for every reason.
func (p *UnknownPolicy) each(fn func(name string, a *Action)) {
	fn("Late", &p.Late)
	fn("Clock", &p.Clock)
	fn("Cold", &p.Cold)
	fn("Evicted", &p.Evicted)
	fn("Lost", &p.Lost)
}

func (p UnknownPolicy) withDefaults() UnknownPolicy {
	p.each(func(_ string, a *Action) {
		if *a == 0 {
			*a = Accept
		}
	})
	return p
}

func (p UnknownPolicy) validate() error {
	var errs []error
	p.each(func(name string, a *Action) {
		if *a > Drop {
			errs = append(errs, fmt.Errorf("store: Unknown.%s is %d; give Accept, DeadLetter or Drop", name, *a))
		}
	})
	return errors.Join(errs...)
}

// handled reports whether the function of Do is called for the record.
func (d *Decision) handled() bool { return d.Verdict != Duplicate && d.Action != Drop }

// accepted reports whether the record leaves a marker once it was handled.
func (d *Decision) accepted() bool {
	return d.Verdict == New || d.Verdict == Unknown && d.Action == Accept
}
