package adapter

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ways are the ways out of what Kafka answers for good, where there is one that
// follows from the answer.
var ways = []struct {
	err *kerr.Error
	way string
}{
	{kerr.TopicAuthorizationFailed, "grant the user READ on the topic"},
	{kerr.GroupAuthorizationFailed, "grant the user READ on the group"},
	{kerr.TransactionalIDAuthorizationFailed, "grant the user WRITE on transactional IDs that begin with firstseen-"},
	{kerr.InconsistentGroupProtocol, otherMembers},
	{kerr.GroupIDNotFound, otherMembers}, // by KIP-848 a group of another kind is none
	{kerr.SaslAuthenticationFailed, "check the user and the password of SASL"},
	{kerr.UnsupportedSaslMechanism, "take a mechanism of SASL that the brokers have"},
}

const otherMembers = "the group has members of another protocol or balancer: " +
	"end them, set Options.Balancer to theirs, or take another group"

// wayOut returns what to do about an answer of Kafka that does not end by itself,
// when it was asked for what a consumer needs.
func wayOut(err error) string {
	for _, w := range ways {
		if errors.Is(err, w.err) {
			return w.way + ", and run again"
		}
	}
	const delete = "delete the records up to the end of that batch and set Options.OnGap to GapJump, and run again"
	switch {
	case errors.Is(err, kgo.ErrMaxDecompress):
		return "allow such batches by kgo.MaxDecompressBatchBytes in Options.Client, or " + delete
	case isDamage(err):
		return "mend the log, or " + delete
	}
	return "mend that and run again"
}
