package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The table is counted from the effects, and a verdict of firstseen's own that
// was bad is the demo's error.
func TestDemo_Table(t *testing.T) {
	s := &stream{payments: 3, balance: cents(0) + cents(1) + cents(2)}
	did := func(payments ...int) effects {
		e := effects{paid: map[string]int64{}}
		for _, n := range payments {
			e.paid[string(payment(n).Headers[0].Value)]++
			e.balance += cents(n)
		}
		return e
	}
	tests := []struct {
		name    string
		effects effects
		lost    uint64
		doubled uint64
		row     string
		code    int
	}{
		{"right", did(0, 1, 2), 0, 0, "3 3 0 0 right 1,000", exitDone},
		{"lost", did(0, 2), 1, 0, "3 2 1 0 wrong 1,000", exitBad},
		{"doubled", did(0, 1, 1, 2, 1), 0, 2, "3 5 0 2 wrong 1,000", exitBad},
		{"both", did(0, 1, 1), 1, 1, "3 3 1 1 wrong 1,000", exitBad},
		{"nothing", did(), 3, 0, "3 0 3 0 wrong 1,000", exitBad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := writeDemo(&out, []demoRow{{"firstseen", tt.effects, s, 1000}})
			require.Equal(t, tt.code, exitCode(err))
			require.Contains(t, strings.Join(strings.Fields(out.String()), " "), "firstseen "+tt.row+" ")
			last := fmt.Sprintf("\nfirstseen: lost %d, doubled %d\n", tt.lost, tt.doubled)
			require.True(t, strings.HasSuffix(out.String(), last), out.String())
		})
	}
	e := did(0, 1, 2)
	e.balance++
	require.ErrorIs(t, writeDemo(&strings.Builder{}, []demoRow{{"firstseen", e, s, 1}}), errBadVerdict)
}
