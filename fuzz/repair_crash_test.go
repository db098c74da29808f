package fuzz

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// spoil are damages that a repair answers in different ways.
var spoil = []struct {
	name   string
	tables bool // one of them, at least, has to go
	do     func(t *testing.T, fs *faultFS)
}{
	{"a page is gone", true, func(t *testing.T, fs *faultFS) { // one table is set aside
		removeKeys(t, fs, 1, func(key []byte) bool { return key[0] == 0x01 && key[13] == 0x00 })
	}},
	{"an entry of the catalogue is gone", true, func(t *testing.T, fs *faultFS) { // and coverage opens
		removeKeys(t, fs, 1, func(key []byte) bool { return key[0] == 0x02 })
	}},
	{"runs are gone", false, func(t *testing.T, fs *faultFS) { // what is lost is in no segment that is known
		removeKeys(t, fs, 3, func(key []byte) bool { return key[0] == 0x03 })
	}},
	{"a block of a table is damaged", true, func(t *testing.T, fs *faultFS) {
		for _, path := range filesOf(t, fs, damagedDir, ".sst") {
			b := contents(t, fs, path)
			at := len(b) / 2
			b[at] ^= 1
			try := fs.crash(0, nil)
			replace(t, try, path, slices.Clone(b))
			report, err := storehook.Repair(damagedDir, slog.New(slog.DiscardHandler), repairHooks(try))
			if err == nil && len(report.(*store.RepairReport).SetAside) > 0 {
				replace(t, fs, path, b)
				return
			}
		}
		require.Fail(t, "no table can be repaired")
	}},
	{"two namespaces are damaged", true, func(t *testing.T, fs *faultFS) {
		removeKeys(t, fs, 40, func(key []byte) bool { return key[0] == 0x03 || key[0] == 0x01 && key[13] == 0x00 })
	}},
}

// removeKeys removes some keys of a closed store, evenly among those that match.
func removeKeys(t *testing.T, fs *faultFS, n int, match func(key []byte) bool) {
	inside(t, fs, damagedDir, func(db *pebble.DB) {
		var keys [][]byte
		for key := range entries(t, db) {
			if match(key) {
				keys = append(keys, slices.Clone(key))
			}
		}
		require.GreaterOrEqual(t, len(keys), n)
		for i := range n {
			require.NoError(t, db.Delete(keys[(i*len(keys)+len(keys)/2)/n], pebble.Sync))
		}
	})
}

// The process dies inside Repair, before any operation on a file: what that left
// never gives a wrong answer, says that it is damaged if it does not open, and
// is whole after another Repair; a third finds nothing to do.
func TestFault_A10_CrashAtEveryStepOfARepair(t *testing.T) {
	left, all := twoDamaged(t)
	for n, c := range spoil[:atMost(len(spoil), 2)] {
		t.Run(c.name, func(t *testing.T) {
			fs := left.crash(0, nil)
			c.do(t, fs)
			damaged := fs.crash(0, nil)
			type picture struct {
				op fsOp
				fs *faultFS
			}
			var images []picture
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(651, uint64(n)))
			fs.watch(func(op fsOp) error {
				mu.Lock()
				defer mu.Unlock()
				if op.index%int64(atMost(1, 12)) == 0 {
					images = append(images, picture{op, fs.crash([]int{0, 50, 100}[rng.IntN(3)], rng)})
				}
				return nil
			})
			mended, err := storehook.Repair(damagedDir, slog.New(slog.DiscardHandler), repairHooks(fs))
			fs.watch(nil)
			require.NoError(t, err)
			require.NotEmpty(t, mended.(*store.RepairReport).Mended)
			images = append(images, picture{fsOp{kind: "the end"}, fs.crash(0, nil)})
			require.Greater(t, len(images), atMost(30, 2))
			var opened, refused, again, unfinished int
			before := deadRecords(t, damaged)
			inParallel(t, len(images), func(i int) error {
				im := images[i]
				left := deadRecords(t, im.fs.crash(0, nil))
				was, is, err := afterCrashedRepair(im.fs, all)
				mu.Lock()
				defer mu.Unlock()
				if was {
					opened++
					if left > before {
						unfinished++
					}
				} else {
					refused++
				}
				if is {
					again++
				}
				if err != nil {
					return fmt.Errorf("crash before %v: %w", im.op, err)
				}
				return nil
			})
			t.Logf("%d images: %d answer as they are, %d of them with tables to remove, %d say that they are damaged; "+
				"%d were repaired once more", len(images), opened, unfinished, refused, again)
			require.Positive(t, opened)
			if c.tables && !raceDetector {
				require.Positive(t, unfinished, "what is left to do after the batch is not the next opening's")
			}
			require.Positive(t, refused)
		})
	}
}

