package store

import (
	"cmp"

	"github.com/firstseen/firstseen/internal/storehook"
)

func init() {
	storehook.Open = func(dir string, opts any, h storehook.Hooks) (any, error) {
		o, _ := opts.(*Options)
		sm := seams{fs: h.FS}
		if h.FullSegment > 0 {
			h.MergeAbove = cmp.Or(h.MergeAbove, mergeAbove)
			sm.limits = limits{full: h.FullSegment, small: h.SmallSegment, merge: h.MergeAbove}
		}
		sm.limits.table = h.MemTable
		return open(dir, o, sm)
	}
	storehook.Drain = func(s any) error { return s.(*Store).queue.drain() }
}
