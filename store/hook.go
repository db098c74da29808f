package store

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/firstseen/firstseen/internal/storehook"
)

func init() {
	storehook.Open = func(dir string, opts any, h storehook.Hooks) (any, error) {
		o, _ := opts.(*Options)
		return open(dir, o, seamsOf(h))
	}
	storehook.Adopt = func(dir string, opts any, h storehook.Hooks) error {
		o, _ := opts.(*AdoptOptions)
		return adopt(dir, o, seamsOf(h))
	}
	storehook.VerifyDir = func(dir string, h storehook.Hooks) (any, error) {
		return verifyDir(context.Background(), dir, nil, seamsOf(h))
	}
	storehook.Repair = func(dir string, logger any, h storehook.Hooks) (any, error) {
		l, _ := logger.(*slog.Logger)
		return repair(context.Background(), dir, &RepairOptions{Logger: l}, seamsOf(h))
	}
	storehook.Drain = func(s any) error { return s.(*Store).queue.drain() }
}

func seamsOf(h storehook.Hooks) seams {
	sm := seams{fs: h.FS}
	if h.FullSegment > 0 {
		h.MergeAbove = cmp.Or(h.MergeAbove, mergeAbove)
		sm.limits = limits{full: h.FullSegment, small: h.SmallSegment, merge: h.MergeAbove, share: h.ShareLeast}
	}
	sm.limits.table, sm.limits.cache = h.MemTable, h.Cache
	return sm
}
