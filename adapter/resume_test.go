package adapter

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	thisStore  = [16]byte{0xaa}
	otherStore = [16]byte{0xbb}
	ancestor   = [16]byte{0xcc}
	thisOpen   = [16]byte{0x01}
	thisTopic  = [16]byte{0x70}
	oldTopic   = [16]byte{0x71}
)

// tagOf returns the tag that a store commits, changed by the functions.
func tagOf(store [16]byte, change ...func(*offsetTag)) string {
	tag := offsetTag{StoreID: store, OpenID: thisOpen, TopicID: thisTopic, Sequence: 7, Clock: 5000}
	for _, f := range change {
		f(&tag)
	}
	text, err := tag.encode()
	if err != nil {
		panic(err)
	}
	return text
}

func withState(t *offsetTag)            { t.HasState = true }
func rewound(n uint64) func(*offsetTag) { return func(t *offsetTag) { t.Rewind = n } }
func skipped(r ...offsetRange) func(*offsetTag) {
	return func(t *offsetTag) { t.Skipped = r }
}

// resting are the inputs of a store that stands at 100, where it committed last.
func resting() resumeInputs {
	k := committedOffset{Present: true, Offset: 100, Epoch: 5, Tag: tagOf(thisStore)}
	return resumeInputs{
		Group: "billing", Topic: "payments", Partition: 3,
		TopicID: thisTopic,
		Local: localPosition{Present: true, TopicID: thisTopic, Offset: 100, Epoch: 5, Last: 99,
			Seam: seamSame, Acknowledged: k},
		Committed: k,
		LogEnd:    1000,
		StoreID:   thisStore,
		Ancestors: [][16]byte{ancestor},
		KnownOpen: func(open [16]byte) bool { return open == thisOpen },
	}
}

// commit makes G an offset of its own, not K.
func commit(in *resumeInputs, offset int64, tag string) {
	in.Committed = committedOffset{Present: true, Offset: offset, Epoch: 6, Tag: tag}
}

// acknowledge sets K.
func acknowledge(in *resumeInputs, offset int64) {
	in.Local.Acknowledged = committedOffset{Present: true, Offset: offset, Epoch: 5, Tag: tagOf(thisStore)}
}

func cold(in *resumeInputs) { in.Local = localPosition{} }

func answer(end int64) epochEnd { return epochEnd{Known: true, Offset: end} }

type resumeCase struct {
	name  string
	given func(*resumeInputs)
	want  resumePlan // without Alarm
	alarm string
	err   error
	says  string
}

func (c resumeCase) run(t *testing.T) {
	in := resting()
	c.given(&in)
	got := planResume(in)
	if c.err != nil {
		require.Equal(t, actionStop, got.Action)
		require.Equal(t, c.want.Row, got.Row)
		require.ErrorIs(t, got.Err, c.err)
		require.ErrorContains(t, got.Err, `group "billing", topic "payments", partition 3: `)
		require.ErrorContains(t, got.Err, c.says)
		require.Equal(t, resumePlan{Row: got.Row, Action: actionStop, Err: got.Err, where: got.where}, got)
		return
	}
	require.NoError(t, got.Err)
	if c.alarm == "" {
		require.Empty(t, got.Alarm)
	}
	require.Contains(t, got.Alarm, c.alarm)
	c.want.where, c.want.Alarm = got.where, got.Alarm
	require.Equal(t, c.want, got)
}

