package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// The clock at the end of a restore is that of whoever decided the records, or the
// one that the namespace had, whichever is later; and never behind what the records
// themselves have made of it.
func TestRestore_EndsAtTheLaterClock(t *testing.T) {
	const most = 30 * time.Minute // the clock that the records lead to
	for name, test := range map[string]struct {
		had, until, want time.Duration // 0: none
	}{
		"records alone":            {0, 0, most},
		"until":                    {0, 45 * time.Minute, 45 * time.Minute},
		"until, behind":            {0, 10 * time.Minute, most},
		"what it had":              {50 * time.Minute, 45 * time.Minute, 50 * time.Minute},
		"what it had, until later": {50 * time.Minute, 55 * time.Minute, 55 * time.Minute},
		"what it had, no until":    {50 * time.Minute, 0, 50 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := testOpen(t, t.TempDir(), limits{full: 300, small: 20, merge: mergeAbove})
			n, err := s.Namespace("n", &NamespaceOptions{Window: window.Hour})
			require.NoError(t, err)
			if test.had > 0 {
				for i := range firstTimes {
					_, err := n.Do(rec(fmt.Sprint("had", i), int64(i), test.had), nil)
					require.NoError(t, err)
				}
			}
			r := Restore{To: 107, From: t0}
			if test.until > 0 {
				r.Until = at(test.until)
			}
			require.NoError(t, n.Update(func(b *Batch) error {
				require.NoError(t, b.MoveTo(offset(100)))
				require.NoError(t, b.BeginRestore(r))
				for i := range 7 {
					_, err := b.Restore(rec(fmt.Sprint("r", i), int64(100+i), time.Duration(i)*5*time.Minute))
					require.NoError(t, err)
				}
				return b.EndRestore()
			}))
			status, err := n.Status()
			require.NoError(t, err)
			require.Equal(t, at(test.want), status.Clock)
			// What is decided next goes by that clock.
			d, err := n.Do(rec("next", 107, test.want-time.Hour-time.Millisecond), nil)
			require.NoError(t, err)
			require.Equal(t, Late, d.Reason)
		})
	}
}

// Of two markers of one ID the one that was accepted last stands, in whichever order
// they are told, in one batch and in two.
func TestRestore_TheLaterMarkerStands(t *testing.T) {
	older := Record{ID: []byte("a"), At: at(10 * time.Minute), Origin: offset(3)}
	newer := Record{ID: []byte("a"), At: at(20 * time.Minute), Origin: offset(9)}
	same := Record{ID: []byte("a"), At: newer.At, Origin: offset(7)} // of the same millisecond
	for name, told := range map[string][]Record{
		"older last": {newer, older}, "newer last": {older, newer},
		"same last": {newer, same}, "same first": {same, newer}, "all": {same, older, newer, older, same},
	} {
		for _, batches := range []bool{false, true} {
			t.Run(fmt.Sprint(name, batches), func(t *testing.T) {
				s := testOpen(t, t.TempDir(), limits{full: 300, small: 20, merge: mergeAbove})
				n, err := s.Namespace("n", &NamespaceOptions{Window: window.Hour})
				require.NoError(t, err)
				require.NoError(t, n.Update(func(b *Batch) error {
					return b.BeginRestore(Restore{To: 10, Until: at(30 * time.Minute)})
				}))
				for left := told; len(left) > 0; {
					some := left
					if batches {
						some = left[:1]
					}
					left = left[len(some):]
					require.NoError(t, n.Update(func(b *Batch) error {
						for _, r := range some {
							require.NoError(t, b.RestoreMarker(r, Timeline{}))
						}
						return nil
					}))
				}
				require.NoError(t, n.Update((*Batch).EndRestore))
				m, found, err := n.Lookup([]byte("a"))
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, []any{newer.At, newer.Origin}, []any{m.First, m.Origin})
			})
		}
	}
}

// A restore begins at the edge of the window, with a record that came late: it was
// first seen before the edge, nobody knows when. Its copy within the window was
// handled, so a copy of that copy is a duplicate; a marker at the edge would have
// hidden the one between.
func TestRestore_WhatComesBeforeTheClockMovesIsOlder(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 300, small: 20, merge: mergeAbove})
	var log []Record
	add := func(id string, minutes int) {
		log = append(log, rec(id, int64(len(log)), time.Duration(minutes)*time.Minute))
	}
	for m := -40; m <= 0; m += 5 { // x is first seen at -40
		add(fmt.Sprint("before", m), m)
	}
	log[0].ID = []byte("x")
	edge := len(log)
	add("x", -20) // a duplicate, late: the first one that a restore reads
	for m := 5; m <= 60; m += 5 {
		add(fmt.Sprint("after", m), m)
		if m == 30 {
			add("x", 30) // 70 minutes after the first: it is handled
		}
	}
	to := len(log)
	decide := func(n *Namespace, some []Record) (all []Verdict) {
		for _, r := range some {
			d, err := n.Do(r, nil)
			require.NoError(t, err)
			all = append(all, d.Verdict)
		}
		return all
	}
	stay, err := s.Namespace("stay", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.Equal(t, Duplicate, decide(stay, log)[edge])
	away, err := s.Namespace("away", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.NoError(t, away.Update(func(b *Batch) error {
		require.NoError(t, b.MoveTo(offset(int64(edge))))
		require.NoError(t, b.OpenCoverage(Cold, t0))
		require.NoError(t, b.BeginRestore(Restore{To: int64(to), From: t0, Until: at(time.Hour)}))
		for _, r := range log[edge:] {
			_, err := b.Restore(r)
			require.NoError(t, err)
		}
		return b.EndRestore()
	}))
	add("x", 61)
	next := log[to:]
	require.Equal(t, []Verdict{Duplicate}, decide(stay, next))
	require.Equal(t, []Verdict{Duplicate}, decide(away, next))
}
