package main

import (
	"errors"
	"fmt"

	"github.com/firstseen/firstseen/adapter"
	"github.com/firstseen/firstseen/store"
)

// The exit codes, by which a script tells what to do next.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitStore  = 3 // locked, damaged, or not the store that it was
	exitBroker = 4 // away, or it refuses
	exitBad    = 5 // a verdict was bad
)

var (
	// errBroker is wrapped by what Kafka answered, or did not, outside of the
	// adapter.
	errBroker = errors.New("kafka")

	// errBadVerdict is wrapped when firstseen itself lost or doubled a record.
	errBadVerdict = errors.New("a verdict was bad")
)

// usageError is a command line that cannot be meant.
type usageError struct{ err error }

func (u *usageError) Error() string { return u.err.Error() }
func (u *usageError) Unwrap() error { return u.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// exits are the errors that have a code of their own, the one that counts most
// first.
var exits = []struct {
	code int
	errs []error
}{
	{exitBad, []error{errBadVerdict}},
	{exitStore, []error{store.ErrLocked, store.ErrCorrupt, store.ErrPoisoned,
		store.ErrSealed, store.ErrUnsealed, store.ErrCopied, store.ErrRolledBack,
		store.ErrUnfit, store.ErrDiskFull, store.ErrBeyondRepair}},
	{exitBroker, []error{
		errBroker, adapter.ErrBrokersAway, adapter.ErrCommitRefused, adapter.ErrConsumeRefused,
		adapter.ErrNoTopicID, adapter.ErrOutputRefused, adapter.ErrTransactionRefused, adapter.ErrUnknownTopic,
	}},
}

func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	for _, e := range exits {
		for _, target := range e.errs {
			if errors.Is(err, target) {
				return e.code
			}
		}
	}
	return exitFailed
}

// ways are the commands that are the way out of an error, the one that counts
// most first.
var ways = []struct {
	cmd  string
	errs []error
}{
	{"adopt", []error{
		store.ErrSealed, store.ErrUnsealed, store.ErrCopied, store.ErrRolledBack, store.ErrBeyondRepair,
	}},
	{"check", []error{store.ErrCorrupt}},
	{"repair", []error{store.ErrCorrupt}},
}

// wayOut returns the command to go on with after an error of another one, "" when
// there is none.
func wayOut(cmd string, err error) string {
	for _, w := range ways {
		for _, target := range w.errs {
			if errors.Is(err, target) && (w.cmd != cmd || cmd == "adopt") {
				return w.cmd
			}
		}
	}
	return ""
}
