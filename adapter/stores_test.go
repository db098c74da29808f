package adapter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// E09, rows 5 and 9 to 13 in any order: three stores take turns in one group and
// die between any two steps, with commits refused or not. Every message has its
// output in Kafka at least once, and the group's offset never goes back.
func TestFault_E09_StoresInAnyOrder(t *testing.T) {
	for range 8 {
		seed := rand.Uint64()
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			rng := rand.New(rand.NewPCG(seed, 0))
			told := fmt.Sprintf("seed %d", seed)
			say := func(_ context.Context, tx *Tx, rec *Record) error {
				return tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value})
			}
			dirs := []string{w.dir, w.dir + "-b", w.dir + "-c"}
			w.opts.MaxPollRecords = 3
			sent, committed := 0, int64(-1)
			for range 8 {
				for range rng.IntN(8) {
					w.produceSlowly(fmt.Sprint("id", sent))
					if sent++; rng.IntN(4) == 0 {
						w.produceSlowly(fmt.Sprint("id", rng.IntN(sent)))
					}
				}
				refuse := func() {}
				if rng.IntN(3) == 0 {
					refuse = w.refuseCommits().Remove
				}
				if rng.IntN(4) == 0 {
					refuse()
					require.NoError(t, w.consumer(say).Run(t.Context()), told)
				} else {
					w.crashOnce(say, steps[rng.IntN(len(steps))], 1+rng.IntN(2))
					refuse()
				}
				require.GreaterOrEqual(t, w.committedAt(0), committed, told)
				committed = w.committedAt(0)
				if rng.IntN(2) == 0 {
					w.use(dirs[rng.IntN(len(dirs))])
				}
			}
			require.NoError(t, w.consumer(say).Run(t.Context()), told)
			require.Equal(t, w.position(0), w.committedAt(0), told)
			outs := make(map[string]int)
			for _, value := range w.values(outTopic) {
				outs[value]++
			}
			for i := range sent {
				require.Positive(t, outs[fmt.Sprint("v-id", i)], "%s: id%d", told, i)
			}
		})
	}
}
