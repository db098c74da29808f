package fuzz

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// scriptDir has a parent that does not exist either.
const scriptDir = "disk/store"

// driver plays a script into a store.
type driver struct {
	script  *crashScript
	fs      *faultFS
	dir     string // "": scriptDir
	timeout time.Duration
	width   time.Duration // of buckets; 0: the default
	full    int           // markers of a full segment
	store   *store.Store
	spaces  []*store.Namespace
	shared  int // segments in shared tables that were checked
}

func newDriver(s *crashScript, fs *faultFS) *driver {
	return &driver{script: s, fs: fs, full: 16, spaces: make([]*store.Namespace, len(s.spaces))}
}

// open opens the store, small enough that everything happens in it.
func (d *driver) open() error {
	memory, small := int64(24<<10), d.full/4
	if d.script != nil && d.script.tight {
		memory, small = 6<<10, d.full
	}
	s, err := storehook.Open(cmp.Or(d.dir, scriptDir), &store.Options{
		CommitTimeout: cmp.Or(d.timeout, 5*time.Minute), // every write waits until an image is examined
		Logger:        slog.New(slog.DiscardHandler),
		Memory:        memory,
		Now:           func() time.Time { return wallClock },
	}, storehook.Hooks{FS: d.fs, FullSegment: d.full, SmallSegment: small, MergeAbove: 3, ShareLeast: d.full / 8})
	if err != nil {
		return err
	}
	d.store = s.(*store.Store)
	clear(d.spaces)
	return nil
}

func (d *driver) close() error {
	if d.store == nil {
		return nil
	}
	s := d.store
	d.store = nil
	return s.Close()
}

// step takes one step. What the store answers must be right; the error is the
// disk's.
func (d *driver) step(t require.TestingT, s crashStep) error {
	switch s.kind {
	case stepOpen:
		if err := d.close(); err != nil {
			return err
		}
		return d.open()
	case stepSpace:
		_, err := d.space(s.space)
		return err
	case stepDrain:
		return storehook.Drain(d.store)
	case stepDelete:
		return d.delete(t, s.space)
	}
	n, err := d.space(s.space)
	if err != nil {
		return err
	}
	switch s.kind {
	case stepSettings:
		o := s.opts
		o.BucketWidth, o.AllowShrink, o.AllowIDSourceChange = d.width, true, true
		_, err := d.store.Namespace(d.script.spaces[s.space].name, &o)
		return err
	case stepAdvance:
		return n.Advance(s.to)
	}
	err = n.Update(func(b *store.Batch) error {
		if len(s.acts)%2 == 0 {
			var ids [][]byte
			for _, a := range s.acts {
				ids = append(ids, a.rec.ID)
			}
			b.Prepare(ids)
		}
		for i, a := range s.acts {
			if err := act1(t, b, a); err != nil {
				return fmt.Errorf("act %d: %w", i, err)
			}
		}
		if s.abort {
			return errAbort
		}
		return nil
	})
	if s.abort && errors.Is(err, errAbort) {
		return nil
	}
	return err
}

var (
	errAbort = errors.New("the batch was given up")
	errFail  = errors.New("the handler failed")
)

// space returns a namespace in use.
func (d *driver) space(i int) (*store.Namespace, error) {
	if d.spaces[i] != nil {
		return d.spaces[i], nil
	}
	name, o := d.script.spaces[i].name, d.script.spaces[i].opts
	if slices.Contains(slices.Collect(d.store.Namespaces()), name) {
		n, err := d.store.Namespace(name, nil) // with the settings that it has by now
		if err != nil {
			return nil, err
		}
		st, err := n.Status()
		if err != nil {
			return nil, err
		}
		policy := o.Unknown // not stored
		o = st.Settings
		o.Unknown = policy
	}
	o.BucketWidth = d.width
	n, err := d.store.Namespace(name, &o)
	if err == nil {
		d.spaces[i] = n
	}
	return n, err
}

