package adapter_test

import (
	"errors"
	"fmt"

	"github.com/firstseen/firstseen/adapter"
)

// Where does a partition start? Retention has deleted what is to be read next: it
// stops, or goes on behind the gap when that is what was asked for.
func ExamplePlanResume() {
	in := adapter.Inputs{
		Group: "billing", Topic: "payments", TopicID: [16]byte{1},
		Local:    adapter.Local{Present: true, TopicID: [16]byte{1}, Offset: 40},
		LogStart: 60, LogEnd: 100,
	}
	plan := adapter.PlanResume(in)
	fmt.Println(plan.Action == adapter.ActionStop, errors.Is(plan.Err, adapter.ErrGap))
	in.OnGap = adapter.GapJump
	plan = adapter.PlanResume(in)
	fmt.Println(plan.Action == adapter.ActionStart, plan.Offset, plan.Gap, plan.OpensCoverage)
	// Output:
	// true true
	// true 60 {40 60} true
}

// Who committed the offset of a group? Its metadata says, as a tool reads it from
// Kafka.
func ExampleDecodeTag() {
	metadata, err := adapter.Tag{StoreID: [16]byte{7}, Sequence: 12, HasState: true}.Encode()
	if err != nil {
		panic(err)
	}
	for _, text := range []string{metadata, "", "by hand"} {
		tag, ours, err := adapter.DecodeTag(text)
		fmt.Println(ours, tag.Sequence, tag.HasState, err)
	}
	// Output:
	// true 12 true <nil>
	// false 0 false <nil>
	// false 0 false <nil>
}
