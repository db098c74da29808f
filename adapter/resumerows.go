package adapter

import (
	"fmt"
	"slices"
)

// resume is what the rows of R11 work on: the inputs, read out, and changed by
// rows 1 and 2.
type resume struct {
	in resumeInputs

	hasL, hasG, hasK bool // for this topic ID
	l, g, k          int64

	tag     offsetTag // of G
	tagged  bool
	tagErr  error      // a firstseen tag that cannot be read
	gIsK    bool       // offset and tag
	hadName bool       // the group or the store had a position in the topic's name
	anew    bool       // the topic was created anew
	common  resumePlan // what rows 1 and 2 found, and what holds for every row
}

func newResume(in resumeInputs) *resume {
	g, k := in.Committed, in.Local.Acknowledged
	r := &resume{
		in:      in,
		hasL:    in.Local.Present && in.Local.TopicID == in.TopicID,
		hasG:    g.Present,
		l:       in.Local.Offset,
		g:       g.Offset,
		k:       k.Offset,
		hadName: in.EverPositioned || in.Local.Present,
		common: resumePlan{
			Epoch:  -1,
			Rewind: in.Local.Rewind,
			where:  fmt.Sprintf("group %q, topic %q, partition %d", in.Group, in.Topic, in.Partition),
		},
	}
	r.hasK = r.hasL && k.Present
	r.gIsK = r.hasG && r.hasK && r.g == r.k && g.Tag == k.Tag
	if g.Present {
		r.tag, r.tagged, r.tagErr = decodeTag(g.Tag)
		if r.tagged && r.tagErr == nil && r.ours() {
			r.common.Settled = r.tag.Sequence
		}
	}
	if k.Present {
		// K was acknowledged to this store, or followed by it: only a tag of
		// its own counts in its batches.
		if tag, ok, err := decodeTag(k.Tag); ok && err == nil && r.isOurs(tag) {
			r.common.Settled = max(r.common.Settled, tag.Sequence)
		}
	}
	return r
}

// isOurs reports whether this store wrote the tag, or one that it is an adopted
// backup of.
func (r *resume) isOurs(tag offsetTag) bool {
	return tag.StoreID == r.in.StoreID || slices.Contains(r.in.Ancestors, tag.StoreID)
}

func (r *resume) ours() bool { return r.isOurs(r.tag) }

// recreated is row 1: a tag that names another topic ID belongs to a topic that
// was deleted. G counts as missing.
func (r *resume) recreated() {
	if r.hasG && r.tagged && r.tagErr == nil && r.tag.TopicID != r.in.TopicID {
		r.hasG, r.tagged, r.gIsK, r.hadName, r.anew = false, false, false, true, true
		r.tag = offsetTag{}
	}
}

// tailLoss is row 2: the epoch of L or G ended below it, so the log lost its
// tail. Each is lowered to the answer for its own epoch, or to the other's when
// it has none; one whose own answer vouches for it stays. K goes with L.
func (r *resume) tailLoss() {
	l, g := r.in.LocalEpochEnd, r.in.CommittedEpochEnd
	l.Known = l.Known && r.hasL && l.Offset >= 0
	g.Known = g.Known && r.hasG && g.Offset >= 0
	lost := l.Known && l.Offset < r.l || g.Known && g.Offset < r.g
	if !lost {
		return
	}
	if !l.Known {
		l = g
	}
	if !g.Known {
		g = l
	}
	p := &r.common
	if p.OpensCoverage = r.hasG && (!r.hasL || r.l < r.g); p.OpensCoverage {
		p.alarm("coverage is open, for the store had not seen what was lost")
	}
	if r.hasG && g.Offset < r.g {
		p.alarm("the log lost its tail: the group stood at %d and goes back to %d", r.g, g.Offset)
		r.g = g.Offset
	}
	p.Lowered, p.LowerTo = true, r.g
	if r.hasL {
		if l.Offset < r.l {
			p.alarm("the log lost its tail: the store stood at %d and goes back to %d", r.l, l.Offset)
			r.l, r.k = l.Offset, min(r.k, l.Offset)
		}
		p.LowerTo = r.l
	}
	if r.gIsK {
		r.k = min(r.k, r.g)
	}
	// A store that went back before, and ended before it committed, has a K that
	// is lowered already.
	g0, k0 := r.in.Committed, r.in.Local.Acknowledged
	r.gIsK = r.gIsK || r.hasG && r.hasK && r.g == r.k && g0.Tag == k0.Tag
}