// act1 makes one call of a batch and checks its answer. It returns an error of
// the disk.
func act1(t require.TestingT, b *store.Batch, a crashAct) error {
	handle := func(tx *store.Tx) error {
		if tx.Decision().Action == store.DeadLetter {
			return finish(tx, a)
		}
		if _, err := tx.Add([]byte(a.keys[0]), 1); err != nil {
			return err
		}
		if err := tx.Set([]byte(a.keys[1]), []byte(valueOf(a.rec))); err != nil {
			return err
		}
		if a.keys[2] != "" {
			if err := tx.Delete([]byte(a.keys[2])); err != nil {
				return err
			}
		}
		return finish(tx, a)
	}
	switch a.kind {
	case actDo:
		got, err := b.Do(a.rec, handle)
		if err != nil {
			return err
		}
		require.Equal(t, a.want, got, "decision of %v %.20q", a.rec.Origin, a.rec.ID)
	case actPass:
		return b.Pass(a.rec, handle)
	case actReplay:
		_, err := b.Do(a.rec, handle)
		require.ErrorIs(t, err, store.ErrReplay)
	case actFail, actPanic:
		got, err := failing(b, a, handle)
		if !errors.Is(err, errFail) {
			return cmpErr(err, errors.New("the handler was not called"))
		}
		if a.kind == actFail {
			require.Equal(t, a.want, got)
		}
	case actSkip:
		require.NoError(t, b.SetPosition(a.pos))
	case actSettle:
		b.Settle(a.seq)
	case actCommitted:
		b.SetCommitted(store.Committed{Offset: a.pos.Offset, LeaderEpoch: 7, Tag: a.outs[0]})
	case actRemember:
		b.Remember(a.pos.Offset, a.seq)
	case actForget:
		return forgetNow(t, b, a)
	}
	return nil
}

