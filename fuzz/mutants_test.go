package fuzz

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutant is a mistake planted into the code, and the test that must find it.
type mutant struct {
	name     string
	file     string // from the module's root
	old, new string // old occurs exactly once
	pkg, run string // the test: go test ./pkg -run run
	also     []edit // further changes of the same mistake
}

// edit is one change of a file.
type edit struct{ file, old, new string }

const crashes = "^TestFault_A03_A04_A09_CrashAtEveryWrite$"

var mutants = []mutant{
	{
		name: "marker before the effect", // A07
		file: "store/batch.go",
		old:  "	if fn != nil && (all || d.handled()) {\n",
		new: "	if d.accepted() {\n		b.accept(j.id, r.Origin, j.step, j.older)\n	}\n" +
			"	if fn != nil && (all || d.handled()) {\n",
		also: []edit{{
			"store/batch.go",
			"	case d.accepted():\n		b.accept(j.id, r.Origin, j.step, j.older)\n",
			"	case d.accepted():\n",
		}},
		pkg: "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "Kafka commit before the batch", // A08
		file: "adapter/loop.go",
		old:  "	decided := each(batches, ",
		new: "	for i, p := range parts {\n		last := batches[i].recs[len(batches[i].recs)-1]\n" +
			"		p.next.Offset = last.Offset + 1\n	}\n	_ = s.commit(parts, false)\n	decided := each(batches, ",
		pkg: "adapter", run: "^TestFault_A08_KafkaCommitBeforeTheBatch$",
	},
	{
		name: "state in a second batch", // A09
		file: "store/batch.go",
		old:  "			must(w.Set(stateKey(n.num, []byte(key)), v.value, nil))\n",
		new:  "			must(n.s.db.Set(stateKey(n.num, []byte(key)), v.value, pebble.Sync))\n",
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "no sync", // A04
		file: "store/batch.go",
		old:  "n.s.db.ApplyNoSyncWait(w, pebble.Sync)",
		new:  "n.s.db.Apply(w, pebble.NoSync)",
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "acknowledged while it is synced", // A04
		file: "store/namespace.go",
		old:  "	return f.arrive()\n",
		new:  "	go func() { _ = f.arrive() }()\n	return nil\n",
		pkg:  "store", run: "^TestFault_A03_CrashWhileTheNextRuns$",
	},
	{
		name: "a replay acknowledged before what it replays is durable", // A04
		file: "store/namespace.go",
		old:  "	if err := n.land(); err != nil { // what",
		new:  "	if err := error(nil); err != nil { // what",
		pkg:  "store", run: "^TestFlight_OthersWaitUntilItArrives$",
	},
	{
		name: "fatal ignored", // B02
		file: "store/fault.go",
		old:  "	f.set(err)\n	if onGuarded() {\n		panic(fatal{err})\n	}\n	select {}\n",
		new:  "	_ = err\n",
		pkg:  "fuzz", run: "^TestFault_B02_WriteErrorsEverywhere$",
	},
	{
		name: "duplicate refreshes the window", // C11
		file: "store/batch.go",
		old:  "	case d.accepted():\n",
		new:  "	case true:\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "boundary of the window", // C09
		file: "window/window.go",
		old:  "	return age < uint64(w.Millis())\n",
		new:  "	return age <= uint64(w.Millis())\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "clock not stored", // C15
		file: "store/head.go",
		old:  "		h.clock.now, h.clock.first, int64(h.clock.jumps), h.clock.low, h.clock.high,\n",
		new:  "		0, h.clock.first, int64(h.clock.jumps), h.clock.low, h.clock.high,\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "no jump rule", // C03, C04
		file: "store/clock.go",
		old:  "	case t > add(c.now, r.maxAdvance):\n",
		new:  "	case t > add(c.now, math.MaxInt64):\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "a replay skipped across topic IDs", // E11
		file: "store/batch.go",
		old: "	case b.head.hasPos && !b.head.pos.sameLog(o):\n" +
			"		return fmt.Errorf(\"%w: namespace %q stands at %v, the record at %v; SetPosition changes logs\",\n" +
			"			ErrOtherLog, b.n.name, b.head.pos, o)\n",
		new: "",
		pkg: "store", run: "^TestFault_E11_ReplayOfAnotherLogIsRefused$",
	},
	{
		name: "freeze before durable",
		file: "store/batch.go",
		old:  "	n.index.stage(w)\n",
		new: "	n.index.stage(w)\n	n.index.absorb()\n	if x, ok := n.index.(*segments); ok {\n" +
			"		for _, g := range x.list {\n			if g != x.batch.into && g.table == nil {\n				x.enqueue(g)\n			}\n		}\n" +
			"		_ = n.s.queue.drain()\n	}\n",
		also: []edit{{"store/batch.go", "	n.index.absorb() // while the disk works\n", ""}},
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "drop before durable", // B21
		file: "store/segments.go",
		old:  "			b.drops = append(b.drops, g)\n",
		new: "			b.drops = append(b.drops, g)\n" +
			"			from := segKey(kindPage, x.ns, g.num)\n" +
			"			_ = x.s.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: after(from)})\n",
		also: []edit{{"store/segments.go", "	\"errors\"\n", "	\"context\"\n	\"errors\"\n"}},
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "dropped by the newest clock, not the durable one", // B21
		file: "store/segments.go",
		old:  "	for _, g := range b.drops {\n		x.stageDrop(w, g)\n",
		new: "	for _, g := range x.list {\n		if g != x.open && g.all.n > 0 && !slices.Contains(b.drops, g) {\n" +
			"			b.drops = append(b.drops, g)\n			break\n		}\n	}\n" +
			"	for _, g := range b.drops {\n		x.stageDrop(w, g)\n",
		pkg: "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "no dead record", // a table that nothing points to
		file: "store/segments.go",
		old:  "		must(w.Set(segKey(kindDead, x.ns, g.num), nil, nil))\n",
		new:  "",
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "a merge keeps the older of two",
		file: "store/merge.go",
		old:  "			e.old = true\n",
		new:  "			w.all[newer].old = true\n			w.newest[e.hash] = i\n",
		pkg:  "store", run: "^(TestIndex_SegmentsAsAPlainMap|TestForget_.*|TestMerge_.*)$",
	},
	{
		name: "a merge drops what hides an older one",
		file: "store/merge.go",
		old:  "!(e.gone && w.oldest)",
		new:  "!e.gone",
		pkg:  "store", run: "^TestForget_MergesHideWhatIsOlder$",
	},
	{
		name: "a merge keeps what is swept",
		file: "store/merge.go",
		old:  "			if !e.gone && len(w.sweeps) > 0 &&",
		new:  "			if !e.gone && len(w.sweeps) > 1<<20 &&",
		pkg:  "store", run: "^TestForget_Ranges$",
	},
	{
		name: "a swept segment goes on after a restart",
		file: "store/recover.go",
		old:  " && !x.closedBySweep(x.list[last])",
		new:  "",
		pkg:  "fuzz", run: "^TestScript_ForgetsWithoutACrash$",
	},
	{
		name: "a forgotten row leaves an older marker",
		file: "store/forget.go",
		old:  "		if found && b.alive(m) && !s.matches(m) {\n",
		new:  "		if found && b.alive(m) && s.num > 1<<60 {\n",
		pkg:  "store", run: "^TestForget_InTheRow$",
	},
	{
		name: "a deleted namespace leaves no dead record", // A10
		file: "store/delete.go",
		old:  "		must(w.Set(nsKey(kindDead, num), nil, nil))\n",
		new:  "",
		pkg:  "store", run: "^TestFault_A10_DeletionIsFinishedByOpen$",
	},
	{
		name: "pending outputs forgotten: settled too far", // F15
		file: "store/batch.go",
		old:  "outKey(n.num, b.settled+1, 0)",
		new:  "outKey(n.num, b.settled+2, 0)",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "pending outputs forgotten: not staged", // F15
		file: "store/batch.go",
		old:  "	for i, o := range b.outs {\n",
		new:  "	for i, o := range b.outs[:len(b.outs)/2] {\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "a failed record's outputs stay", // F03
		file: "store/tx.go",
		old:  "	t.b.outs = t.b.outs[:t.outs]\n",
		new:  "",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "a failed record's state stays", // F03
		file: "store/tx.go",
		old:  "			t.b.state[w.key] = w.was\n",
		new:  "			_ = w.was\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "a read error is a miss", // B04
		file: "store/lookup.go",
		old:  "		return marker{}, false, fmt.Errorf(\"namespace %d: %w\", x.ns, err)\n",
		new:  "		_ = fmt.Errorf(\"namespace %d: %w\", x.ns, err)\n		return marker{}, false, nil\n",
		pkg:  "fuzz", run: "^TestFault_B04_ReadErrorsEverywhere$",
	},
	{
		name: "the folded sum is not checked", // B06
		file: "store/recover.go",
		old:  "	if sum != n.head.sum {\n",
		new:  "	if sum != n.head.sum && n.num == 0 {\n",
		also: []edit{
			{"store/recover.go", "		if g.exact == nil && g.table == nil {\n",
				"		if g.exact == nil && g.table == nil {\n			continue\n		}\n		if g.num > 1<<62 {\n"},
		},
		pkg: "store", run: "^TestFault_B06_ASegmentIsGone$",
	},
	{
		name: "a window that grows invents memory", // C17
		file: "store/settings.go",
		old:  "		h.cov.since, h.cov.reason = edge, Cold\n",
		new:  "		h.cov.reason = Cold\n",
		pkg:  "store", run: "^TestFault_C17_EnlargedWindow$",
	},
	{
		name: "what had left a window counts again", // C18
		file: "store/settings.go",
		old:  "	h.floor = max(h.floor, edge)\n",
		new:  "",
		pkg:  "store", run: "^TestStore_Namespace_ForgottenStaysForgotten$",
	},
	{
		name: "settings in two batches", // R9
		file: "store/settings.go",
		old:  "		must(w.Set(nsKey(kindHead, n.num), h.append(nil), nil))\n",
		new:  "		must(s.db.Set(nsKey(kindHead, n.num), h.append(nil), pebble.Sync))\n",
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "a handle goes on with the old settings", // R9
		file: "store/settings.go",
		old:  "	x.rules, x.buckets = r, b\n",
		new:  "	x.buckets = b\n",
		pkg:  "fuzz", run: "^TestScript_PlaysWithoutACrash$",
	},
	{
		name: "what is dead-lettered leaves a marker", // R7
		file: "store/policy.go",
		old:  "	return d.Verdict == New || d.Verdict == Unknown && d.Action == Accept\n",
		new:  "	return d.Verdict == New || d.Verdict == Unknown && d.Action != Drop\n",
		pkg:  "store", run: "^TestBatch_Do_DeadLettersAnUnknown$",
	},
	{
		name: "a new store's parents are not synced",
		file: "store/order.go",
		old:  "	for _, d := range parents {\n",
		new:  "	for _, d := range parents[:0] {\n",
		pkg:  "fuzz", run: crashes,
	},
	{
		name: "a marker file before its manifest", // B11
		file: "store/order.go",
		old:  "strings.HasPrefix(o.PathBase(path), \"marker.\")",
		new:  "strings.HasPrefix(o.PathBase(path), \"none.\")",
		pkg:  "store", run: "^TestFault_B11_MarkerFileComesLast$",
	},
	{
		name: "a repair leaves no dead record", // A10
		file: "store/repair.go",
		old:  "			must(w.Set(segKey(kindDead, p.num, num), nil, nil))\n",
		new:  "			_ = num\n",
		pkg:  "fuzz", run: "^TestFault_A10_CrashAtEveryStepOfARepair$",
	},
	{
		name: "a checkpoint beside an Ingest", // A10
		file: "store/checkpoint.go",
		old:  "	if err := c.s.lockTables(c.ctx); err != nil {\n		return err\n	}\n	defer c.s.unlockTables()\n",
		new:  "",
		pkg:  "store", run: "^TestStore_CheckpointAndIngestTakeTurns$",
	},
	{
		name: "a full disk drops nothing", // B03
		file: "store/disk.go",
		old:  "	need := min(d.ballastSize(), reliefRoom)\n",
		new:  "	need := d.need()\n",
		pkg:  "store", run: "^TestFault_B03_Exp",
	},
	{
		name: "a restore ends behind the clock of who decided", // E06
		file: "store/restore.go",
		old:  "to := max(r.until, r.held);",
		new:  "to := r.held;",
		pkg:  "store", run: "^TestRestore_EndsAtTheLaterClock$",
	},
	{
		name: "nobody tells how a row ended", // E07
		file: "store/batch.go",
		old:  "b.head.ended = rowEnd{b.head.pos.Offset, b.head.clock.now}",
		new:  "b.head.ended = rowEnd{}",
		pkg:  "adapter", run: "^TestFault_E07_RowsThatCopiesEnded$",
	},
	{
		name: "a restore anew expires markers by the clock before it", // E07
		file: "store/namespace.go",
		old:  "n.index.begin(n.head.clock, brings)",
		new:  "n.index.begin(n.head.reached(), brings)",
		pkg:  "store", run: "^TestRestoreAnew_ExpiresByItsOwnClock$",
	},
	{
		name: "a restore marks what is older than its edge", // E07
		file: "store/restore.go",
		old:  "	if d.accepted() && !early {\n",
		new:  "	if d.accepted() && (!early || early) {\n",
		pkg:  "store", run: "^TestRestore_WhatComesBeforeTheClockMovesIsOlder$",
	},
	{
		name: "who knows better is not heard", // B01, B06
		file: "store/witness.go",
		old:  "err != nil || st.Sequence >= seq",
		new:  "err != nil || st.Sequence != seq+1<<40",
		also: []edit{{"store/witness.go", "case g.batches > batches:", "case g.batches > batches+1<<40:"}},
		pkg:  "fuzz", run: "_AnyDamage$",
	},
}

