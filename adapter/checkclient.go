package adapter

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// checkClient returns an error that names every option of Client that the
// adapter owns, or what kgo finds wrong with the options.
//
// An option is a function that cannot be looked into, so its effect is: the
// settings of a client with the user's options after the adapter's are compared
// with those of one without. Options that kgo refuses together are tried one by
// one, to name those that are owned.
func (o *Options) checkClient(st *store.Store) error {
	base := o.ownedOptions(st)
	ours, err := settings(base)
	if err != nil {
		return fmt.Errorf("adapter: the options cannot be used: %w", err)
	}
	var owned []string
	differ := func(theirs map[string][]any) {
		for _, name := range ownedNames {
			if !sameSetting(ours[name], theirs[name]) && !slices.Contains(owned, name) {
				owned = append(owned, name)
			}
		}
	}
	theirs, err := settings(append(slices.Clone(base), o.Client...))
	if err == nil {
		differ(theirs)
	} else {
		err = fmt.Errorf("adapter: Client options cannot be used: %w", err)
		for _, opt := range o.Client {
			if one, failed := settings(append(slices.Clone(base), opt)); failed == nil {
				differ(one)
			}
		}
	}
	if len(owned) > 0 {
		err = errors.Join(err, fmt.Errorf("adapter: Client options set what the adapter sets: %s; "+
			"leave them out", strings.Join(owned, ", ")))
	}
	return err
}

// settings returns the settings that a client with these options would have,
// by option name. The client is stopped before it starts anything: the hook
// that kgo calls first does not return.
func settings(opts []kgo.Opt) (set map[string][]any, err error) {
	probe := &settingsProbe{}
	defer func() {
		if r := recover(); r != nil && r != any(probe) {
			panic(r)
		}
		set = probe.set
	}()
	_, err = kgo.NewClient(append([]kgo.Opt{kgo.WithHooks(probe)}, opts...)...)
	return nil, err
}

type settingsProbe struct{ set map[string][]any }

func (p *settingsProbe) OnNewClient(cl *kgo.Client) {
	p.set = make(map[string][]any, len(ownedNames))
	for _, name := range ownedNames {
		p.set[name] = cl.OptValues(name)
	}
	panic(p)
}

// sameSetting compares the values of one option; functions by their address.
func sameSetting(a, b []any) bool {
	return slices.EqualFunc(a, b, func(x, y any) bool {
		v, w := reflect.ValueOf(x), reflect.ValueOf(y)
		if v.Kind() == reflect.Func && w.Kind() == reflect.Func {
			return v.Pointer() == w.Pointer()
		}
		return reflect.DeepEqual(x, y)
	})
}
