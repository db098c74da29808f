// Package fuzz holds firstseen against its law, from outside: random logs, laid
// out in random ways, through the real store, beside a model of plain maps.
//
// It has tests only. The model (model_test.go) is written from the rules R1 to
// R9 and shares no code with the store. A log is drawn once, and the model says
// what every record of it must be answered (decide_log_test.go); a layout then
// plays the log into a store: split into batches, with handlers that fail,
// batches that are rolled back, restarts, segments of a few markers, budgets of
// a few bytes, several namespaces side by side (decide_layout_test.go). However
// it is laid out, the answers are the model's.
//
// A failure prints the seed: run it again with -rapid.seed or the fail file. For
// longer runs raise -rapid.checks.
package fuzz
