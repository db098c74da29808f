package store

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/window"
)

// In these tests MaxAdvance is 100 ms, MaxAhead 1,000 ms, and the wall clock
// shows 1,000,000 ms.
var testRules = rules{w: window.Of(800e6), maxAdvance: 100, maxAhead: 1000}

const wall = 1_000_000

// standing is a clock that its first 8 times have set.
func standing(now int64) clock { return clock{now: now, first: now, times: firstTimes} }

// afterAll moves a clock by many times, and returns what the last one did.
func afterAll(c clock, times ...int64) (clock, step) {
	var s step
	for _, t := range times {
		s = c.move(t, wall, &testRules)
	}
	return c, s
}

// jumps returns n times, all at t.
func jumps(n int, t int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = t
	}
	return all
}

// Every sentence of R1 about a single time.
func TestFault_C03_C04_C05_ClockMoves(t *testing.T) {
	row := standing(5000)
	row.jumps, row.low, row.high = 3, 5200, 5900
	sound := standing(5000)
	tests := []struct {
		name string
		c    clock
		t    int64
		want clock
		step step
	}{
		{"C05: missing", sound, -1, sound, step{}},
		{"C05: zero", sound, 0, sound, step{}},
		{"C05: negative", sound, math.MinInt64, sound, step{}},
		{"C03: beyond wall + MaxAhead", sound, wall + 1001, sound, step{future: true}},
		{"C03: year 9999", sound, 253402300799999, sound, step{future: true}},
		{"C16: the end of time", sound, math.MaxInt64, sound, step{future: true}},
		{"wall + MaxAhead is not the future", standing(wall + 950), wall + 1000,
			clockAt(wall+950, wall+1000),
			step{known: true, moved: true}},
		{"the same time", sound, 5000, sound, step{known: true}},
		{"forward", sound, 5001, clockAt(5000, 5001), step{known: true, moved: true}},
		{"forward by MaxAdvance", sound, 5100, clockAt(5000, 5100), step{known: true, moved: true}},
		{"C04: a jump", sound, 5101, inRow(sound, 1, 5101, 5101), step{known: true, inRow: true}},
		{"a smaller jump", row, 5101, inRow(row, 4, 5101, 5900), step{known: true, inRow: true}},
		{"a larger jump", row, 6000, inRow(row, 4, 5200, 6000), step{known: true, inRow: true}},
		{"C08: backward moves nothing", sound, 4900, sound, step{known: true}},
		{"older than MaxAdvance moves nothing", sound, 4899, sound, step{known: true}},
		{"within MaxAdvance ahead gives the row up", row, 5100, clockAt(5000, 5100),
			step{known: true, moved: true, join: joinRebased}},
		{"within MaxAdvance behind gives the row up", row, 4900, sound,
			step{known: true, join: joinRebased}},
		{"older neither counts nor ends a row", row, 4899, row, step{known: true}},
		{"missing neither counts nor ends a row", row, -1, row, step{}},
		{"the future neither counts nor ends a row", row, wall + 1001, row, step{future: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.c
			s := got.move(tt.t, wall, &testRules)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.step, s)
		})
	}
}

// clockAt is a clock set at first, that has come to now.
func clockAt(first, now int64) clock { return clock{now: now, first: first, times: firstTimes} }

func inRow(c clock, n int, low, high int64) clock {
	c.jumps, c.low, c.high = n, low, high
	return c
}

func TestClock_FirstEightTimes(t *testing.T) {
	var c clock
	for i, at := range []int64{500, 900_000, 300, 700, 400, 600, 800} {
		s := c.move(at, wall, &testRules)
		require.Equal(t, step{known: true, inRow: true}, s, "time %d", i+1)
		require.Equal(t, c.first, c.now)
	}
	require.Equal(t, clock{now: 300, first: 300, times: 7, high: 900_000}, c,
		"the smallest, and the row's largest")
	require.Equal(t, int64(900_000), c.other())
	c, _ = afterAll(c, 0, -1, wall+1001)
	require.Equal(t, 7, c.times, "what is missing or in the future is no time")
	c, s := afterAll(c, 200)
	require.Equal(t, clock{now: 200, first: 200, times: 8}, c)
	require.Equal(t, step{known: true, join: joinRebased}, s,
		"complete: they join with F = C, and coverage stays")
	c, _ = afterAll(c, 150)
	require.Equal(t, int64(200), c.now, "from now on it never goes back")
}

