package fuzz

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/firstseen/firstseen/store"
)

// family are the errors by which a store says that it is not what it was.
var family = []error{
	store.ErrCorrupt, store.ErrRolledBack, store.ErrFormat,
	store.ErrSealed, store.ErrUnsealed, store.ErrCopied, store.ErrUnfit,
}

// named reports whether an error says that the store is not what it was.
func named(err error) bool {
	return slices.ContainsFunc(family, func(one error) bool { return errors.Is(err, one) })
}

// wrong is an answer that is not the model's: what nothing had warned of.
type wrong struct{ what string }

func (w *wrong) Error() string { return w.what }

func wrongf(format string, args ...any) error { return &wrong{fmt.Sprintf(format, args...)} }

// answersAs asks the open store for everything that the picture after n steps
// knows, the sequences that were acknowledged first, as Kafka's tag would be. It
// returns what the store says against it, or a wrong answer.
func (d *driver) answersAs(n int, prove bool) error {
	for i, p := range d.script.after[n] {
		if !p.made {
			continue
		}
		ns, err := d.space(i) // makes it anew where it is gone, as a consumer would
		if err != nil {
			return err
		}
		if err := ns.Witnessed(p.status.Sequence); err != nil {
			return err
		}
		if prove {
			if err := ns.Load(); err != nil {
				return err
			}
		}
		if err := knows(ns, p, d.script.ids, n%2 == 0); err != nil {
			return err
		}
	}
	return nil
}

// knows compares one namespace with its picture.
func knows(ns *store.Namespace, p spacePicture, ids [][]byte, prepare bool) error {
	st, err := ns.Status()
	if err != nil {
		return err
	}
	st.Counts, st.Markers, st.Segments, st.Sealed = store.Counts{}, 0, 0, 0
	st.Settings.BucketWidth = 0
	if got, want := statusText(st), statusText(p.status); got != want {
		return wrongf("%s: status\n%s\nwant\n%s", ns.Name(), got, want)
	}
	state := map[string]string{}
	err = ns.View(func(v *store.View) error {
		return v.Scan(nil, func(key, value []byte) error {
			state[string(key)] = string(value)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if !maps.Equal(p.state, state) {
		return wrongf("%s: state %q, want %q", ns.Name(), state, p.state)
	}
	var pending []store.Output
	err = ns.Pending(func(o store.Output) error {
		pending = append(pending, o)
		return nil
	})
	if err != nil {
		return err
	}
	if !slices.EqualFunc(p.pending, pending, sameOutput) {
		return wrongf("%s: pending outputs %v, want %v", ns.Name(), pending, p.pending)
	}
	err = ns.Update(func(b *store.Batch) error {
		if prepare {
			b.Prepare(ids)
		}
		for k, id := range ids {
			got, err := b.Do(store.Record{ID: id}, nil)
			if err != nil {
				return err
			}
			if want := p.probes[k]; got != want {
				return wrongf("%s: ID %.20q is %v, want %v", ns.Name(), id, got, want)
			}
		}
		return errAbort
	})
	if !errors.Is(err, errAbort) {
		return err
	}
	return nil
}

// statusText is a status as text, what it points to included.
func statusText(st store.Status) string {
	committed := "none"
	if st.Committed != nil {
		committed = fmt.Sprintf("%+v", *st.Committed)
	}
	st.Committed = nil
	return fmt.Sprintf("%+v, committed %s", st, committed)
}
