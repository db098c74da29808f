package adapter_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/adapter"
)

// What names a message? Here the source and the number that it gave, together: two
// sources may give the same one.
func ExampleExtractor() {
	var id adapter.Extractor = adapter.Composite(adapter.Header("source"), adapter.JSONPointer("/payment/id"))
	fmt.Println(id.Name())
	for _, value := range []string{`{"payment":{"id":17}}`, `{"payment":{}}`} {
		rec := &kgo.Record{Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "source", Value: []byte("web")}}}
		got, missing := id.ID(rec)
		fmt.Printf("%v %q\n", len(got) > 0, missing)
	}
	// Output:
	// header:source+json:/payment/id
	// true ""
	// false "there is nothing at the JSON pointer"
}

// A number is another ID than the same digits in a string, or than the number
// written in another way.
func ExampleJSONPointer() {
	id := adapter.JSONPointer("/id")
	for _, value := range []string{`{"id":1}`, `{"id":1.0}`, `{"id":"1"}`} {
		got, _ := id.ID(&kgo.Record{Value: []byte(value)})
		fmt.Println(string(got))
	}
	// Output:
	// #1
	// #1.0
	// 1
}

// An extractor from a configuration file.
func ExampleParseSpec() {
	id, err := adapter.ParseSpec("header:source", "key")
	fmt.Println(id.Name(), err)
	_, err = adapter.ParseSpec("value")
	fmt.Println(err)
	// Output:
	// header:source+key <nil>
	// adapter: ID "value" is not known; give header:NAME, key, json:/pointer or content
}