// Every planted mistake is found. They take minutes, so they stand back where
// the race detector or -short asks for less: the plain run of all tests has
// them.
func TestMutants_AreFound(t *testing.T) {
	if testing.Short() || raceDetector || os.Getenv(inMutant) != "" {
		t.Skip("planted mistakes are for the plain run of all tests")
	}
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	turns := make(chan struct{}, 2)
	var all sync.WaitGroup
	defer all.Wait()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			out, err := m.test(t, root)
			require.Error(t, err, "the mistake was not found by %s", m.run)
			require.NotContains(t, out, "[build failed]", out)
			require.Contains(t, out, "--- FAIL: ", out)
		})
	}
}

// Every mistake can be made in the code as it is now. This takes no time, and
// says it long before TestMutants_AreFound does.
func TestMutants_Fit(t *testing.T) {
	if os.Getenv(inMutant) != "" {
		t.Skip("the code is a mutant's")
	}
	for _, m := range mutants {
		for _, e := range append([]edit{{m.file, m.old, m.new}}, m.also...) {
			text, err := os.ReadFile(filepath.Join("..", e.file))
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(string(text), e.old), "%s: %s has changed:\n%s", m.name, e.file, e.old)
		}
	}
}

// aside are test files that no planted mistake needs. They are left out of its build:
// without the consumer of the first, the adapter need not be compiled for every mistake
// in the store, nor the examples of the others.
var aside = []string{"fuzz/crashloop_process_test.go", "store/example*_test.go"}

