package fuzz

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

const damagedDir = "disk/store"

func repairHooks(fs *faultFS) storehook.Hooks {
	return storehook.Hooks{FS: fs, FullSegment: 200, SmallSegment: 50, MergeAbove: 8, MemTable: 256 << 10}
}

func openDamaged(fs *faultFS) (*store.Store, *store.Namespace, error) {
	s, err := storehook.Open(damagedDir, &store.Options{Logger: slog.New(slog.DiscardHandler), Witness: "-"},
		repairHooks(fs))
	if err != nil {
		return nil, nil, err
	}
	st := s.(*store.Store)
	n, err := st.Namespace("a", &store.NamespaceOptions{Window: window.Forever})
	if err == nil {
		err = n.Load()
	}
	return st, n, err
}

// answersAfterRepair looks everything up that was accepted: a duplicate of the
// right record, or Unknown for what was lost. It counts the lost.
func answersAfterRepair(n *store.Namespace, all int64) (lost int, err error) {
	err = n.Update(func(b *store.Batch) error {
		for i := range all {
			d, err := b.Do(store.Record{ID: fmt.Appendf(nil, "id-%d", i)}, nil)
			switch {
			case err != nil:
				return err
			case d.Verdict == store.Duplicate && d.Origin.Offset == i:
			case d.Verdict == store.Unknown && d.Reason == store.Lost:
				lost++
			default:
				return fmt.Errorf("ID %d of %d: %v (%v) of offset %d", i, all, d.Verdict, d.Reason, d.Origin.Offset)
			}
		}
		return errAbort
	})
	if errors.Is(err, errAbort) {
		err = nil
	}
	return lost, err
}

// leftover writes a store, and leaves its files as a crash does.
func leftover(t *testing.T) (left *faultFS, all int64) {
	fs := newCrashFS()
	st, n, err := openDamaged(fs)
	require.NoError(t, err)
	for all < 4000 {
		require.NoError(t, n.Update(func(b *store.Batch) error {
			for range 25 {
				at := store.Position{TopicID: store.ID{1}, Offset: all, LeaderEpoch: int32(all / 900)}
				r := store.Record{ID: fmt.Appendf(nil, "id-%d", all), At: wallClock, Origin: at}
				if _, err := b.Do(r, nil); err != nil {
					return err
				}
				all++
			}
			return nil
		}))
		if all%500 == 0 {
			require.NoError(t, storehook.Drain(st))
		}
	}
	left = fs.crash(0, nil)
	require.NoError(t, st.Close())
	return left, all
}

// Whatever file is damaged: the store is whole after a repair and says what it
// lost, or it is said to be beyond repair; and what neither the opening nor
// Verify found to be wrong is right.
func TestFault_B05_RepairOfDamagedFiles(t *testing.T) {
	left, all := leftover(t)
	var whole, back, repaired, kept, beyond int
	for i := range atMost(120, 20) {
		rng := rand.New(rand.NewPCG(600, uint64(i)))
		image := left.crash(0, nil)
		part := []string{".sst", ".sst", ".sst", ".log", "MANIFEST-"}[i%5]
		paths := filesOf(t, image, damagedDir, part)
		path := paths[rng.IntN(len(paths))]
		b := contents(t, image, path)
		if len(b) == 0 {
			continue
		}
		at := rng.IntN(len(b))
		switch what := rng.IntN(8); {
		case what == 0:
			b = b[:at]
		case what == 1:
			clear(b[at:min(len(b), at+512)])
		default:
			b[at] ^= byte(1 << rng.IntN(8))
		}
		replace(t, image, path, b)
		outcome, lost, err := repairOf(image, all)
		require.NoError(t, err, "image %d: %s at %d", i, path, at)
		switch outcome {
		case "whole":
			whole++
		case "went back":
			back++
		case "repaired":
			repaired++
			if lost < int(all) {
				kept++
			}
		case "beyond":
			beyond++
		}
	}
	t.Logf("%d whole, %d went back, %d repaired, %d of them with markers left, %d beyond repair",
		whole, back, repaired, kept, beyond)
	require.Greater(t, repaired, atMost(40, 4))
	require.Greater(t, kept, repaired/2)
}

// repairOf opens and verifies an image, repairs it if it is damaged, and looks
// everything up.
func repairOf(image *faultFS, all int64) (outcome string, lost int, err error) {
	st, n, err := openDamaged(image)
	sound := err == nil
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return "", 0, err
	}
	if sound {
		status, err := n.Status()
		if err != nil {
			return "", 0, err
		}
		if status.Position.Offset < all {
			return "went back", 0, st.Close()
		}
	}
	if st != nil {
		_ = st.Close() // a damaged store may say so again
	}
	report, err := storehook.VerifyDir(damagedDir, repairHooks(image))
	switch {
	case errors.Is(err, store.ErrCorrupt):
		sound = false
	case err != nil:
		return "", 0, err
	default:
		sound = sound && report.(*store.Report).Err() == nil
	}
	if !sound {
		outcome = "repaired"
		_, err := storehook.Repair(damagedDir, slog.New(slog.DiscardHandler), repairHooks(image))
		if errors.Is(err, store.ErrBeyondRepair) {
			return "beyond", 0, nil
		}
		if err != nil {
			return "", 0, err
		}
	} else {
		outcome = "whole"
	}
	st, n, err = openDamaged(image)
	if err != nil {
		return "", 0, err
	}
	lost, err = answersAfterRepair(n, all)
	return outcome, lost, errors.Join(err, st.Close())
}