// deadRecords counts the tables that are still to go, see store/key.go.
func deadRecords(t *testing.T, fs *faultFS) (n int) {
	inside(t, fs, damagedDir, func(db *pebble.DB) {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{0x0a}, UpperBound: []byte{0x0b}})
		require.NoError(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		require.NoError(t, errors.Join(it.Error(), it.Close()))
	})
	return n
}

// twoDamaged writes a store of two namespaces with the same records, to be
// damaged, and leaves its files as a crash does.
func twoDamaged(t *testing.T) (left *faultFS, all int64) {
	first, all := leftover(t)
	st, n, err := openDamaged(first)
	require.NoError(t, err)
	other, err := st.Namespace("b", &store.NamespaceOptions{Window: n.Window()})
	require.NoError(t, err)
	for from := int64(0); from < all; from += 100 {
		require.NoError(t, other.Update(func(b *store.Batch) error {
			for o := from; o < from+100; o++ {
				at := store.Position{TopicID: store.ID{1}, Offset: o}
				if _, err := b.Do(store.Record{ID: fmt.Appendf(nil, "id-%d", o), At: wallClock, Origin: at}, nil); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	require.NoError(t, storehook.Drain(st))
	left = first.crash(0, nil)
	require.NoError(t, st.Close())
	return left, all
}

// afterCrashedRepair asks what a crash inside a repair left, repairs it, and asks
// again. It tells whether it answered as it was, and whether there was anything
// left to repair.
func afterCrashedRepair(fs *faultFS, all int64) (answered, mended bool, err error) {
	first := fs.crash(0, nil)
	lost, err := askBoth(first, all)
	switch {
	case err == nil:
		answered = true
	case !errors.Is(err, store.ErrCorrupt):
		return false, false, fmt.Errorf("as it is: %w", err)
	}
	for round := range 2 {
		report, err := storehook.Repair(damagedDir, slog.New(slog.DiscardHandler), repairHooks(fs))
		if err != nil {
			return answered, mended, fmt.Errorf("repair %d: %w", round, err)
		}
		did := len(report.(*store.RepairReport).Mended) > 0
		if round == 0 {
			mended = did
		} else if did {
			return answered, mended, errors.New("a repaired store is repaired again")
		}
		now, err := askBoth(fs, all)
		if err != nil {
			return answered, mended, fmt.Errorf("after repair %d: %w", round, err)
		}
		if answered && !mended && now != lost {
			return answered, mended, fmt.Errorf("%d were lost, now %d", lost, now)
		}
	}
	return answered, mended, nil
}

// askBoth asks both namespaces for everything, and counts what they cannot know.
func askBoth(fs *faultFS, all int64) (lost int, err error) {
	st, n, err := openDamaged(fs)
	if st != nil {
		defer func() {
			if closing := st.Close(); err == nil {
				err = closing
			}
		}()
	}
	if err != nil {
		return 0, err
	}
	other, err := st.Namespace("b", nil)
	if err != nil {
		return 0, err
	}
	for _, n := range []*store.Namespace{n, other} {
		l, err := answersAfterRepair(n, all)
		if err != nil {
			return 0, err
		}
		lost += l
	}
	return lost, nil
}
