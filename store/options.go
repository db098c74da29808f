package store

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/firstseen/firstseen/window"
)

// Options of a store. Nil and the zero value work.
type Options struct {
	// CommitTimeout bounds every wait for the disk: a batch that is not durable
	// by then poisons the store. Defaults to 30 s.
	CommitTimeout time.Duration

	// FilterMemory is the budget, in bytes, of the filters by which an absent
	// ID costs no read: 2 bytes per marker that is in a table. Beyond it the
	// oldest filters are halved, and then dropped: answers stay right, and cost
	// more reads. Defaults to 1 GB.
	FilterMemory int64

	// InMemory keeps everything in memory and ignores the directory: for tests.
	InMemory bool

	// Logger receives what happens rarely and matters: a state entered, damage
	// found. Never an ID. Defaults to slog.Default().
	Logger *slog.Logger

	// Memory is the budget, in bytes, of the markers that are held in memory:
	// those that are not yet in tables, and as many of the newest others as fit.
	// Beyond it, namespaces that were idle longest are read back when they are
	// used again, and tables are written early. Filters, the block cache (64 MB)
	// and the write buffers (64 MB each) come on top. Defaults to 256 MB.
	Memory int64

	// MinFree is the free space on the disk, in bytes, below which no batch is
	// accepted (ErrDiskFull): room for what is under way. What the markers in
	// memory will take as tables is kept free on top of it, and a fourth of it
	// is held by a ballast file that is given up when the disk is full all the
	// same. What has expired is dropped below it, too. Defaults to 64 MB; -1
	// checks nothing.
	MinFree int64

	// Now is the wall clock, used only to tell times that lie in the future.
	// Defaults to time.Now.
	Now func() time.Time

	// ReadOnly opens a store that is there (ErrFormat) to look into it: nothing in
	// its directory changes, no opening is counted, and the witness is read, but
	// not written. It is locked all the same (ErrLocked); see the package page for
	// a file system that is mounted for reading only. What would change it, a batch
	// or another setting of a namespace, and Checkpoint, returns ErrReadOnly.
	ReadOnly bool

	// Witness is the path of a small file, outside the store's directory, that
	// says how far the store has come: a directory that is older than that is
	// refused with ErrRolledBack, and so is one that is missing. It is written
	// at Open, every five seconds and at Close. Put it on another disk, where no
	// snapshot takes both back at once. Defaults to the directory's path with
	// ".witness" appended, and to none, with a warning, where that cannot be
	// written; "-" is none: a store that was rolled back as a whole is then
	// believed, unless a caller knows better (Namespace.Witnessed). A store in
	// memory has none.
	Witness string
}

const (
	defaultMemory = 256 << 20
	defaultFilter = 1 << 30
	closeTimeout  = 10 * time.Second
)

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.CommitTimeout = cmp.Or(c.CommitTimeout, 30*time.Second)
	c.FilterMemory = cmp.Or(c.FilterMemory, defaultFilter)
	c.Memory = cmp.Or(c.Memory, defaultMemory)
	c.MinFree = cmp.Or(c.MinFree, defaultMinFree)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (o *Options) validate() error {
	var errs []error
	if o.CommitTimeout < 0 {
		errs = append(errs, fmt.Errorf(
			"store: CommitTimeout is %v; give a positive duration, or 0 for 30s", o.CommitTimeout))
	}
	if o.FilterMemory < 0 {
		errs = append(errs, fmt.Errorf(
			"store: FilterMemory is %d bytes; give a positive number, or 0 for 1 GB", o.FilterMemory))
	}
	if o.Memory < 0 {
		errs = append(errs, fmt.Errorf(
			"store: Memory is %d bytes; give a positive number, or 0 for 256 MB", o.Memory))
	}
	if o.ReadOnly && o.InMemory {
		errs = append(errs, errors.New(
			"store: ReadOnly and InMemory are set, and a store in memory is empty; set one of them"))
	}
	if o.MinFree < -1 {
		errs = append(errs, fmt.Errorf(
			"store: MinFree is %d bytes; give a positive number, 0 for 64 MB, or -1 to check nothing", o.MinFree))
	}
	return errors.Join(errs...)
}

// NamespaceOptions are the settings of a namespace. Nil and the zero value work
// for one that is created.
//
// Window, MaxAdvance, MaxAhead and IDSource are stored. Where an opening asks for
// others, the namespace changes at once, in a batch of its own, and its log says
// so; nil asks for what is stored. A longer window never invents memory: what had
// left the window before stays forgotten, and until a window has passed, coverage
// says from when on all is known (R9). A window that becomes Forever is never
// whole again, unless nothing had left it. What would lose memory is refused with
// ErrSettings unless an option allows it.
type NamespaceOptions struct {
	// AllowIDSourceChange lets IDSource be another one than is stored. Markers
	// of the old source stay, and count for an ID that equals theirs: where the
	// two sources can give one ID to two messages, use a new namespace instead.
	// As IDs of the new source do not meet the old markers, coverage opens
	// (Evicted).
	AllowIDSourceChange bool

	// AllowShrink lets Window be shorter than is stored. What has left the
	// shorter window is forgotten for good.
	AllowShrink bool

	// BucketWidth is how often, in the namespace's own time, markers are cut
	// into a new segment. A cost knob: it changes no verdict, is not stored, and
	// may differ at every opening. Defaults to an eighth of the window.
	BucketWidth time.Duration

	// IDSource names what the IDs are taken from, such as "header:payment-id".
	// A namespace refuses to be opened under another name (AllowIDSourceChange):
	// IDs of another kind would not meet their markers. One without a name takes
	// the first that it is given. Empty: not checked.
	IDSource string

	// MaxAdvance is the largest step forward in time that a single record may
	// cause (R1). Defaults to an eighth of the window, at least one minute;
	// without limit when the window is forever.
	MaxAdvance time.Duration

	// MaxAhead is how far beyond the wall clock a record's time may lie; beyond
	// it the time is treated as missing (R1). Defaults to 1 h.
	MaxAhead time.Duration

	// Unknown says what is done with records that the store cannot know (R4).
	// Not stored: it is what the newest opening that gave options asked for.
	// Defaults to accepting them all.
	Unknown UnknownPolicy

	// Window is how long a marker counts. Defaults to window.Day.
	Window window.Window
}

func (o *NamespaceOptions) withDefaults() NamespaceOptions {
	var c NamespaceOptions
	if o != nil {
		c = *o
	}
	if c.Window.IsZero() {
		c.Window = window.Day
	}
	c.MaxAhead = cmp.Or(c.MaxAhead, time.Hour)
	if c.MaxAdvance == 0 && !c.Window.IsForever() {
		c.MaxAdvance = max(c.Window.TTL()/8, time.Minute)
	}
	c.Unknown = c.Unknown.withDefaults()
	return c
}

func (o *NamespaceOptions) validate() error {
	var errs []error
	if err := o.Window.Validate(); err != nil {
		errs = append(errs, err)
	} else if err := o.Window.Buckets(o.BucketWidth).Validate(); err != nil {
		errs = append(errs, err)
	}
	if o.MaxAdvance < 0 || o.MaxAdvance%time.Millisecond != 0 {
		errs = append(errs, fmt.Errorf(
			"store: MaxAdvance is %v; give whole milliseconds, or 0 for an eighth of the window", o.MaxAdvance))
	}
	if o.MaxAhead < 0 || o.MaxAhead%time.Millisecond != 0 {
		errs = append(errs, fmt.Errorf(
			"store: MaxAhead is %v; give whole milliseconds, or 0 for 1h", o.MaxAhead))
	}
	if err := o.Unknown.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