// match returns the plan of the first of rows 3 to 13 that matches.
func (r *resume) match() resumePlan {
	switch {
	case r.replaced():
		return r.row3()
	case !r.hasL && !r.hasG:
		return r.row4()
	case r.hasG && r.tagErr != nil:
		return r.unreadable()
	case !r.hasL:
		return r.row5()
	case !r.hasG:
		return r.row6()
	case r.foreign():
		return r.row7()
	case r.g > r.l && r.cutShort() > 0: // before the first commit of its own
		return r.row10()
	case r.g > r.l && r.tag.StoreID == r.in.StoreID && !r.knownOpen():
		return r.row8()
	case r.g > r.l && r.ours():
		return r.row9()
	case r.g > r.l:
		return r.row10()
	case r.hasK && r.g < r.k && r.tagged && r.tag.Rewind == r.in.Local.Rewind:
		// Row 11: the coordinator lost its tail. What is pending counts from K.
		return r.passed(r.start(11, r.l, r.in.Local.Epoch))
	case r.tagged && !r.ours() && !r.gIsK:
		return r.row12()
	default:
		// Row 13: a crash before the Kafka commit.
		return r.passed(r.start(13, r.l, r.in.Local.Epoch))
	}
}

// replaced is the situation of row 3. A position below the log start is not
// one: the last row judges that.
func (r *resume) replaced() bool {
	return r.hasL && (r.otherRecord() || r.l > r.in.LogEnd) || r.hasG && r.g > r.in.LogEnd
}

// otherRecord reports whether another record stands where the last one stood.
// One that row 2 made the store forget is no evidence.
func (r *resume) otherRecord() bool {
	return r.in.Local.Seam == seamOther && r.in.Local.Last < r.l
}

// row3 stops until told: the log was replaced.
func (r *resume) row3() resumePlan {
	what := fmt.Sprintf("the log ends at %d", r.in.LogEnd)
	switch {
	case r.hasL && r.otherRecord():
		what = fmt.Sprintf("another record stands at %d, the last one that the store read, next is %d",
			r.in.Local.Last, r.l)
	case r.hasL && r.l > r.in.LogEnd:
		what += fmt.Sprintf(", the store stands at %d", r.l)
	}
	if r.hasG {
		what += fmt.Sprintf(", the group at %d", r.g)
	}
	return r.stop(3, ErrLogReplaced, "%s; bring the old log back, or take a new group and an "+
		"empty store for the new one", what)
}

// row4 is a new partition: no L for this topic ID and no G. The configured
// start counts only when the name is new as well; else nothing may be skipped.
func (r *resume) row4() resumePlan {
	p := r.start(4, r.in.LogStart, -1)
	switch {
	case r.hadName:
	case r.in.Start == StartLatest:
		p.Offset = r.in.LogEnd
	case r.in.Start == StartTime:
		p.Offset = max(r.in.LogStart, min(r.in.TimeOffset, r.in.LogEnd))
	}
	p.OpensCoverage = p.OpensCoverage || p.Offset > 0
	if r.in.EverPositioned && !r.in.Local.Present && !r.anew {
		p.alarm("the partition was added to a topic that the group had: the records of a key may stand " +
			"in two partitions now, and copies in both are not seen together")
	}
	return p
}

// unreadable stops where rows 5 and 7 to 13 would need a tag that cannot be
// read: no policy may guess what it says.
func (r *resume) unreadable() resumePlan {
	row, local := 5, "the store has no position"
	if r.hasL {
		row, local = 7, fmt.Sprintf("the store stands at %d", r.l)
	}
	return r.stop(row, r.tagErr, "the group stands at %d, %s", r.g, local)
}

// row5 is a cold store: no L, but the group has an offset.
func (r *resume) row5() resumePlan {
	if !r.tagged { // a group that adopts us
		if r.in.HasState && !r.in.FreshState {
			return r.stop(5, ErrStateElsewhere, "the group stands at %d without a tag of firstseen, "+
				"the store has no position, and state of the records below is nowhere; take a new group, "+
				"or set FreshState to start with empty state", r.g)
		}
		p := r.start(5, r.g, r.in.Committed.Epoch)
		p.Follow, p.OpensCoverage = true, true
		p.EmptyState, p.NoState = r.in.HasState, !r.in.FreshState
		return p
	}
	p := r.restore(5, fromClock)
	if p.Lost = r.ours(); p.Lost {
		p.alarm("the store lost the partition that it committed up to %d", r.g)
	}
	return r.carry(p, fromClock, r.tag.HasState)
}

// row6 is a group without an offset. K says whether it had one, and so does a
// restore that was cut short: it goes on to where the group was then.
func (r *resume) row6() resumePlan {
	p := r.start(6, r.l, r.in.Local.Epoch)
	switch to := r.cutShort(); {
	case to > r.l:
		r.k, r.g = to, to
		p.Action, p.Read, p.Offset, p.Epoch = actionRestore, offsetRange{r.l, to}, to, -1
	case !r.hasK: // before our first commit
		return p
	}
	if r.in.OnMissingOffset == MissingOffsetStop {
		return r.stop(6, ErrOffsetsLost, "the group had acknowledged %d and has no offset now, "+
			"the store stands at %d; set OnMissingOffset to MissingOffsetResume to go on there", r.k, r.l)
	}
	outputs := "an output acknowledged"
	if r.in.Transactional {
		outputs = "an output of a transaction committed"
	}
	p.alarm("the group lost its offset %d; %s after it may go out twice", r.k, outputs)
	if p.reads() {
		return r.carry(p, r.l, r.in.HasState)
	}
	return p
}

