package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"github.com/firstseen/firstseen/window"
)

// The settings of a namespace, and how they change (R9). A change is one synced
// batch of its own: the entry in the registry, the store record that proves it,
// and a head whose coverage and floor are those of the new settings. A crash
// leaves all of it or nothing.

// settingsEntry is a namespace's entry in the registry:
//
//	number 4 B | window 8 B | MaxAdvance 8 B | MaxAhead 8 B, all in ms | IDSource
func settingsEntry(num uint32, o *NamespaceOptions) []byte {
	value := binary.BigEndian.AppendUint32(nil, num)
	for _, ms := range []int64{o.Window.Millis(), o.MaxAdvance.Milliseconds(), o.MaxAhead.Milliseconds()} {
		value = binary.BigEndian.AppendUint64(value, uint64(ms))
	}
	return append(value, o.IDSource...)
}

// settingsSum is what a head keeps of the settings that it was written under.
func settingsSum(entry []byte, secret uint64) uint64 { return xxh3.HashSeed(entry, secret) }

// parseSettings reads an entry of the registry.
func parseSettings(value []byte) (num uint32, o NamespaceOptions, ok bool) {
	d := decoder{b: value}
	ms := func(v int64) time.Duration { return time.Duration(v) * time.Millisecond }
	num = d.uint32()
	o.Window = window.Forever
	if w := int64(d.uint64()); w != o.Window.Millis() {
		o.Window = window.Of(ms(w))
	}
	o.MaxAdvance, o.MaxAhead = ms(int64(d.uint64())), ms(int64(d.uint64()))
	o.IDSource = string(d.b)
	o.Unknown = o.Unknown.withDefaults()
	return num, o, !d.bad
}

// rules returns what of the settings moves a clock.
func (o *NamespaceOptions) rules() rules {
	r := rules{w: o.Window, maxAdvance: o.MaxAdvance.Milliseconds(), maxAhead: o.MaxAhead.Milliseconds()}
	if r.maxAdvance == 0 {
		r.maxAdvance = math.MaxInt64 // no limit
	}
	return r
}

// adapt gives the namespace the settings of an opening, unless it has them: all
// of them or, with an error, none. It waits for the batch in progress, because
// that one goes by the old ones to its end.
func (n *Namespace) adapt(o NamespaceOptions) error {
	has := n.status.Load().Settings
	if asked(o, has) == has {
		return nil // told without waiting
	}
	if err := n.own(); err != nil {
		return err
	}
	defer n.disown()
	has = n.opts
	if err := n.mayBecome(o, has); err != nil {
		return err
	}
	o = asked(o, has)
	if o == has {
		return nil
	}
	if value := settingsEntry(n.num, &o); string(value) != string(settingsEntry(n.num, &has)) {
		h := n.head
		h.sequence++
		h.settings = settingsSum(value, n.s.secret)
		if o.Window != has.Window {
			h.rewindow(has.Window)
		}
		if o.IDSource != has.IDSource && has.IDSource != "" {
			h.cov = h.cov.opened(Evicted)
		}
		if err := n.s.resettle(n, value, &h); err != nil {
			return err
		}
		n.s.batches.Add(h.sequence - n.head.sequence)
		n.head = h
		n.s.opts.Logger.Warn("namespace has new settings", "namespace", n.name,
			"window", o.Window, "window before", has.Window, "ID source", o.IDSource,
			"MaxAdvance", o.MaxAdvance, "MaxAhead", o.MaxAhead, "coverage", h.cov.public())
	}
	n.opts, n.rules = o, o.rules()
	if n.loaded {
		n.index.setRules(n.rules, o.Window.Buckets(o.BucketWidth))
	}
	n.publish()
	return nil
}

// asked returns what a namespace with the settings has would get by options.
func asked(o, has NamespaceOptions) NamespaceOptions {
	if o.IDSource == "" {
		o.IDSource = has.IDSource
	}
	o.AllowShrink, o.AllowIDSourceChange = false, false
	return o
}