func TestFault_E09_ResumeRows(t *testing.T) {
	tests := []resumeCase{
		// Row 1: G counts as missing.
		{name: "row 1: both of the old topic", given: func(in *resumeInputs) {
			in.TopicID = [16]byte{9}
			in.Start = StartLatest
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1, Settled: 7}},
		{name: "row 1: cold, G of the old topic, starts at the log start", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 50, tagOf(otherStore, func(t *offsetTag) { t.TopicID = oldTopic }))
			in.Start, in.LogStart = StartLatest, 4
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 4, Epoch: -1, OpensCoverage: true}},
		{name: "row 1: L of the new topic, before our first commit", given: func(in *resumeInputs) {
			in.Local.Acknowledged = committedOffset{}
			commit(in, 5000, tagOf(thisStore, func(t *offsetTag) { t.TopicID = oldTopic }))
			in.CommittedEpochEnd = answer(3)
		}, want: resumePlan{Row: 6, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 1: G of the new topic, L of the old", given: func(in *resumeInputs) {
			in.Local.TopicID = oldTopic
			in.Local.Seam = seamOther
			commit(in, 20, tagOf(otherStore))
		}, want: resumePlan{Row: 5, Action: actionRestore, Offset: 20, Epoch: 6, Read: offsetRange{fromClock, 20},
			Clock: 5000, Follow: true, Settled: 7, Passed: 20}},

		// Row 2: tail loss.
		{name: "row 2: L and G lost", given: func(in *resumeInputs) {
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(90), answer(90)
			in.Local.Seam = seamOther
		}, alarm: "the log lost its tail: the group stood at 100 and goes back to 90; " +
			"the log lost its tail: the store stood at 100 and goes back to 90",
			want: resumePlan{Row: 13, Action: actionStart, Offset: 90, Epoch: 5, Lowered: true, LowerTo: 90,
				Settled: 7}},
		{name: "row 2: an answer at L is none", given: func(in *resumeInputs) {
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(100), answer(100)
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 2: G has no answer and goes with L", given: func(in *resumeInputs) {
			in.LocalEpochEnd = answer(99)
		}, alarm: "goes back to 99", want: resumePlan{Row: 13, Action: actionStart, Offset: 99, Epoch: 5,
			Lowered: true, LowerTo: 99, Settled: 7}},
		{name: "row 2: L goes with G", given: func(in *resumeInputs) {
			in.CommittedEpochEnd = answer(99)
		}, alarm: "goes back to 99", want: resumePlan{Row: 13, Action: actionStart, Offset: 99, Epoch: 5,
			Lowered: true, LowerTo: 99, Settled: 7}},
		{name: "row 2: a remembered record below stays", given: func(in *resumeInputs) {
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(90), answer(90)
			in.Local.Last, in.Local.Seam = 89, seamOther
		}, want: resumePlan{Row: 3}, err: ErrLogReplaced, says: "another record stands at 89"},
		{name: "row 2: G, not seen, was lost", given: func(in *resumeInputs) {
			commit(in, 120, tagOf(otherStore))
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(100), answer(110)
		}, alarm: "the store had not seen", want: resumePlan{Row: 10, Action: actionRestore, Offset: 110,
			Epoch: 6, Read: offsetRange{100, 110}, Clock: 5000, Lowered: true, LowerTo: 100, Follow: true,
			Settled: 7, Passed: 110, OpensCoverage: true}},
		{name: "row 2: L was lost, G went on in the new log", given: func(in *resumeInputs) {
			commit(in, 300, tagOf(otherStore))
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(90), answer(300)
		}, alarm: "the store stood at 100 and goes back to 90", want: resumePlan{Row: 10,
			Action: actionRestore, Offset: 300, Epoch: 6, Read: offsetRange{90, 300}, Clock: 5000,
			Lowered: true, LowerTo: 90, Follow: true, Settled: 7, Passed: 300, OpensCoverage: true}},
		{name: "row 2: cold", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 300, tagOf(otherStore))
			in.CommittedEpochEnd = answer(200)
		}, alarm: "goes back to 200", want: resumePlan{Row: 5, Action: actionRestore, Offset: 200, Epoch: 6,
			Read: offsetRange{fromClock, 200}, Clock: 5000, Lowered: true, LowerTo: 200, Follow: true,
			Passed: 200, OpensCoverage: true}},
		{name: "row 2: G missing", given: func(in *resumeInputs) {
			in.Committed = committedOffset{}
			in.LocalEpochEnd = answer(40)
			in.OnMissingOffset = MissingOffsetResume
		}, alarm: "the group lost its offset 40", want: resumePlan{Row: 6, Action: actionStart, Offset: 40,
			Epoch: 5, Lowered: true, LowerTo: 40, Settled: 7}},
		{name: "row 2: explains an L above the log end", given: func(in *resumeInputs) {
			in.LogEnd = 60
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(60), answer(60)
		}, alarm: "goes back to 60", want: resumePlan{Row: 13, Action: actionStart, Offset: 60, Epoch: 5,
			Lowered: true, LowerTo: 60, Settled: 7}},

		{name: "row 2: again, after a crash before the commit", given: func(in *resumeInputs) {
			commit(in, 100, tagOf(otherStore))
			in.Local.Acknowledged = in.Committed
			in.Local.Acknowledged.Offset, in.Local.Offset, in.Local.Last = 90, 90, 89
			in.LocalEpochEnd, in.CommittedEpochEnd = answer(90), answer(90)
		}, alarm: "the store had not seen what was lost", want: resumePlan{Row: 13, Action: actionStart, Offset: 90,
			Epoch: 5, Lowered: true, LowerTo: 90, Passed: 90, OpensCoverage: true}},

		// Row 3: the log was replaced.
		{name: "row 3: another record", given: func(in *resumeInputs) { in.Local.Seam = seamOther },
			want: resumePlan{Row: 3}, err: ErrLogReplaced,
			says: "another record stands at 99, the last one that the store read, next is 100, " +
				"the group at 100; bring the old log back"},
		{name: "row 3: no record is no evidence", given: func(in *resumeInputs) { in.Local.Seam = seamNothing },
			want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 3: not asked is no evidence", given: func(in *resumeInputs) {
			in.Local.Seam = seamNotAsked
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 3: L above the log end", given: func(in *resumeInputs) {
			in.LogEnd = 99
			commit(in, 40, tagOf(thisStore))
		}, want: resumePlan{Row: 3}, err: ErrLogReplaced,
			says: "the log ends at 99, the store stands at 100, the group at 40;"},
		{name: "row 3: L at the log end", given: func(in *resumeInputs) { in.LogEnd = 100 },
			want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 3: G above the log end", given: func(in *resumeInputs) { commit(in, 1001, "") },
			want: resumePlan{Row: 3}, err: ErrLogReplaced, says: "the log ends at 1000, the group at 1001;"},
		{name: "row 3: G above the log end, cold", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 1001, "")
		}, want: resumePlan{Row: 3}, err: ErrLogReplaced, says: "the log ends at 1000, the group at 1001;"},

		// Row 4: new.
		{name: "row 4: earliest, from the beginning", given: func(in *resumeInputs) {
			cold(in)
			in.Committed = committedOffset{}
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1}},
		{name: "row 4: earliest, the beginning is gone", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.LogStart = committedOffset{}, 1
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 1, Epoch: -1, OpensCoverage: true}},
		{name: "row 4: latest", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start = committedOffset{}, StartLatest
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 1000, Epoch: -1, OpensCoverage: true}},
		{name: "row 4: latest of an empty topic", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start, in.LogEnd = committedOffset{}, StartLatest, 0
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1}},
		{name: "row 4: a time", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start, in.TimeOffset, in.LogStart = committedOffset{}, StartTime, 40, 30
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 40, Epoch: -1, OpensCoverage: true}},
		{name: "row 4: a time before all", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start = committedOffset{}, StartTime
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1}},
		{name: "row 4: a time, a partition was added", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start, in.TimeOffset, in.EverPositioned = committedOffset{}, StartTime, 40, true
		}, alarm: "the partition was added", want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1}},
		{name: "row 4: a partition was added", given: func(in *resumeInputs) {
			cold(in)
			in.Committed, in.Start, in.EverPositioned = committedOffset{}, StartLatest, true
		}, alarm: "the partition was added", want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1}},
		{name: "row 4: the topic was recreated, its offsets went", given: func(in *resumeInputs) {
			in.Local.TopicID = oldTopic
			in.Committed, in.Start = committedOffset{}, StartLatest
		}, want: resumePlan{Row: 4, Action: actionStart, Offset: 0, Epoch: -1, Settled: 7}},

		// Row 5: cold.
		{name: "row 5: another store's", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, rewound(4), skipped(offsetRange{3, 5})))
		}, want: resumePlan{Row: 5, Action: actionRestore, Offset: 100, Epoch: 6, Read: offsetRange{fromClock, 100},
			Skips: []offsetRange{{3, 5}}, Clock: 5000, Follow: true, Rewind: 4, Passed: 100}},
		{name: "row 5: our own, lost", given: cold, alarm: "the store lost the partition",
			want: resumePlan{Row: 5, Lost: true, Action: actionRestore, Offset: 100, Epoch: 5, Read: offsetRange{fromClock, 100},
				Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 5: an ancestor's, lost", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(ancestor))
		}, alarm: "the store lost the partition",
			want: resumePlan{Row: 5, Lost: true, Action: actionRestore, Offset: 100, Epoch: 6, Read: offsetRange{fromClock, 100},
				Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 5: merged ranges and forgets", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, func(t *offsetTag) { t.Merged, t.Forgets = true, 3 }))
		}, alarm: "forgotten (3 times) may come back", want: resumePlan{Row: 5, Action: actionRestore,
			Offset: 100, Epoch: 6, Read: offsetRange{fromClock, 100}, Clock: 5000, Follow: true, Passed: 100,
			OpensCoverage: true}},
		{name: "row 5: a compacted topic", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore))
			in.Compacted = true
		}, want: resumePlan{Row: 5, Action: actionRestore, Offset: 100, Epoch: 6, Read: offsetRange{fromClock, 100},
			Clock: 5000, Follow: true, Passed: 100, OpensCoverage: true}},
		{name: "row 5: nothing was read yet", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 0, tagOf(otherStore))
		}, want: resumePlan{Row: 5, Action: actionStart, Offset: 0, Epoch: 6, Clock: 5000, Follow: true}},
		{name: "row 5: state elsewhere", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState))
		}, want: resumePlan{Row: 5}, err: ErrStateElsewhere,
			says: "committed 100, this store has no position and cannot make the state from the log; " +
				"run the store that committed, or set FreshState"},
		{name: "row 5: state, told to start without", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState))
			in.FreshState = true
		}, alarm: "starts empty at 100, as told", want: resumePlan{Row: 5, Action: actionRestore, Offset: 100,
			Epoch: 6, Read: offsetRange{fromClock, 100}, Clock: 5000, Follow: true, Passed: 100,
			EmptyState: true}},
		{name: "row 5: state of a pure handler", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState))
			in.Pure = true
		}, want: resumePlan{Row: 5, Action: actionRebuild, Offset: 100, Epoch: 6, Read: offsetRange{0, 100},
			Clock: 5000, Follow: true, Passed: 100, EmptyState: true}},
		{name: "row 5: pure, the beginning is gone", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState))
			in.Pure, in.LogStart = true, 1
		}, want: resumePlan{Row: 5}, err: ErrStateElsewhere},
		{name: "row 5: pure, compacted", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState))
			in.Pure, in.Compacted = true, true
		}, want: resumePlan{Row: 5}, err: ErrStateElsewhere},
		{name: "row 5: pure, records were skipped", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore, withState, skipped(offsetRange{99, 100})))
			in.Pure = true
		}, want: resumePlan{Row: 5}, err: ErrStateElsewhere},
		{name: "row 5: a handler with state, a tag without", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, tagOf(otherStore))
			in.HasState = true
		}, want: resumePlan{Row: 5, Action: actionRestore, Offset: 100, Epoch: 6, Read: offsetRange{fromClock, 100},
			Clock: 5000, Follow: true, Passed: 100}},
		{name: "row 5: adopted", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, "consumer-1")
		}, want: resumePlan{Row: 5, Action: actionStart, Offset: 100, Epoch: 6, Follow: true,
			OpensCoverage: true, NoState: true}},
		{name: "row 5: adopted, with state", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, "")
			in.HasState, in.Pure = true, true
		}, want: resumePlan{Row: 5}, err: ErrStateElsewhere,
			says: "state of the records below is nowhere; take a new group, or set FreshState"},
		{name: "row 5: adopted, with state, told", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, "")
			in.HasState, in.FreshState = true, true
		}, want: resumePlan{Row: 5, Action: actionStart, Offset: 100, Epoch: 6, Follow: true,
			OpensCoverage: true, EmptyState: true}},
		{name: "row 5: a tag of a newer release", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, "fs2.AAAA")
		}, want: resumePlan{Row: 5}, err: ErrTag, says: "the group stands at 100, the store has no position"},

		// Row 6: G is missing.
		{name: "row 6: before our first commit", given: func(in *resumeInputs) {
			in.Committed, in.Local.Acknowledged = committedOffset{}, committedOffset{}
		}, want: resumePlan{Row: 6, Action: actionStart, Offset: 100, Epoch: 5}},
		{name: "row 6: lost", given: func(in *resumeInputs) {
			in.Committed = committedOffset{}
			acknowledge(in, 80)
		}, want: resumePlan{Row: 6}, err: ErrOffsetsLost, says: "had acknowledged 80 and has no offset now, " +
			"the store stands at 100; set OnMissingOffset to MissingOffsetResume"},
		{name: "row 6: lost, resume", given: func(in *resumeInputs) {
			in.Committed, in.OnMissingOffset = committedOffset{}, MissingOffsetResume
			acknowledge(in, 80)
		}, alarm: "the group lost its offset 80; an output acknowledged after it may go out twice",
			want: resumePlan{Row: 6, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 6: lost, resume, transactional", given: func(in *resumeInputs) {
			in.Committed, in.OnMissingOffset, in.Transactional = committedOffset{}, MissingOffsetResume, true
		}, alarm: "an output of a transaction committed after it may go out twice",
			want: resumePlan{Row: 6, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},

		// Row 7: a foreign offset, or a reset honoured elsewhere.
		{name: "row 7: fail", given: func(in *resumeInputs) { commit(in, 40, "") },
			want: resumePlan{Row: 7}, err: ErrForeignOffset, says: "an operator or another client moved the " +
				"group to 40, the store stands at 100; set OnForeignOffset to ForeignHonour to go to 40, " +
				"or to ForeignIgnore to go on at 100"},
		{name: "row 7: the offset of K without its tag", given: func(in *resumeInputs) { commit(in, 100, "") },
			want: resumePlan{Row: 7}, err: ErrForeignOffset},
		{name: "row 7: before our first commit", given: func(in *resumeInputs) {
			in.Local.Acknowledged = committedOffset{}
			commit(in, 0, "")
		}, want: resumePlan{Row: 7}, err: ErrForeignOffset},
		{name: "row 7: honour a rewind", given: func(in *resumeInputs) {
			commit(in, 40, "")
			in.OnForeignOffset, in.Local.Rewind = ForeignHonour, 4
		}, want: resumePlan{Row: 7, Action: actionStart, Offset: 40, Epoch: 6, Follow: true, Rewind: 5,
			Settled: 7}},
		{name: "row 7: honour a skip", given: func(in *resumeInputs) {
			commit(in, 140, "")
			in.OnForeignOffset = ForeignHonour
		}, want: resumePlan{Row: 7, Action: actionStart, Offset: 140, Epoch: 6, Follow: true, Rewind: 1,
			Skipped: offsetRange{100, 140}, Settled: 7, OpensCoverage: true}},
		{name: "row 7: honour a skip, with state", given: func(in *resumeInputs) {
			commit(in, 140, "")
			in.OnForeignOffset, in.HasState = ForeignHonour, true
		}, alarm: "the state is not whole from 140 on", want: resumePlan{Row: 7, Action: actionStart,
			Offset: 140, Epoch: 6, Follow: true, Rewind: 1, Skipped: offsetRange{100, 140}, Settled: 7,
			StateBroken: true, OpensCoverage: true}},
		{name: "row 7: what was honoured is K", given: func(in *resumeInputs) {
			commit(in, 40, "")
			in.Local.Acknowledged, in.Local.Offset, in.Local.Last = in.Committed, 60, 59
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 60, Epoch: 5}},
		{name: "row 7: ignore", given: func(in *resumeInputs) {
			commit(in, 140, "")
			in.OnForeignOffset = ForeignIgnore
		}, want: resumePlan{Row: 7, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 7: a higher rewind number elsewhere", given: func(in *resumeInputs) {
			commit(in, 40, tagOf(otherStore, rewound(5)))
			in.Local.Rewind = 4
		}, want: resumePlan{Row: 7}, err: ErrForeignOffset, says: "honoured by another store"},
		{name: "row 7: a higher rewind number, honoured", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, rewound(5), skipped(offsetRange{3, 5})))
			in.OnForeignOffset, in.Local.Rewind = ForeignHonour, 2
		}, want: resumePlan{Row: 7, Action: actionStart, Offset: 140, Epoch: 6, Follow: true, Rewind: 5,
			Skips: []offsetRange{{3, 5}}, Skipped: offsetRange{100, 140}, Settled: 7, OpensCoverage: true}},
		{name: "row 7: the same rewind number is none", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, rewound(5)))
			in.Local.Rewind = 5
		}, want: resumePlan{Row: 10, Action: actionRestore, Offset: 140, Epoch: 6, Read: offsetRange{100, 140},
			Clock: 5000, Follow: true, Rewind: 5, Settled: 7, Passed: 140}},
		{name: "row 7: a damaged tag, whatever the policy", given: func(in *resumeInputs) {
			commit(in, 40, tagOf(otherStore)+"x")
			in.OnForeignOffset = ForeignHonour
		}, want: resumePlan{Row: 7}, err: ErrTag, says: "the group stands at 40, the store stands at 100"},

		// Row 8: a backup or a clone.
		{name: "row 8: unknown opening", given: func(in *resumeInputs) {
			commit(in, 101, tagOf(thisStore, func(t *offsetTag) { t.OpenID = [16]byte{0xee} }))
		}, want: resumePlan{Row: 8}, err: ErrCloned, says: "the group stands at 101, committed by opening ee"},
		{name: "row 8: knows no openings", given: func(in *resumeInputs) {
			commit(in, 101, tagOf(thisStore))
			in.KnownOpen = nil
		}, want: resumePlan{Row: 8}, err: ErrCloned,
			says: "it stands at 100; run the directory that committed, or adopt this one"},
		{name: "row 8: at L it does not matter", given: func(in *resumeInputs) {
			commit(in, 100, tagOf(thisStore, func(t *offsetTag) { t.OpenID = [16]byte{0xee} }))
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 8: an adopted backup", given: func(in *resumeInputs) {
			commit(in, 101, tagOf(ancestor, func(t *offsetTag) { t.OpenID = [16]byte{0xee} }))
		}, alarm: "the disk lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionRestore, Offset: 101,
			Epoch: 6, Read: offsetRange{100, 101}, Clock: 5000, Follow: true, Settled: 7}},

		// Row 9: our disk lost its tail.
		{name: "row 9: markers only", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, func(t *offsetTag) { t.Sequence = 9 }))
		}, alarm: "the store committed 140 and stands at 100", want: resumePlan{Row: 9, Lost: true,
			Action: actionRestore, Offset: 140, Epoch: 6, Read: offsetRange{100, 140}, Clock: 5000,
			Follow: true, Settled: 9}},
		{name: "row 9: with state", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, skipped(offsetRange{101, 103})))
			in.HasState = true
		}, alarm: "lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionHandleAgain, Offset: 140, Epoch: 6,
			Read: offsetRange{100, 140}, Skips: []offsetRange{{101, 103}}, Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 9: with state that only the tag knows", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState))
		}, alarm: "lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionHandleAgain, Offset: 140, Epoch: 6,
			Read: offsetRange{100, 140}, Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 9: with state, merged ranges below L", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState, skipped(offsetRange{90, 100}),
				func(t *offsetTag) { t.Merged = true }))
		}, alarm: "lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionHandleAgain, Offset: 140, Epoch: 6,
			Read: offsetRange{100, 140}, Skips: []offsetRange{{90, 100}}, Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 9: with state, merged ranges above L", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState, skipped(offsetRange{90, 101}),
				func(t *offsetTag) { t.Merged = true }))
		}, want: resumePlan{Row: 9}, err: ErrStateElsewhere},
		{name: "row 9: with state, compacted", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState))
			in.Compacted = true
		}, want: resumePlan{Row: 9}, err: ErrStateElsewhere, says: "committed 140, this store stands at 100"},
		{name: "row 9: hole, markers only", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore))
			in.LogStart = 120
		}, alarm: "lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionRestore, Offset: 140, Epoch: 6,
			Read: offsetRange{120, 140}, Clock: 5000, Follow: true, Settled: 7, OpensCoverage: true}},
		{name: "row 9: hole to the end, markers only", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore))
			in.LogStart = 140
		}, alarm: "lost its tail", want: resumePlan{Row: 9, Lost: true, Action: actionStart, Offset: 140, Epoch: 6,
			Clock: 5000, Follow: true, Settled: 7, OpensCoverage: true}},

		// Row 10: another instance went on.
		{name: "row 10: markers only", given: func(in *resumeInputs) { commit(in, 101, tagOf(otherStore)) },
			want: resumePlan{Row: 10, Action: actionRestore, Offset: 101, Epoch: 6, Read: offsetRange{100, 101},
				Clock: 5000, Follow: true, Settled: 7, Passed: 101}},
		{name: "row 10: followed before, K is G", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore))
			in.Local.Acknowledged = in.Committed
		}, want: resumePlan{Row: 10, Action: actionRestore, Offset: 140, Epoch: 6, Read: offsetRange{100, 140},
			Clock: 5000, Follow: true, Passed: 140}},
		{name: "row 10: stale state", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore))
			in.HasState = true
		}, want: resumePlan{Row: 10}, err: ErrStateElsewhere, says: "committed 140, this store stands at 100"},
		{name: "row 10: pure", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, withState))
			in.Pure, in.StateWhole, in.LogStart = true, true, 100
		}, want: resumePlan{Row: 10, Action: actionRebuild, Offset: 140, Epoch: 6, Read: offsetRange{100, 140},
			Clock: 5000, Follow: true, Settled: 7, Passed: 140}},
		{name: "row 10: pure, the state is not whole", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, withState))
			in.Pure = true
		}, want: resumePlan{Row: 10, Action: actionRebuild, Offset: 140, Epoch: 6, Read: offsetRange{0, 140},
			Clock: 5000, Follow: true, Settled: 7, Passed: 140, EmptyState: true}},
		{name: "row 10: pure, a hole", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, withState))
			in.Pure, in.StateWhole, in.LogStart = true, true, 101
		}, want: resumePlan{Row: 10}, err: ErrStateElsewhere},
		{name: "row 10: pure, a skip", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, withState, skipped(offsetRange{99, 101})))
			in.Pure, in.StateWhole = true, true
		}, want: resumePlan{Row: 10}, err: ErrStateElsewhere},
		{name: "row 10: pure, a skip below L", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore, withState, skipped(offsetRange{99, 100}, offsetRange{140, 150})))
			in.Pure, in.StateWhole = true, true
		}, want: resumePlan{Row: 10, Action: actionRebuild, Offset: 140, Epoch: 6, Read: offsetRange{100, 140},
			Skips: []offsetRange{{99, 100}, {140, 150}}, Clock: 5000, Follow: true, Settled: 7, Passed: 140}},

		// Row 11: the coordinator lost its tail.
		{name: "row 11: our older tag", given: func(in *resumeInputs) {
			commit(in, 99, tagOf(thisStore, func(t *offsetTag) { t.Sequence = 6 }))
		}, want: resumePlan{Row: 11, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 11: another store's older tag", given: func(in *resumeInputs) {
			commit(in, 99, tagOf(otherStore))
		}, want: resumePlan{Row: 11, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7, Passed: 99}},

		// Row 12: we were replaced with an uncommitted tail.
		{name: "row 12: markers only", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 90, tagOf(otherStore))
		}, want: resumePlan{Row: 12, Action: actionRestore, Offset: 90, Epoch: 6, Read: offsetRange{60, 90},
			Clock: 5000, Follow: true, Forget: true, ForgetFrom: 60, Settled: 7}},
		{name: "row 12: at L", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 100, tagOf(otherStore))
		}, want: resumePlan{Row: 12, Action: actionRestore, Offset: 100, Epoch: 6, Read: offsetRange{60, 100},
			Clock: 5000, Follow: true, Forget: true, ForgetFrom: 60, Settled: 7}},
		{name: "row 12: at K, by another", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 60, tagOf(otherStore))
		}, want: resumePlan{Row: 12, Action: actionStart, Offset: 60, Epoch: 6, Clock: 5000, Follow: true,
			Forget: true, ForgetFrom: 60, Settled: 7}},
		{name: "row 12: below K, before a rewind that we honoured", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 50, tagOf(otherStore))
			in.Local.Rewind = 1
		}, want: resumePlan{Row: 12, Action: actionStart, Offset: 50, Epoch: 6, Clock: 5000, Follow: true,
			Rewind: 1, Forget: true, ForgetFrom: 60, Settled: 7}},
		{name: "row 12: before our first commit", given: func(in *resumeInputs) {
			in.Local.Acknowledged = committedOffset{}
			commit(in, 90, tagOf(otherStore))
		}, want: resumePlan{Row: 12, Action: actionRestore, Offset: 90, Epoch: 6, Read: offsetRange{fromClock, 90},
			Clock: 5000, Follow: true, Forget: true}},
		{name: "row 12: a hole that only the restore reads", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 90, tagOf(otherStore))
			in.LogStart = 61
		}, want: resumePlan{Row: 12, Action: actionRestore, Offset: 90, Epoch: 6, Read: offsetRange{61, 90},
			Clock: 5000, Follow: true, Forget: true, ForgetFrom: 60, Settled: 7, OpensCoverage: true}},
		{name: "row 12: with state", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 90, tagOf(otherStore))
			in.HasState, in.StateWhole, in.LogStart, in.Pure = true, true, 1, true
		}, want: resumePlan{Row: 12}, err: ErrStateElsewhere},
		{name: "row 12: with state, from the beginning", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 90, tagOf(otherStore))
			in.HasState, in.StateWhole, in.Pure = true, true, true
		}, want: resumePlan{Row: 12, Action: actionRebuild, Offset: 90, Epoch: 6, Read: offsetRange{0, 90},
			Clock: 5000, Follow: true, Forget: true, ForgetFrom: 60, Settled: 7, EmptyState: true}},

		{name: "row 12: K has no clock", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			in.Local.Acknowledged.Tag = ""
			commit(in, 90, tagOf(otherStore))
		}, want: resumePlan{Row: 12, Action: actionRestore, Offset: 90, Epoch: 6, Read: offsetRange{fromClock, 90},
			Clock: 5000, Follow: true, Forget: true}},

		// A restore that was cut short goes on, whoever committed where it ends.
		{name: "row 10: cut short", given: func(in *resumeInputs) {
			in.Local.Acknowledged, in.Local.Restoring = committedOffset{}, 140
			commit(in, 140, tagOf(otherStore))
		}, want: resumePlan{Row: 10, Action: actionRestore, Offset: 140, Epoch: 6, Read: offsetRange{100, 140},
			Clock: 5000, Follow: true, Passed: 140}},
		{name: "row 10: cut short, of an opening that is not known", given: func(in *resumeInputs) {
			in.Local.Acknowledged, in.Local.Restoring = committedOffset{}, 140
			commit(in, 150, tagOf(thisStore, func(t *offsetTag) { t.OpenID = [16]byte{0xee} }))
		}, want: resumePlan{Row: 10, Action: actionRestore, Offset: 150, Epoch: 6, Read: offsetRange{100, 150}, Lost: true,
			Clock: 5000, Follow: true, Settled: 7}},
		{name: "row 6: cut short", given: func(in *resumeInputs) {
			in.Local.Acknowledged, in.Local.Restoring = committedOffset{}, 140
			in.Committed = committedOffset{}
		}, want: resumePlan{Row: 6}, err: ErrOffsetsLost, says: "had acknowledged 140"},
		{name: "row 6: cut short, resumed", alarm: "lost its offset 140", given: func(in *resumeInputs) {
			in.Local.Acknowledged, in.Local.Restoring = committedOffset{}, 140
			in.Committed, in.OnMissingOffset = committedOffset{}, MissingOffsetResume
		}, want: resumePlan{Row: 6, Action: actionRestore, Offset: 140, Epoch: -1, Read: offsetRange{100, 140}}},

		// Row 13: a crash before the Kafka commit.
		{name: "row 13: G is L", given: func(*resumeInputs) {},
			want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 13: G is K, below L", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			in.Committed = in.Local.Acknowledged
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "row 13: acknowledged, not yet known", given: func(in *resumeInputs) {
			acknowledge(in, 60)
			commit(in, 90, tagOf(thisStore, func(t *offsetTag) { t.Sequence = 9 }))
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 9}},
		{name: "row 13: another store's, which we followed", given: func(in *resumeInputs) {
			commit(in, 90, tagOf(otherStore))
			in.Local.Acknowledged = in.Committed
		}, want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Passed: 90}},

		// The last row: retention overtook us.
		{name: "last row: stop", given: func(in *resumeInputs) { in.LogStart = 101 },
			want: resumePlan{Row: lastRow}, err: ErrGap,
			says: "the log starts at 101, the next record is 100; set OnGap to GapJump to go on"},
		{name: "last row: at the log start", given: func(in *resumeInputs) { in.LogStart = 100 },
			want: resumePlan{Row: 13, Action: actionStart, Offset: 100, Epoch: 5, Settled: 7}},
		{name: "last row: jump", given: func(in *resumeInputs) { in.LogStart, in.OnGap = 101, GapJump },
			want: resumePlan{Row: lastRow, Action: actionStart, Offset: 101, Epoch: -1, Gap: offsetRange{100, 101},
				Settled: 7, OpensCoverage: true}},
		{name: "last row: jump, with state", given: func(in *resumeInputs) {
			in.LogStart, in.OnGap, in.HasState = 101, GapJump, true
		}, alarm: "the state is not whole from 101 on", want: resumePlan{Row: lastRow, Action: actionStart,
			Offset: 101, Epoch: -1, Gap: offsetRange{100, 101}, Settled: 7, StateBroken: true,
			OpensCoverage: true}},
		{name: "last row: after row 5", given: func(in *resumeInputs) {
			cold(in)
			commit(in, 100, "")
			in.LogStart = 101
		}, want: resumePlan{Row: lastRow}, err: ErrGap},
		{name: "last row: after a restore that has nothing to read", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(otherStore))
			in.LogStart, in.OnGap = 150, GapJump
		}, want: resumePlan{Row: lastRow, Action: actionStart, Offset: 150, Epoch: -1, Gap: offsetRange{140, 150},
			Clock: 5000, Follow: true, Settled: 7, Passed: 140, OpensCoverage: true}},
		{name: "last row: what is to be handled again is gone", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState))
			in.LogStart = 120
		}, want: resumePlan{Row: lastRow}, err: ErrGap, says: "starts at 120, the next record is 100"},
		{name: "last row: jump into what is to be handled again", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState))
			in.LogStart, in.OnGap = 120, GapJump
		}, alarm: "not whole from 140 on", want: resumePlan{Row: lastRow, Lost: true, Action: actionHandleAgain,
			Offset: 140, Epoch: 6, Read: offsetRange{120, 140}, Clock: 5000, Follow: true, Settled: 7,
			Gap: offsetRange{100, 120}, StateBroken: true, OpensCoverage: true}},
		{name: "last row: jump over what is to be handled again", given: func(in *resumeInputs) {
			commit(in, 140, tagOf(thisStore, withState))
			in.LogStart, in.OnGap = 150, GapJump
		}, alarm: "not whole from 150 on", want: resumePlan{Row: lastRow, Lost: true, Action: actionStart,
			Offset: 150, Epoch: -1, Clock: 5000, Follow: true, Settled: 7,
			Gap: offsetRange{100, 150}, StateBroken: true, OpensCoverage: true}},
		{name: "last row: after a tail loss", given: func(in *resumeInputs) {
			in.LocalEpochEnd, in.LogStart = answer(90), 95
		}, want: resumePlan{Row: lastRow}, err: ErrGap, says: "starts at 95, the next record is 90"},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}
