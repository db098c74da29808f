package adapter

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// choices reads small numbers from the fuzzer's bytes, 0 when there are no more.
type choices []byte

func (c *choices) below(n int) int {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return int(b) % n
}

func (c *choices) offset() int64 { return int64(c.below(13)) }
func (c *choices) yes() bool     { return c.below(2) == 1 }

func (c *choices) end() epochEnd {
	if c.yes() {
		return epochEnd{}
	}
	return epochEnd{Known: true, Offset: c.offset() - 1}
}

func (c *choices) tag() string {
	switch c.below(8) {
	case 0:
		return ""
	case 1:
		return []string{"consumer-1", "fs2.AAAA", "fs1.AAAA"}[c.below(3)]
	}
	tag := offsetTag{
		StoreID:  [][16]byte{thisStore, otherStore, ancestor}[c.below(3)],
		OpenID:   [][16]byte{thisOpen, {0xee}}[c.below(2)],
		TopicID:  [][16]byte{thisTopic, thisTopic, oldTopic}[c.below(3)],
		Rewind:   uint64(c.below(3)),
		Sequence: uint64(c.below(9)),
		Merged:   c.yes(),
		HasState: c.yes(),
		Forgets:  uint64(c.below(2)),
	}
	if c.yes() {
		from := c.offset()
		tag.Skipped = []offsetRange{{from, from + 1 + c.offset()}}
	}
	text, err := tag.encode()
	if err != nil {
		panic(err)
	}
	return text
}

func (c *choices) committed() committedOffset {
	if c.below(4) == 0 {
		return committedOffset{}
	}
	return committedOffset{Present: true, Offset: c.offset(), Epoch: 6, Tag: c.tag()}
}

// inputs returns inputs as a store can have them: what was acknowledged to it
// is not above L, and the last record stands below it.
func (c *choices) inputs() resumeInputs {
	in := resumeInputs{
		Group: "g", Topic: "t", TopicID: thisTopic, StoreID: thisStore,
		Ancestors: [][16]byte{ancestor},
		KnownOpen: func(open [16]byte) bool { return open == thisOpen },
		LogStart:  c.offset() / 2, LogEnd: 12,
		LocalEpochEnd: c.end(), CommittedEpochEnd: c.end(),
		Committed: c.committed(), Compacted: c.yes(), ByOutput: c.below(3) == 0, EverPositioned: c.yes(),
		HasState: c.yes(), StateWhole: c.yes(), Pure: c.yes(), FreshState: c.yes(),
		Transactional: c.yes(),
		Start:         Start(c.below(3)), TimeOffset: c.offset(), OnGap: OnGap(c.below(2)),
		OnForeignOffset: OnForeignOffset(c.below(3)), OnMissingOffset: OnMissingOffset(c.below(2)),
	}
	if c.below(4) == 0 {
		in.LogEnd = c.offset()
	}
	if c.below(4) != 0 {
		l := c.offset()
		in.Local = localPosition{Present: true, TopicID: thisTopic, Offset: l, Epoch: 5, Last: l - 1,
			Seam: seam(c.below(4)), Rewind: uint64(c.below(3)), Acknowledged: c.committed()}
		if c.yes() {
			in.Local.Acknowledged = in.Committed
		}
		in.Local.Acknowledged.Offset = min(in.Local.Acknowledged.Offset, l)
		if c.below(8) == 0 {
			in.Local.TopicID = oldTopic
		}
		if c.below(4) == 0 { // up to an offset that was committed, so below the end
			in.Local.Restoring = l + 1 + c.offset()
		}
	}
	return in
}

// known is what the inputs say about the log as it is now, read from the law:
// the oracle of FuzzResumePlan.
type known struct {
	hasL, hasG, hasK, isK bool
	tag                   offsetTag
	tagged, readable      bool
	l, g, k               int64 // after a tail loss
	lost, unseen          bool
	replaced              bool
	cut                   int64 // where the restore ends that was cut short
}