// foreign is the situation of row 7: G is not K and has no tag, or a reset was
// honoured elsewhere. A G without a tag that is K stands at L or below, for K
// is honoured together with L; above L it is foreign, too.
func (r *resume) foreign() bool {
	if !r.tagged {
		return !r.gIsK || r.g > r.l
	}
	return r.tag.Rewind > r.in.Local.Rewind
}

// row7 does what the policy for foreign offsets says.
func (r *resume) row7() resumePlan {
	switch r.in.OnForeignOffset {
	case ForeignIgnore:
		return r.start(7, r.l, r.in.Local.Epoch)
	case ForeignHonour:
	default:
		who := "an operator or another client moved the group"
		if r.tagged {
			who = "a reset was honoured by another store, which moved the group"
		}
		return r.stop(7, ErrForeignOffset, "%s to %d, the store stands at %d; set OnForeignOffset to "+
			"ForeignHonour to go to %d, or to ForeignIgnore to go on at %d", who, r.g, r.l, r.g, r.l)
	}
	p := r.start(7, r.g, r.in.Committed.Epoch)
	p.Follow, p.Skips, p.Rewind = true, r.tag.Skipped, r.in.Local.Rewind+1
	if r.tagged {
		p.Rewind = r.tag.Rewind
	}
	if r.g > r.l {
		p.Skipped, p.OpensCoverage = offsetRange{r.l, r.g}, true
		r.breakState(&p)
	}
	return p
}

func (r *resume) knownOpen() bool {
	return r.in.KnownOpen != nil && r.in.KnownOpen(r.tag.OpenID)
}

// row8 stops until told: an opening of this store that it does not remember
// went on, so this directory is a backup or a clone.
func (r *resume) row8() resumePlan {
	return r.stop(8, ErrCloned, "the group stands at %d, committed by opening %x of this store, "+
		"which this directory does not know; it stands at %d; run the directory that committed, "+
		"or adopt this one (store.Adopt)", r.g, r.tag.OpenID, r.l)
}

// row9 is our own commit above L: the disk lost its tail. The records of
// [L, G) were handled and their outputs are in Kafka (R10): only what was
// stored of them is made again.
func (r *resume) row9() resumePlan {
	p := r.restore(9, r.l)
	p.Lost = true
	p.alarm("the disk lost its tail: the store committed %d and stands at %d", r.g, r.l)
	if !r.in.HasState && !r.tag.HasState {
		return p
	}
	if r.in.Compacted || r.tag.Merged && r.skips(r.l) {
		return r.carry(p, fromClock, true) // the records of [L, G) are not all known any more
	}
	p.Action = actionHandleAgain
	return p
}

// row10 is another store's commit above L: another instance went on. So is one
// above a restore that was cut short, whoever committed it.
func (r *resume) row10() resumePlan {
	p := r.restore(10, r.l)
	p.Lost = r.ours()
	return r.carry(p, r.l, r.in.HasState || r.tag.HasState)
}

// cutShort returns the offset up to which the store was being restored, 0 when it
// was not.
func (r *resume) cutShort() int64 {
	if !r.hasL {
		return 0
	}
	return r.in.Local.Restoring
}

// row12 is another store's commit at or below L that we do not know: we were
// replaced with an uncommitted tail. What we did from K on did not happen.
// Without K, or a clock in its tag, that is all that we did.
func (r *resume) row12() resumePlan {
	from, forget := int64(fromClock), int64(0)
	if _, tagged, err := decodeTag(r.in.Local.Acknowledged.Tag); r.hasK && tagged && err == nil {
		from, forget = r.k, r.k
	}
	p := r.restore(12, from)
	p.Forget, p.ForgetFrom, p.Passed = true, forget, 0
	return r.carry(p, fromClock, r.in.HasState || r.tag.HasState)
}

// judge is the last row: the first offset to be read must not lie below the log
// start. A hole that only a restore would have read opens coverage and never
// stops.
func (r *resume) judge(p resumePlan) resumePlan {
	if p.Action == actionStop {
		return p
	}
	r.trim(&p)
	start, first := r.in.LogStart, p.Offset
	if p.Action == actionHandleAgain {
		first = p.Read.From
	}
	if first >= start {
		return p
	}
	if r.in.OnGap == GapStop {
		return r.stop(lastRow, ErrGap, "the log starts at %d, the next record is %d; set OnGap to "+
			"GapJump to go on without the records between", start, first)
	}
	p.Row, p.Gap, p.OpensCoverage = lastRow, offsetRange{first, start}, true
	if p.Offset < start {
		p.Offset, p.Epoch = start, -1
	}
	if p.Read.From = start; p.Action != actionHandleAgain || start >= p.Read.To {
		p.Action, p.Read = actionStart, offsetRange{}
	}
	r.breakState(&p)
	return p
}

