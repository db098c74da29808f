//go:build linux

package fuzz

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

const (
	crampedBytes  = 96 << 20 // that a child may have
	crampedBudget = 8 << 20  // of Options.Memory, and an eighth of it for filters
	crampedBatch  = 1000
	crampedIDs    = 600_000 // of 250 bytes each, in memory 280
)

func crampedID(i int64) []byte { return fmt.Appendf(nil, "%0240d", i) }

// openCramped opens a store of little memory.
func openCramped(dir string) (*store.Store, *store.Namespace, error) {
	s, err := storehook.Open(dir, &store.Options{Memory: crampedBudget, FilterMemory: crampedBudget / 8},
		storehook.Hooks{FullSegment: 16 << 10, SmallSegment: 2 << 10, MergeAbove: 24, MemTable: 4 << 20, Cache: 4 << 20})
	if err != nil {
		return nil, nil, err
	}
	n, err := s.(*store.Store).Namespace("a", &store.NamespaceOptions{Window: window.Forever})
	return s.(*store.Store), n, err
}

func init() { children["cramped"] = childIsCramped }

// childIsCramped goes on from the position to the end, if it is not there yet,
// and then looks up every 997th ID and as many that never came. It prints where
// it stands, and then what it met.
func childIsCramped(dir string) {
	s, n, err := openCramped(dir)
	for err == nil {
		var st store.Status
		if st, err = n.Status(); err != nil {
			break
		}
		from := st.Position.Offset
		fmt.Println(from)
		if from == crampedIDs {
			break
		}
		err = n.Update(func(b *store.Batch) error {
			for o := from; o < from+crampedBatch; o++ {
				r := store.Record{ID: crampedID(o), Origin: store.Position{TopicID: store.ID{1}, Offset: o}}
				if d, err := b.Do(r, nil); err != nil || d.Verdict != store.New {
					return errors.Join(err, fmt.Errorf("record %d is %v", o, d))
				}
			}
			return nil
		})
	}
	if err == nil {
		err = n.Update(func(b *store.Batch) error {
			for o := int64(0); o < crampedIDs; o += 997 {
				d, err := b.Do(store.Record{ID: crampedID(o)}, nil)
				if err != nil || d.Verdict != store.Duplicate || d.Origin.Offset != o {
					return errors.Join(err, fmt.Errorf("ID %d is %v", o, d))
				}
				if d, err = b.Do(store.Record{ID: crampedID(-o - 1)}, nil); err != nil || d.Verdict != store.New {
					return errors.Join(err, fmt.Errorf("ID %d is %v", -o-1, d))
				}
			}
			return errAbort
		})
	}
	if errors.Is(err, errAbort) {
		err = s.Close()
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(strings.Fields(peak)[0], err)
}

// cgroup makes a group of processes that the kernel kills when they take more
// memory than that, and returns what makes a shell one of them.
func cgroup(t *testing.T, limit int64) (join string, ok bool) {
	for _, of := range []struct{ dir, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"},                   // version 2
	} {
		group := filepath.Join(of.dir, fmt.Sprint("firstseen-", os.Getpid()))
		if os.Mkdir(group, 0o700) != nil {
			continue
		}
		t.Cleanup(func() { // when the kernel has seen the last of them off
			require.Eventually(t, func() bool { return os.Remove(group) == nil }, slack, 10*time.Millisecond)
		})
		f, err := os.OpenFile(filepath.Join(group, of.file), os.O_WRONLY, 0) // the kernel makes it, or there is none
		if err != nil {
			continue
		}
		_, err = fmt.Fprint(f, limit)
		if errors.Join(err, f.Close()) == nil {
			return "echo $$ > " + filepath.Join(group, "cgroup.procs"), true
		}
	}
	return "", false
}

// A process that may have far less memory than its markers would take. It
// writes all of them, dies in between, opens again without needing them all, and
// answers right: with the kernel killing it if it did not keep to its budgets.
// Where no group of processes can be made, which takes root and Linux, the peak of
// its memory, as the kernel counted it, stands for that.
func TestFault_B17_LessMemoryThanMarkers(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes more memory than the limit: the plain run of all tests has it")
	}
	dir := filepath.Join(t.TempDir(), "store")
	join, grouped := cgroup(t, crampedBytes)
	start := func() *exec.Cmd {
		cmd := child(t, "cramped", dir)
		cmd.Env = append(cmd.Env, "GOMEMLIMIT="+strconv.Itoa(crampedBytes/2),
			"MALLOC_ARENA_MAX=1") // the storage engine's, where it was built with cgo
		if grouped {
			cmd = under(join, cmd)
		}
		return cmd
	}
	first := start()
	lines := reports(t, first)
	var err error
	for at := int64(0); at < crampedIDs*2/3; {
		require.True(t, lines.Scan(), "it ended at %d", at)
		at, err = strconv.ParseInt(lines.Text(), 10, 64)
		require.NoError(t, err)
	}
	require.NoError(t, first.Process.Kill())
	_ = first.Wait()

	for range 2 { // to the end, and once more from there
		text, err := start().Output()
		require.NoError(t, err, "it was killed: %s", last(text))
		var peak int64
		_, err = fmt.Sscanf(last(text), "%d <nil>", &peak)
		require.NoError(t, err, "%s", last(text))
		t.Logf("cgroup: %v; a peak of %d MB of %d, for markers of %d MB", grouped, peak>>10, crampedBytes>>20,
			crampedIDs*280>>20)
		if !grouped {
			require.Less(t, peak<<10, int64(crampedBytes))
		}
	}
}

// last returns the last line.
func last(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
