// Package kafkatest gives tests a Kafka of their own, and the hands of an
// operator in it.
//
//	NewFake     kfake on loopback, in real time
//	NewVirtual  kfake without a network, for a testing/synctest bubble
//	NewReal     Apache Kafka, under the build tag kafka (make test-kafka)
//
// Each gives a [Cluster], so one test body can run on all three. Every helper
// works with a client of its own: a test never depends on what another
// client has cached, and what is read back comes from an independent reader.
// A helper that cannot do its work fails the test, so it is called from the
// test's own goroutine.
package kafkatest