func know(in resumeInputs) known {
	k := known{
		hasL: in.Local.Present && in.Local.TopicID == in.TopicID,
		l:    in.Local.Offset, g: in.Committed.Offset, k: in.Local.Acknowledged.Offset,
	}
	k.hasK = k.hasL && in.Local.Acknowledged.Present
	if k.hasL {
		k.cut = in.Local.Restoring
	}
	var err error
	k.tag, k.tagged, err = decodeTag(in.Committed.Tag)
	k.readable = err == nil
	k.hasG = in.Committed.Present && (!k.tagged || !k.readable || k.tag.TopicID == in.TopicID)
	k.isK = k.hasG && k.hasK && k.g == k.k && in.Committed.Tag == in.Local.Acknowledged.Tag

	short := func(has bool, offset int64, e epochEnd) bool {
		return has && e.Known && e.Offset >= 0 && e.Offset < offset
	}
	sound := func(offset int64, e epochEnd) bool { return e.Known && e.Offset >= offset }
	lShort, gShort := short(k.hasL, k.l, in.LocalEpochEnd), short(k.hasG, k.g, in.CommittedEpochEnd)
	if k.lost = lShort || gShort; k.lost {
		k.unseen = k.hasG && (!k.hasL || k.l < k.g)
	}
	switch l, g := k.l, k.g; {
	case lShort && gShort:
		k.l, k.g = in.LocalEpochEnd.Offset, in.CommittedEpochEnd.Offset
	case lShort:
		k.l = in.LocalEpochEnd.Offset
		if !sound(g, in.CommittedEpochEnd) {
			k.g = min(g, k.l)
		}
	case gShort:
		k.g = in.CommittedEpochEnd.Offset
		if !sound(l, in.LocalEpochEnd) {
			k.l = min(l, k.g)
		}
	}
	if k.k = min(k.k, k.l); k.isK {
		k.k = min(k.k, k.g)
	}
	if k.lost && k.hasG && k.hasK && k.g == k.k {
		k.isK = k.isK || in.Committed.Tag == in.Local.Acknowledged.Tag
	}
	k.replaced = k.hasL && (k.l > in.LogEnd || in.Local.Seam == seamOther && in.Local.Last < k.l) ||
		k.hasG && k.g > in.LogEnd
	return k
}

// row is the first of rows 3 to 13 whose situation is given, as the law has it.
func (k known) row(in resumeInputs) int {
	ours := k.tag.StoreID == in.StoreID || k.tag.StoreID == ancestor
	situations := []bool{
		3:  k.replaced,
		4:  !k.hasL && !k.hasG,
		5:  !k.hasL && k.hasG,
		6:  !k.hasG,
		7:  !k.readable || !k.tagged && !k.isK || k.tagged && k.tag.Rewind > in.Local.Rewind,
		8:  k.cut == 0 && k.g > k.l && k.tagged && k.tag.StoreID == in.StoreID && k.tag.OpenID != thisOpen,
		9:  k.cut == 0 && k.g > k.l && k.tagged && ours,
		10: k.g > k.l && k.tagged && (!ours || k.cut > 0),
		11: k.hasK && k.g < k.k && k.tagged && k.tag.Rewind == in.Local.Rewind,
		12: k.g <= k.l && k.tagged && !ours && !k.isK,
		13: k.g <= k.l,
	}
	for row, given := range situations {
		if given {
			return row
		}
	}
	return 7 // G is K, above L, without a tag: no store writes that
}

var resumeErrors = []error{ErrLogReplaced, ErrStateElsewhere, ErrOffsetsLost, ErrForeignOffset,
	ErrCloned, ErrGap, ErrTag}

