package fuzz

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// Real processes on a real directory: the test program starts itself again as
// a child, says what the child is to do, and may kill it.

const (
	childDeed = "FIRSTSEEN_CHILD"
	childDir  = "FIRSTSEEN_CHILD_DIR"
	childFail = "FIRSTSEEN_CHILD_FAIL" // the operation that fails
)

// children are deeds that not every operating system has.
var children = map[string]func(dir string){}

func TestMain(m *testing.M) {
	switch os.Getenv(childDeed) {
	case "open":
		childOpens(os.Getenv(childDir))
	case "write":
		childWrites(os.Getenv(childDir))
	case "tables":
		childFillsTables(os.Getenv(childDir))
	case "fail":
		childFailsToOpen(os.Getenv(childDir))
	default:
		if run := children[os.Getenv(childDeed)]; run != nil {
			run(os.Getenv(childDir))
			return
		}
		os.Exit(m.Run())
	}
}

// childLimit is how long a child may take, however loaded the machine.
const childLimit = 5 * time.Minute

// child returns the command that starts this program as a child.
func child(t *testing.T, deed, dir string) *exec.Cmd {
	program, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program)
	cmd.Cancel = func() error {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Logf("the process that is to %s is killed, %v after its start", deed, childLimit)
		}
		return cmd.Process.Kill()
	}
	cmd.Env = append(os.Environ(), childDeed+"="+deed, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// reports starts a child and returns the lines that it prints.
func reports(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return bufio.NewScanner(out)
}

// childFillsTables fills many more tables than it may have files open, looks
// everything up, and prints how many files it had open at most.
func childFillsTables(dir string) {
	const end, batch = 40_000, 1000
	most := 0
	s, err := storehook.Open(dir, &store.Options{Memory: 1}, // nothing is kept beside its table
		storehook.Hooks{FullSegment: 64, SmallSegment: 16, MergeAbove: end})
	var n *store.Namespace
	if err == nil {
		n, err = s.(*store.Store).Namespace("a", &store.NamespaceOptions{Window: window.Forever})
	}
	for o := int64(0); err == nil && o < 2*end; {
		err = n.Update(func(b *store.Batch) error {
			for last := o + batch; o < last; o++ {
				r := store.Record{ID: fmt.Append(nil, o%end)}
				if o < end {
					r.Origin = store.Position{TopicID: store.ID{1}, Offset: o}
				}
				d, err := b.Do(r, nil)
				if err != nil {
					return err
				}
				if (o < end) != (d.Verdict == store.New) {
					return fmt.Errorf("record %d is %v", o, d)
				}
			}
			return nil
		})
		open, _ := os.ReadDir("/dev/fd")
		most = max(most, len(open))
		if err == nil && o == end {
			err = storehook.Drain(s)
		}
	}
	if err == nil {
		err = s.(*store.Store).Close()
	}
	fmt.Println(most, err)
}

// childOpens opens the store and prints the error.
func childOpens(dir string) {
	s, err := store.Open(dir, nil)
	fmt.Println(err)
	if err == nil {
		fmt.Println(s.Close())
	}
}

func TestFault_B15_OpenedByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, nil)
	require.NoError(t, err)
	out, err := child(t, "open", dir).Output()
	require.NoError(t, err)
	locked := fmt.Sprintf("store: open %s: locked, it is open elsewhere: by process %d; close it there first\n",
		dir, os.Getpid())
	require.Equal(t, locked, string(out))
	// Whoever was refused in this process gave nothing up by it.
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	_, err = store.Open(link, nil)
	require.ErrorIs(t, err, store.ErrLocked)
	out, err = child(t, "open", dir).Output()
	require.NoError(t, err)
	require.Equal(t, locked, string(out))
	require.NoError(t, s.Close())
	out, err = child(t, "open", dir).Output()
	require.NoError(t, err)
	require.Equal(t, "<nil>\n<nil>\n", string(out))
}

// childFailsToOpen opens the store while one operation on its files fails, and
// prints whether that came to pass, and the error.
func childFailsToOpen(dir string) {
	var at int64
	if _, err := fmt.Sscan(os.Getenv(childFail), &at); err != nil {
		panic(err)
	}
	fs := wrapFS(vfs.Default)
	failed := false
	fail := func(op fsOp) error {
		if op.index != max(at, -at) {
			return nil
		}
		failed = true
		return &iofs.PathError{Op: op.kind, Path: op.path, Err: syscall.EIO}
	}
	if at > 0 {
		fs.write = fail
	} else {
		fs.read = fail
	}
	s, err := storehook.Open(dir, &store.Options{CommitTimeout: time.Second}, storehook.Hooks{FS: fs})
	fmt.Println(failed, errors.Is(err, store.ErrPoisoned), err)
	if err == nil {
		_ = s.(*store.Store).Close() // may meet the failure, too
	}
}

// An operation fails inside Open: the store does not open, says why, and has
// lost nothing. In places the storage engine ends the process there; the next
// one opens the store.
func TestFault_B10_A10_ErrorsInsideOpen(t *testing.T) {
	dir := t.TempDir()
	s, n, err := openSmall(dir)
	require.NoError(t, err)
	const end = 400
	for o := int64(0); o < end; o += 20 {
		require.NoError(t, n.Update(func(b *store.Batch) error { return childBatch(b, o) }))
	}
	require.NoError(t, s.Close())
	for _, sign := range []int64{1, -1} {
		refused, opened, died := 0, 0, 0
		for at := int64(1); ; at += int64(atMost(1, 12)) {
			cmd := child(t, "fail", dir)
			cmd.Env = append(cmd.Env, fmt.Sprint(childFail, "=", sign*at))
			cmd.Stderr = nil
			out, err := cmd.Output()
			switch {
			case err != nil:
				died++
			case strings.HasSuffix(strings.TrimSpace(string(out)), "<nil>"):
				opened++
			default:
				require.Contains(t, string(out), "store: open "+dir, "operation %d", sign*at)
				refused++
			}
			require.EqualValues(t, end, wholeUpTo(t, dir, end), "operation %d", sign*at)
			if strings.HasPrefix(string(out), "false") {
				break
			}
		}
		t.Logf("sign %d: %d refused, %d opened, %d ended the process", sign, refused, opened, died)
		require.Positive(t, refused)
	}
}