// trim takes the action away when there is nothing to read, and cuts what a
// restore reads to what the log has. For a reading that begins
// at a clock, R13 finds out itself.
func (r *resume) trim(p *resumePlan) {
	if p.Action != actionStart && max(p.Read.From, 0) >= p.Read.To {
		p.Action, p.Read = actionStart, offsetRange{}
	}
	if p.Action != actionRestore {
		return
	}
	p.OpensCoverage = p.OpensCoverage || !r.in.ByOutput && r.in.Compacted || r.tag.Merged
	if r.in.ByOutput {
		return
	}
	switch start := r.in.LogStart; {
	case p.Read.To <= start:
		p.Action, p.Read, p.OpensCoverage = actionStart, offsetRange{}, true
	case p.Read.From != fromClock && p.Read.From < start:
		p.Read.From, p.OpensCoverage = start, true
	}
}

// start returns the plan that needs nothing else.
func (r *resume) start(row int, offset int64, epoch int32) resumePlan {
	p := r.common
	p.Row, p.Action, p.Offset, p.Epoch = row, actionStart, offset, epoch
	return p
}

// restore returns the plan that restores the markers of [from, G) by the tag of
// G and starts at G.
func (r *resume) restore(row int, from int64) resumePlan {
	p := r.passed(r.start(row, r.g, r.in.Committed.Epoch))
	p.Action, p.Read, p.Skips, p.Clock = actionRestore, offsetRange{from, r.g}, r.tag.Skipped, r.tag.Clock
	p.Timeline = r.tag.Timeline
	p.Follow, p.Rewind = true, max(p.Rewind, r.tag.Rewind)
	if r.tag.Forgets > 0 {
		p.alarm("markers that were forgotten (%d times) may come back", r.tag.Forgets)
	}
	return p
}

// passed says which outputs another store's G has made its own.
func (r *resume) passed(p resumePlan) resumePlan {
	if r.tagged && !r.ours() {
		p.Passed = r.g
	}
	return p
}

// carry lets the state follow a restore up to G (R13): a pure handler makes it
// from a whole one at from, or from nothing, as far as the log has the records
// and no policy skipped any; else it is refused unless told, never started
// empty silently.
func (r *resume) carry(p resumePlan, from int64, state bool) resumePlan {
	if !state {
		return p
	}
	again := r.in.Pure && !r.in.Compacted
	switch {
	case again && from != fromClock && r.in.StateWhole && from >= r.in.LogStart && !r.skips(from):
		p.Action, p.Read = actionRebuild, offsetRange{from, r.g}
	case again && r.in.LogStart == 0 && !r.skips(0):
		p.Action, p.Read, p.EmptyState = actionRebuild, offsetRange{0, r.g}, true
	case r.in.FreshState:
		p.EmptyState = true
		p.alarm("the state starts empty at %d, as told", r.g)
	default:
		local := "has no position"
		if r.hasL {
			local = fmt.Sprintf("stands at %d", r.l)
		}
		return r.stop(p.Row, ErrStateElsewhere, "store %x committed %d, this store %s and cannot make "+
			"the state from the log; run the store that committed, or set FreshState to start with empty state",
			r.tag.StoreID, r.g, local)
	}
	return p
}

// skips reports whether a policy skipped records of [from, G).
func (r *resume) skips(from int64) bool {
	return slices.ContainsFunc(r.tag.Skipped, func(s offsetRange) bool {
		return s.From < r.g && s.To > from
	})
}

// breakState notes that the state misses the records that are passed over.
func (r *resume) breakState(p *resumePlan) {
	if r.in.HasState || r.tag.HasState {
		p.StateBroken = true
		p.alarm("the state is not whole from %d on, for records are passed over", p.Offset)
	}
}

// stop returns a plan that stops with this error.
func (r *resume) stop(row int, sentinel error, format string, args ...any) resumePlan {
	return resumePlan{Row: row, Action: actionStop, where: r.common.where,
		Err: fmt.Errorf("%w: %s: %s", sentinel, r.common.where, fmt.Sprintf(format, args...))}
}

// alarm adds a sentence to the alarm.
func (p *resumePlan) alarm(format string, args ...any) {
	if p.Alarm != "" {
		p.Alarm += "; "
	}
	p.Alarm += fmt.Sprintf(format, args...)
}