// inMutant is set in the environment of a test of a mutant.
const inMutant = "FIRSTSEEN_MUTANT"

// test runs the mutant's test and returns what it printed.
func (m mutant) test(t *testing.T, root string) (string, error) {
	dir := t.TempDir()
	texts := map[string]string{}
	for _, e := range append([]edit{{m.file, m.old, m.new}}, m.also...) {
		path := filepath.Join(root, e.file)
		text, ok := texts[path]
		if !ok {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			text = string(b)
		}
		require.Equal(t, 1, strings.Count(text, e.old),
			"%s has changed: make the mistake anew, in the code as it is now, for\n%s", e.file, e.old)
		texts[path] = strings.Replace(text, e.old, e.new, 1)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range texts {
		copied := filepath.Join(dir, filepath.Base(path))
		require.NoError(t, os.WriteFile(copied, []byte(text), 0o600))
		overlay.Replace[path] = copied
	}
	for _, pattern := range aside {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths, pattern)
		for _, path := range paths {
			overlay.Replace[path] = "" // not there
		}
	}
	file := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	// What a crash leaves depends on how far the store's goroutines were: a test
	// that draws crashes may pass once.
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", file,
		"-count=3", "-vet=off", "-failfast", "-timeout=5m", "-run", m.run, "./"+m.pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", inMutant+"=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
