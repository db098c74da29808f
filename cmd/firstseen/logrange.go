package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/firstseen/firstseen/store"
)

// logRange is a range of offsets of one partition, up to, not including, its
// end. math.MaxInt64 is no end.
type logRange struct {
	topic     store.ID
	partition int32
	from, to  int64
}

// parseLogRange reads TOPICID:PARTITION:FROM-TO or TOPICID:PARTITION:FROM-, as
// the flag of that name gave it.
func parseLogRange(flag, s string, f *faults) (r logRange) {
	fields := strings.Split(s, ":")
	if len(fields) != 3 {
		f.addf("--%s %q is not of three parts; give TOPICID:PARTITION:FROM-TO", flag, s)
		return r
	}
	topic, ok := parseTopicID(fields[0])
	if !ok {
		f.addf("--%s: %q is no topic ID; give it as firstseen why shows it, or as kafka-topics --describe does",
			flag, fields[0])
	}
	partition, err := strconv.ParseInt(fields[1], 10, 32)
	if err != nil || partition < 0 {
		f.addf("--%s: %q is no partition; give 0 or more", flag, fields[1])
	}
	r = logRange{topic: topic, partition: int32(partition), to: math.MaxInt64}
	from, to, dash := strings.Cut(fields[2], "-")
	r.from, err = strconv.ParseInt(from, 10, 64)
	if to != "" && err == nil {
		r.to, err = strconv.ParseInt(to, 10, 64)
	}
	switch {
	case err != nil || !dash:
		f.addf("--%s: %q are no offsets; give FROM-TO, or FROM- for no end", flag, fields[2])
	case r.from >= r.to:
		f.addf("--%s: from %d up to %d there is no offset; give the lower one first", flag, r.from, r.to)
	}
	return r
}

// parseTopicID reads a topic ID in hexadecimal, as we show it, or in base64, as
// Kafka does.
func parseTopicID(s string) (id store.ID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil {
		b, err = base64.RawURLEncoding.DecodeString(s)
	}
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return store.ID(b), true
}

func (r logRange) String() string {
	if r.to == math.MaxInt64 {
		return fmt.Sprintf("the offsets of partition %d from %d on", r.partition, r.from)
	}
	return fmt.Sprintf("the offsets of partition %d from %d up to %d", r.partition, r.from, r.to)
}