// mayBecome reports what the options would lose and do not allow to be lost.
// The caller owns the namespace.
func (n *Namespace) mayBecome(o, has NamespaceOptions) error {
	var errs []error
	if o.Window.Millis() < has.Window.Millis() && !o.AllowShrink {
		errs = append(errs, fmt.Errorf(
			"%w: namespace %q has a window of %v, and one of %v would forget %s; ask for %v, or set AllowShrink",
			ErrSettings, n.name, has.Window, o.Window, n.head.forgotten(has.Window, o.Window), has.Window))
	}
	if has.IDSource != "" && o.IDSource != "" && o.IDSource != has.IDSource && !o.AllowIDSourceChange {
		errs = append(errs, fmt.Errorf(
			"%w: namespace %q takes its IDs from %s, those of %s would not meet their markers; "+
				"ask for the old source, use a new namespace, or set AllowIDSourceChange",
			ErrSettings, n.name, has.IDSource, o.IDSource))
	}
	return errors.Join(errs...)
}

// forgotten says which markers a shorter window would forget.
func (h *head) forgotten(was, will window.Window) string {
	c := h.reached()
	to := will.Edge(c.now)
	from := max(c.first, h.floor+1, was.Edge(c.now)+1)
	if from > to {
		return "nothing yet, but everything earlier from now on"
	}
	text := func(ms int64) string { return timeOf(ms).Format("2006-01-02T15:04:05.000Z07:00") }
	return fmt.Sprintf("what was first seen from %s to %s", text(from), text(to))
}

// rewindow is what a change of the window does to a head. What has left the
// window before the change never counts again, and coverage says so: growing
// a window never invents memory (R9). A restore with an older clock goes by the one
// that was reached, by which things have been dropped, unless it began anew.
//
// A namespace whose coverage is from the beginning and that is younger than its
// window has nothing to say: nothing has left it. One that was restored has
// markers below its first C, so it is not younger than what it vouches for.
//
// The floor keeps the layout out of the verdicts: of two markers that had both
// expired, one may still stand in its segment and the other not.
func (h *head) rewindow(was window.Window) {
	if h.clock.times < firstTimes {
		return // nothing has left a window of which the clock is not known
	}
	now := h.clock.now
	if h.restore.from > 0 {
		now = h.reached().now
	}
	edge := was.Edge(now)
	h.floor = max(h.floor, edge)
	if edge < h.clock.first && h.cov == fromBeginning {
		return
	}
	if !h.cov.open && edge > h.cov.since {
		h.cov.since, h.cov.reason = edge, Cold
	}
}

// resettle writes a namespace's entry of the registry together with its head.
// The caller owns the namespace.
func (s *Store) resettle(n *Namespace, value []byte, h *head) error {
	if err := s.writable("namespace %q keeps its settings", n.name); err != nil {
		return err
	}
	s.creating.Lock()
	defer s.creating.Unlock()
	key := nameKey(n.name)
	s.mu.Lock()
	r := s.record
	r.namespaces.sub(r.entryProof(key, s.names[n.name]))
	s.mu.Unlock()
	r.namespaces.add(r.entryProof(key, value))
	err := s.fault.write("change the settings of namespace "+n.name, s.opts.CommitTimeout, func() error {
		w := s.db.NewBatch()
		must(w.Set(key, value, nil))
		must(w.Set([]byte{kindStore}, r.append(nil), nil))
		must(w.Set(nsKey(kindHead, n.num), h.append(nil), nil))
		return errors.Join(s.db.Apply(w, pebble.Sync), w.Close())
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record = r
	s.names[n.name] = value
	return nil
}

// setRules makes the segments expire, and cut time, by other settings.
func (x *segments) setRules(r rules, b window.Buckets) {
	x.rules, x.buckets = r, b
	if x.open != nil {
		x.open.bucketEnd = b.AtMillis(x.open.opened).EndMillis()
	}
}
