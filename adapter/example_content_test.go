package adapter_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
)

// A measurement has no ID, but says itself which one it is: by its time.
func ExampleContent() {
	id := func(key, value, trace string) string {
		id, _ := adapter.Content().ID(&kgo.Record{
			Key: []byte(key), Value: []byte(value),
			Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte(trace)}},
		})
		return string(id)
	}
	first := id("sensor-7", `{"at":"12:00","celsius":21}`, "a")
	fmt.Println("sent again:", id("sensor-7", `{"at":"12:00","celsius":21}`, "b") == first)
	fmt.Println("the next one:", id("sensor-7", `{"at":"12:01","celsius":21}`, "c") == first)
	// Output:
	// sent again: true
	// the next one: false
}
