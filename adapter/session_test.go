package adapter

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Records of another topic ID than the position's, or of a partition that the
// session does not have, end it and are not touched.
func TestSession_RecordsOfAnotherLog(t *testing.T) {
	for name, fetch := range map[string]kgo.FetchTopic{
		"other topic ID":  {Topic: topic, TopicID: [16]byte{2}},
		"other partition": {Topic: topic, TopicID: [16]byte{1}, Partitions: []kgo.FetchPartition{{Partition: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t.Context(), &Consumer{}, nil)
			s.wake = func() {}
			s.parts[topicPartition{topic, 0}] = &partition{s: s, topic: topic, log: store.ID{1}}
			if fetch.Partitions == nil {
				fetch.Partitions = []kgo.FetchPartition{{}}
			}
			fetch.Partitions[0].Records = []*kgo.Record{record(0, "a")}
			require.Empty(t, s.batches(kgo.Fetches{{Topics: []kgo.FetchTopic{fetch}}}))
			require.ErrorIs(t, s.over(), errRecreated)
			require.True(t, s.fenced)
		})
	}
}

// Brokers that fetch without topic IDs cannot be served.
func TestSession_RecordsWithoutTopicID(t *testing.T) {
	s := newSession(t.Context(), &Consumer{}, nil)
	s.wake = func() {}
	s.parts[topicPartition{topic, 0}] = &partition{s: s, topic: topic, log: store.ID{1}}
	require.Empty(t, s.batches(kgo.Fetches{{Topics: []kgo.FetchTopic{{
		Topic: topic, Partitions: []kgo.FetchPartition{{Records: []*kgo.Record{record(0, "a")}}},
	}}}}))
	require.ErrorIs(t, s.over(), ErrNoTopicID)
}

// I13: records from a fetch that began above the position end the session.
func TestPartition_FetchAboveThePosition(t *testing.T) {
	p := &partition{topic: topic, fetch: 8, next: store.Position{Offset: 7}}
	err := p.decide(t.Context(), t.Context(), []*kgo.Record{record(0, "a")})
	require.True(t, isAgain(err))
	require.ErrorContains(t, err, "from 8, above the position 7")
}

// What ends Run comes before what another session follows on, and that before a
// plain end; and once fenced, always fenced.
func TestSession_ReasonsToEnd(t *testing.T) {
	fatal, other, lost := errors.New("fatal"), errors.New("other"), &again{errors.New("lost")}
	for _, test := range []struct {
		name    string
		reasons []error
		want    []error
		fenced  bool
	}{
		{"done", []error{errDone, errDone}, []error{errDone}, false},
		{"lost", []error{errDone, lost, errDone}, []error{lost}, true},
		{"fatal", []error{errDone, fatal, errDone}, []error{fatal}, false},
		{"lost, then fatal", []error{lost, fatal}, []error{fatal}, true},
		{"fatal, then lost", []error{fatal, lost}, []error{fatal}, true},
		{"two", []error{fatal, other}, []error{fatal, other}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSession(t.Context(), &Consumer{}, nil)
			s.wake = func() {}
			for _, reason := range test.reasons {
				s.end(reason)
			}
			for _, want := range test.want {
				require.ErrorIs(t, s.over(), want)
			}
			require.Equal(t, len(test.want) == 1, errors.Is(test.want[0], s.over()))
			require.Equal(t, test.fenced, s.fenced)
		})
	}
}

// A member that the group lost commits nothing from then on, whatever the poll
// says next, and its session ends.
func TestSession_LostIsFenced(t *testing.T) {
	s := newSession(t.Context(), &Consumer{}, nil)
	s.wake = func() {}
	s.onLost(t.Context(), nil, nil)
	require.True(t, s.fenced)
	require.False(t, s.survives(t.Context(), nil))
	require.NoError(t, s.over(), "the next poll may tell why")
	require.False(t, s.survives(t.Context(), nil))
	require.True(t, isAgain(s.over()))
}
