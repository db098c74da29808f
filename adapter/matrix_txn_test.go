package adapter

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// inTransactions returns the scenario, of a part of them with handlers that relay in
// transactions; what dies after a step of the plain loop dies after one that takes
// its place there.
func (s scenario) inTransactions() scenario {
	if s.nth != 2 || s.most != 3 {
		return s
	}
	s.txn = true
	switch {
	case s.step == "committed":
		s.step = "ended"
	case s.step == "sent" && s.dynamic:
		s.step = "produced"
	case s.step == "sent":
		s.step = "added"
	}
	return s
}

// output is the topic that a scenario relays to.
func (s scenario) output() string { return s.topic + "-out" }

// judgeOutputs looks at what a read_committed reader sees: every message, and twice
// at most those that an instance could not know.
func (s scenario) judgeOutputs(t *testing.T, most int64) {
	t.Helper()
	seen := make(map[effect]int)
	for p, recs := range s.world.kafka.ReadAll(t, s.output()) {
		for _, rec := range recs {
			seen[effect{p, header(rec, "id")}]++
		}
	}
	doubled := int64(0)
	for p := range int32(matrixPartitions) {
		for wave := range 3 {
			for i := range newInWave {
				n := seen[effect{p, fmt.Sprintf("w%d-%d", wave, i)}]
				if n == 0 {
					t.Errorf("%v: partition %d: w%d-%d is not in the output", s, p, wave, i)
				}
				doubled += int64(max(0, n-1))
			}
		}
	}
	require.Len(t, seen, matrixPartitions*3*newInWave)
	if doubled > most {
		t.Errorf("%v: %d are twice in the output, %d may be", s, doubled, most)
	}
}