// openSmall opens the store of a child, small enough to spill and drop.
func openSmall(dir string) (*store.Store, *store.Namespace, error) {
	s, err := storehook.Open(dir, &store.Options{Memory: 64 << 10},
		storehook.Hooks{FullSegment: 64, SmallSegment: 16})
	if err != nil {
		return nil, nil, err
	}
	n, err := s.(*store.Store).Namespace("a", &store.NamespaceOptions{
		Window: window.Of(time.Second), MaxAdvance: 100 * time.Millisecond,
	})
	return s.(*store.Store), n, err
}

// childRecord returns the record at an offset: every fourth is a copy of the one
// three before it, and its time moves by a millisecond.
func childRecord(offset int64) store.Record {
	of := offset
	if offset%4 == 3 {
		of -= 3
	}
	return store.Record{
		ID: fmt.Appendf(nil, "id-%d", of), At: time.UnixMilli(1_700_000_000_000 + offset),
		Origin: store.Position{TopicID: store.ID{1}, Offset: offset},
	}
}

// childWrites goes on from the position with batches of 20 records until it is
// killed. It prints the position before the first and after each: by then it is
// durable.
func childWrites(dir string) {
	_, n, err := openSmall(dir)
	for err == nil {
		var st store.Status
		if st, err = n.Status(); err != nil {
			break
		}
		fmt.Println(st.Position.Offset)
		err = n.Update(func(b *store.Batch) error { return childBatch(b, st.Position.Offset) })
	}
	fmt.Println(err)
	os.Exit(1)
}

// childBatch decides 20 records, each of which stages an output and counts.
func childBatch(b *store.Batch, from int64) error {
	for o := from; o < from+20; o++ {
		d, err := b.Do(childRecord(o), func(tx *store.Tx) error {
			if err := tx.Stage(fmt.Append(nil, o)); err != nil {
				return err
			}
			_, err := tx.Add([]byte("handled"), 1)
			return err
		})
		if err != nil {
			return err
		}
		if copied := o%4 == 3; copied != (d.Verdict == store.Duplicate) {
			return fmt.Errorf("offset %d: %v", o, d)
		}
	}
	b.Settle(b.Sequence() - min(b.Sequence(), 3))
	return nil
}

// Killed at any point, the process has lost nothing that it had reported.
func TestFault_A01_A02_A05_KilledProcess(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	reported := int64(0)
	for kill := range atMost(30, 10) {
		cmd := child(t, "write", dir)
		lines := reports(t, cmd)
		last, err := int64(-1), error(nil)
		for more := rng.IntN(40); lines.Scan(); more-- {
			last, err = strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
			require.NoError(t, err, "seed %d, kill %d", seed, kill)
			require.GreaterOrEqual(t, last, reported, "seed %d, kill %d: reported batches are lost", seed, kill)
			if more <= 0 {
				break
			}
		}
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) // anywhere in a batch
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() { // what it had still reported
			last, err = strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64)
			require.NoError(t, err)
		}
		require.Error(t, cmd.Wait())
		require.GreaterOrEqual(t, last, reported)
		reported = last
		reported = wholeUpTo(t, dir, reported)
	}
	t.Logf("%d offsets", reported)
	require.Positive(t, reported)
}

// wholeUpTo checks a killed process's store and returns its position: every
// record below is accepted once, and so is its effect.
func wholeUpTo(t *testing.T, dir string, reported int64) int64 {
	s, n, err := openSmall(dir)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	st, err := n.Status()
	require.NoError(t, err)
	l := st.Position.Offset
	require.GreaterOrEqual(t, l, reported)
	require.LessOrEqual(t, l, reported+20)
	require.Zero(t, l%20, "half a batch")
	require.NoError(t, n.View(func(v *store.View) error {
		handled, err := v.Get([]byte("handled"))
		if l > 0 {
			require.Equal(t, binary.BigEndian.AppendUint64(nil, uint64(l-l/4)), handled, "at %d", l)
		}
		return err
	}))
	pending, want := 0, int(min(l/20, 3))*15
	require.NoError(t, n.Pending(func(o store.Output) error {
		require.Equal(t, fmt.Sprint(o.Origin.Offset), string(o.Data))
		pending++
		return nil
	}))
	require.Equal(t, want, pending)
	require.ErrorIs(t, n.Update(func(b *store.Batch) error {
		for o := max(0, l-900); o < l; o++ { // within the window
			if o%4 == 3 {
				continue
			}
			d, err := b.Do(store.Record{ID: childRecord(o).ID}, nil)
			require.NoError(t, err)
			require.Equal(t, store.Duplicate, d.Verdict, "offset %d of %d", o, l)
			require.Equal(t, o, d.Origin.Offset)
		}
		d, err := b.Do(store.Record{ID: fmt.Appendf(nil, "id-%d", l)}, nil)
		require.NoError(t, err)
		require.NotEqual(t, store.Duplicate, d.Verdict)
		return errAbort
	}), errAbort)
	require.NoError(t, s.Close())
	return l
}