// finish stages what an act brings out, and fails where it has to.
func finish(tx *store.Tx, a crashAct) error {
	for _, o := range a.outs {
		if err := tx.Stage([]byte(o)); err != nil {
			return err
		}
	}
	switch a.kind {
	case actFail:
		return errFail
	case actPanic:
		panic(errFail)
	}
	return nil
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// failing calls Do with a handler that fails or panics, and returns the panic
// as an error.
func failing(b *store.Batch, a crashAct, h func(*store.Tx) error) (d store.Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	return b.Do(a.rec, h)
}

// play takes the steps from first on, all of which must go well, and checks the
// end.
func (d *driver) play(t require.TestingT, first int) {
	for i := first; i < len(d.script.steps); i++ {
		require.NoError(t, d.step(t, d.script.steps[i]), "step %d", i)
	}
	d.check(t, len(d.script.steps))
}

// find returns the number of steps, of lo to hi, that the open store holds.
func (d *driver) find(t require.TestingT, lo, hi int) int {
	names := slices.Collect(d.store.Namespaces())
	held := map[string]uint64{}
	for i, sp := range d.script.spaces {
		if slices.Contains(names, sp.name) {
			n, err := d.space(i)
			require.NoError(t, err)
			st, err := n.Status()
			require.NoError(t, err)
			held[sp.name] = st.Sequence
		}
	}
	for i := lo; i <= hi; i++ {
		want := map[string]uint64{}
		for k, p := range d.script.after[i] {
			if p.made {
				want[d.script.spaces[k].name] = p.status.Sequence
			}
		}
		if fmt.Sprint(want) == fmt.Sprint(held) {
			return i
		}
	}
	require.FailNow(t, "acknowledged steps are lost, or half there",
		"steps %d to %d; the store's batches: %v", lo, hi, held)
	return 0
}

// check compares the open store with the picture after n steps.
func (d *driver) check(t require.TestingT, n int) {
	for i, p := range d.script.after[n] {
		if !p.made {
			continue
		}
		name := d.script.spaces[i].name
		ns, err := d.space(i)
		require.NoError(t, err)
		require.NoError(t, ns.Load(), "a false alarm, or damage: %s after %d steps", name, n)
		segments, err := ns.Segments()
		require.NoError(t, err)
		st, err := ns.Status()
		require.NoError(t, err)
		stand := uint64(0)
		for _, g := range segments {
			if g.Shared {
				d.shared++
			}
			// One that has left the window goes with the next batch, or with the
			// merge that it is in when that cannot be cancelled any more.
			if st.Settings.Window.ContainsMillis(g.High.UnixMilli(), st.Clock.UnixMilli()) {
				stand += g.Markers
			}
		}
		require.LessOrEqual(t, stand, p.most, "I6: %s after %d steps", name, n)
		st.Counts, st.Markers, st.Segments, st.Sealed = store.Counts{}, 0, 0, 0
		st.Settings.BucketWidth = 0
		require.Equal(t, p.status, st, "%s after %d steps", name, n)

		state := map[string]string{}
		require.NoError(t, ns.View(func(v *store.View) error {
			return v.Scan(nil, func(key, value []byte) error {
				state[string(key)] = string(value)
				return nil
			})
		}))
		require.True(t, maps.Equal(p.state, state),
			"I1: %s after %d steps\nwant %q\ngot  %q", name, n, p.state, state)

		var pending []store.Output
		require.NoError(t, ns.Pending(func(o store.Output) error {
			pending = append(pending, o)
			return nil
		}))
		require.True(t, slices.EqualFunc(p.pending, pending, sameOutput),
			"pending outputs: %s after %d steps\nwant %v\ngot  %v", name, n, p.pending, pending)

		require.ErrorIs(t, ns.Update(func(b *store.Batch) error {
			if n%2 == 0 {
				b.Prepare(d.script.ids)
			}
			for k, id := range d.script.ids {
				got, err := b.Do(store.Record{ID: id}, nil)
				require.NoError(t, err)
				if want := p.probes[k]; got != want {
					require.Equal(t, want, got, "I8: %s after %d steps, ID %.20q", name, n, id)
				}
			}
			return errAbort
		}), errAbort)
	}
}

func sameOutput(a, b store.Output) bool {
	return a.Origin == b.Origin && a.Sequence == b.Sequence && a.Index == b.Index &&
		bytes.Equal(a.Data, b.Data)
}

// failNow lets require be used where no test goroutine is: it ends the function
// given to caught.
type failNow struct{ text string }

type catcher struct{ texts []string }

func (c *catcher) Errorf(format string, args ...any) {
	c.texts = append(c.texts, fmt.Sprintf(format, args...))
}

func (c *catcher) FailNow() { panic(failNow{fmt.Sprint(c.texts)}) }

// caught calls fn and returns what made it fail.
func caught(fn func(t require.TestingT)) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failNow:
			err = errors.New(r.text)
		default:
			panic(r)
		}
	}()
	fn(&catcher{})
	return nil
}

func TestScript_PlaysWithoutACrash(t *testing.T) {
	for seed := range uint64(atMost(20, 3)) {
		playAndCheck(t, newDriver(writeScript(seed, usual()), newCrashFS()))
	}
}

func TestScript_PlaysInLittleMemory(t *testing.T) {
	shared := 0
	for seed := range uint64(atMost(6, 2)) {
		d := newDriver(writeScript(800+seed, tight()), newCrashFS())
		playAndCheck(t, d)
		shared += d.shared
	}
	t.Logf("%d segments of shared tables were met", shared)
	require.Greater(t, shared, 100)
}

// playAndCheck plays a script and checks the store after every step.
func playAndCheck(t *testing.T, d *driver) {
	for i, s := range d.script.steps {
		require.NoError(t, d.step(t, s), "seed %d step %d", d.script.seed, i)
		d.check(t, i+1)
	}
	require.NoError(t, d.close())
}
