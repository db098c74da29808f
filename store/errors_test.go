package store

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What is asked for in a way that cannot be meant is refused by its name, and with
// the way out.
func TestErrors_SayWhatToDo(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	accept(t, n, 0, 20, 0)
	inBatch := func(fn func(*Batch) error) func() error { return func() error { return n.Update(fn) } }
	at := Position{TopicID: ID{1}, Offset: 10}
	for _, c := range []struct {
		name string
		call func() error
		way  string
	}{
		{"no position", inBatch(func(b *Batch) error { return b.SetPosition(Position{}) }), "give a topic ID and an offset"},
		{"back", inBatch(func(b *Batch) error { return b.SetPosition(at) }),
			"go on from there, or MoveTo it if that is meant"},
		{"offsets", func() error { return n.ForgetOrigins(ID{1}, 0, 7, 7) }, "give the lower one first"},
		{"times", func() error { return n.ForgetTimes(time.UnixMilli(2), time.UnixMilli(1)) }, "give the earlier one first"},
		{"nobody's namespace", func() error { return s.DeleteNamespace("b") }, "Store.Namespaces lists those there are"},
		{"no restore", inBatch(func(b *Batch) error { return b.BeginRestore(Restore{To: -1}) }), "give an offset from 0 on"},
		{"restore of nothing", inBatch(func(b *Batch) error { return b.RestoreFrom(at) }), "call BeginRestore first"},
		{"sequence", inBatch(func(b *Batch) error { return b.RaiseSequence(sequenceLimit) }), "give one that a Status"},
		{"output", inBatch(func(b *Batch) error { return b.Replace(Output{Sequence: 1, Origin: at}, nil) }),
			"Namespace.Pending gives those that are"},
		{"no checkpoint", func() error { return Adopt(filepath.Join(t.TempDir(), "none"), nil) },
			"give the directory of a checkpoint"},
	} {
		t.Run(c.name, func(t *testing.T) { require.ErrorContains(t, c.call(), "; "+c.way) })
	}
}

// A disk that fails is told once, whoever meets it on the way.
func TestErrors_FailingDisk(t *testing.T) {
	f := newFault(quiet())
	err := explained(f.read("look up", func() error { return syscall.EIO }))
	require.ErrorIs(t, err, syscall.EIO)
	require.EqualError(t, err,
		"store: look up: input/output error; the disk fails: see to it, then try again in a new process")
	require.NoError(t, f.get(), "it is no damage")
	require.Equal(t, 1, strings.Count(explained(explained(err)).Error(), "the disk fails"))
}
