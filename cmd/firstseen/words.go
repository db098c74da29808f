package main

import (
	"fmt"
	"time"

	"github.com/firstseen/firstseen/store"
)

// How what a store says is shown: in the words of a table, and as JSON.

// coverageReport is the JSON form of a coverage.
type coverageReport struct {
	Open bool `json:"open"`
	// Since is missing when coverage is open or from the beginning.
	Since  *time.Time `json:"since,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

func coverageOf(c store.Coverage) coverageReport {
	return coverageReport{Open: c.Open, Since: timeOf(c.Since), Reason: c.Reason.String()}
}

// positionReport is the JSON form of a place in a log.
type positionReport struct {
	TopicID   string `json:"topicId"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Epoch     int32  `json:"leaderEpoch"`
}

// positionOf returns nil for the zero Position: there is no log behind it.
func positionOf(p store.Position) *positionReport {
	if p.IsZero() {
		return nil
	}
	return &positionReport{p.TopicID.String(), p.Partition, p.Offset, p.LeaderEpoch}
}

func (p *positionReport) words() string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("offset %d of partition %d, topic ID %s", p.Offset, p.Partition, p.TopicID)
}

// timeOf returns nil for the zero Time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// timeWords is a time of a namespace's clock, which is in whole milliseconds.
func timeWords(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.999Z07:00")
}