func TestClock_FollowsARow(t *testing.T) {
	c := standing(5000)
	c, _ = afterAll(c, jumps(998, 7000)...)
	require.Equal(t, int64(5000), c.now)
	c, s := afterAll(c, 6950)
	require.Equal(t, inRow(standing(5000), 999, 6950, 7000), c)
	require.True(t, s.inRow)
	t.Run("and its last time is sound by the new line", func(t *testing.T) {
		c, s := afterAll(c, 7050)
		require.Equal(t, clockAt(5000, 7050), c)
		require.Equal(t, step{known: true, moved: true, join: joinAsIs}, s)
	})
	t.Run("and its last time is the smallest", func(t *testing.T) {
		c, s := afterAll(c, 6000)
		require.Equal(t, clockAt(5000, 6000), c)
		require.Equal(t, step{known: true, moved: true, join: joinAsIs}, s)
	})
	t.Run("and its last time is a jump by the new line", func(t *testing.T) {
		c, s := afterAll(c, 9000)
		require.Equal(t, inRow(clockAt(5000, 6950), 1, 9000, 9000), c, "counting starts anew")
		require.Equal(t, step{known: true, inRow: true, moved: true, join: joinAsIs}, s)
	})
	t.Run("and the largest is kept until the row is given up", func(t *testing.T) {
		c, _ := afterAll(c, 9000)
		c, _ = afterAll(c, 7040)
		require.Equal(t, clockAt(5000, 7040), c)
	})
	t.Run("a sound time just before it", func(t *testing.T) {
		c, _ := afterAll(c, 5000)
		c, _ = afterAll(c, jumps(999, 7000)...)
		require.Equal(t, inRow(standing(5000), 999, 7000, 7000), c, "1,000 with none between")
	})
}

func TestClock_WithoutLimitThereIsNoJump(t *testing.T) {
	r := rules{w: window.Forever, maxAdvance: math.MaxInt64, maxAhead: math.MaxInt64}
	c := standing(5000)
	s := c.move(math.MaxInt64, wall, &r)
	require.Equal(t, int64(math.MaxInt64), c.now)
	require.Equal(t, step{known: true, moved: true}, s)
	s = c.move(1, wall, &r)
	require.Equal(t, int64(math.MaxInt64), c.now)
	require.Equal(t, step{known: true}, s)
}

// I10: after its first 8 times the clock never goes back, no jump and no future
// record moves it, and C' is never below it.
func TestClock_I10_NeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rules{
			w:          window.Hour,
			maxAdvance: rapid.SampledFrom([]int64{1, 100, math.MaxInt64}).Draw(t, "advance"),
			maxAhead:   rapid.SampledFrom([]int64{0, 1000, math.MaxInt64}).Draw(t, "ahead"),
		}
		var c clock
		for _, at := range rapid.SliceOf(rapid.OneOf(rapid.Int64(),
			rapid.Int64Range(-10, wall+2000))).Draw(t, "times") {
			was := c
			s := c.move(at, wall, &r)
			if was.times == firstTimes {
				require.GreaterOrEqual(t, c.now, was.now)
				require.Equal(t, was.first, c.first)
			}
			require.GreaterOrEqual(t, c.other(), c.now)
			require.False(t, s.future && c != was)
			require.False(t, s.inRow && !s.moved && was.times == firstTimes && c.now != was.now)
			require.Equal(t, was.times == firstTimes && c.now > was.now, s.moved)
			require.Equal(t, at > 0 && !s.future, s.known)
		}
	})
}