// FuzzResumePlan checks, over all inputs, that there is always one plan and
// always the same, of the first row of the law that matches, and that it never
// skips a record that nobody handled unless a policy says so, never handles
// again what was committed, never claims coverage that the store lacks and
// never starts state empty without being told.
func FuzzResumePlan(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("\x00\x01\x01\x01\x05\x02\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { checkPlan(t, data) })
}

// TestPlanResume_Random does the same for a moment with random inputs.
func TestPlanResume_Random(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rows, actions := map[int]int{}, map[planAction]int{}
	for range 20_000 {
		data := make([]byte, 64)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		p := checkPlan(t, data)
		rows[p.Row]++
		actions[p.Action]++
	}
	for row := 3; row <= lastRow; row++ {
		require.NotZero(t, rows[row], "row %d", row)
	}
	for action := actionStart; action <= actionStop; action++ {
		require.NotZero(t, actions[action], "action %d", action)
	}
}

// checkPlan plans for the inputs that the bytes choose and checks the plan.
func checkPlan(t *testing.T, data []byte) resumePlan {
	c := choices(data)
	in := c.inputs()
	k, p := know(in), planResume(in)

	again := planResume(in)
	if p.Err != nil {
		require.EqualError(t, again.Err, p.Err.Error())
		again.Err = p.Err
	}
	require.Equal(t, p, again)
	if p.Row != lastRow {
		require.Equal(t, k.row(in), p.Row)
	}
	if p.Action == actionStop {
		known := 0
		for _, err := range resumeErrors {
			if errors.Is(p.Err, err) {
				known++
			}
		}
		require.Equal(t, 1, known, p.Err)
		require.Equal(t, p.Row == lastRow, errors.Is(p.Err, ErrGap))
		return p
	}
	require.NoError(t, p.Err)
	checkShape(t, in, k, p)
	checkNoSkip(t, in, k, p)
	checkNoRepeat(t, in, k, p)
	checkCoverage(t, in, k, p)
	checkState(t, in, k, p)
	return p
}

func checkShape(t *testing.T, in resumeInputs, k known, p resumePlan) {
	require.GreaterOrEqual(t, p.Offset, in.LogStart)
	require.GreaterOrEqual(t, p.Rewind, in.Local.Rewind)
	require.Equal(t, k.lost, p.Lowered)
	require.Equal(t, p.Row == lastRow, p.Gap != offsetRange{})
	if p.Follow {
		require.True(t, k.hasG)
	}
	if p.Action == actionStart {
		require.Zero(t, p.Read)
		return
	}
	require.Less(t, p.Read.From, p.Read.To)
	require.LessOrEqual(t, p.Read.To, p.Offset)
	if p.Read.From != fromClock && !(in.ByOutput && p.Action == actionRestore) {
		require.GreaterOrEqual(t, p.Read.From, in.LogStart)
	}
}

// checkNoSkip: below the offset everything was handled by a firstseen that says
// so, or a policy let it go and the plan names what.
func checkNoSkip(t *testing.T, in resumeInputs, k known, p resumePlan) {
	handled := int64(0)
	if k.hasL {
		handled = k.l
	}
	if k.hasG && k.tagged && (!k.hasL || k.tag.Rewind <= in.Local.Rewind) {
		handled = max(handled, k.g)
	}
	if !k.hasG && k.cut > k.l { // what the restore was to end at was G
		handled = k.cut
	}
	switch {
	case k.hasL || k.hasG:
	case in.Start != StartEarliest && !in.EverPositioned && !in.Local.Present && !in.Committed.Present:
		if handled = in.LogEnd; in.Start == StartTime {
			handled = max(in.LogStart, min(in.LogEnd, in.TimeOffset))
		}
	default:
		handled = in.LogStart
	}
	if !k.hasL && k.hasG && !k.tagged {
		handled = k.g // a group that adopts us
	}
	if p.Skipped != (offsetRange{}) {
		require.Equal(t, ForeignHonour, in.OnForeignOffset)
		require.Equal(t, offsetRange{k.l, k.g}, p.Skipped)
		require.True(t, p.Follow)
		handled = max(handled, p.Skipped.To)
	}
	if p.Gap != (offsetRange{}) {
		require.Equal(t, GapJump, in.OnGap)
		require.Equal(t, in.LogStart, p.Gap.To)
		require.LessOrEqual(t, p.Gap.From, handled)
		handled = max(handled, p.Gap.To)
	}
	require.LessOrEqual(t, p.Offset, handled)
}

// checkNoRepeat: what this store decided or a tag vouches for does not flow
// again, unless a policy says so or we were replaced.
func checkNoRepeat(t *testing.T, in resumeInputs, k known, p resumePlan) {
	honoured := p.Row == 7 && p.Follow || p.Row == lastRow && p.Rewind > in.Local.Rewind
	ignored := k.hasL && k.tag.Rewind > in.Local.Rewind && in.OnForeignOffset == ForeignIgnore
	if k.hasG && k.tagged && !ignored {
		require.GreaterOrEqual(t, p.Offset, k.g)
	}
	if k.hasL && !honoured && !p.Forget {
		require.GreaterOrEqual(t, p.Offset, k.l)
	}
	if k.hasK && !honoured && (!p.Forget || k.tag.Rewind == in.Local.Rewind) {
		require.GreaterOrEqual(t, p.Offset, k.k)
	}
	if p.Forget {
		require.True(t, k.tagged && k.tag.StoreID == otherStore && !k.isK)
		_, tagged, err := decodeTag(in.Local.Acknowledged.Tag)
		clocked := k.hasK && tagged && err == nil
		require.Equal(t, clocked, p.ForgetFrom == k.k && clocked)
		if !clocked {
			require.Zero(t, p.ForgetFrom)
		}
	}
	if p.Action == actionHandleAgain {
		require.True(t, k.tag.StoreID != otherStore && (in.HasState || k.tag.HasState))
		require.GreaterOrEqual(t, p.Read.From, k.l)
	}
}

// checkCoverage: without opening coverage, the store has seen or reads all that
// lies below the offset.
func checkCoverage(t *testing.T, in resumeInputs, k known, p resumePlan) {
	if k.unseen || p.Gap != (offsetRange{}) || p.Skipped != (offsetRange{}) {
		require.True(t, p.OpensCoverage)
	}
	restores, merged := p.Action == actionRestore, k.hasG && k.tag.Merged
	compacted := in.Compacted && !in.ByOutput
	if p.OpensCoverage || restores && p.Read.From == fromClock && !compacted && !merged {
		return
	}
	seen := int64(0)
	if k.hasL {
		seen = k.l
	}
	if p.Forget {
		seen = p.ForgetFrom
	}
	if p.Offset > seen {
		require.NotEqual(t, actionStart, p.Action)
		require.Equal(t, p.Offset, p.Read.To)
		require.LessOrEqual(t, p.Read.From, seen)
		require.False(t, restores && (compacted || merged))
	}
}

// checkState: state is whole at the offset, or the plan says that it is not and
// that was told.
func checkState(t *testing.T, in resumeInputs, k known, p resumePlan) {
	if p.EmptyState && p.Action != actionRebuild {
		require.True(t, in.FreshState || k.g == 0)
	}
	if p.Action == actionRebuild {
		require.True(t, in.Pure && !in.Compacted)
		require.True(t, p.EmptyState && p.Read.From == 0 || in.StateWhole && p.Read.From == k.l)
		for _, s := range k.tag.Skipped {
			require.False(t, k.hasG && s.From < p.Read.To && p.Read.From < s.To)
		}
	}
	state := k.tag.HasState || in.HasState && (k.hasL || k.hasG && !k.tagged)
	if !state || p.EmptyState || p.StateBroken || !k.hasG {
		return
	}
	switch {
	case !k.hasL:
		require.Equal(t, actionRebuild, p.Action)
	case p.Offset > k.l:
		require.True(t, p.Action == actionRebuild || p.Action == actionHandleAgain)
		require.LessOrEqual(t, p.Read.From, k.l)
	case p.Forget:
		require.Equal(t, actionRebuild, p.Action)
	}
}
