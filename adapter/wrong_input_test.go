package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

const user, password = "relay", "relay's"

// granted is what the relay's user needs.
type granted struct {
	kind kmsg.ACLResourceType
	name string
	op   kmsg.ACLOperation
}

func (g granted) seed(prefixed bool) kfake.ACL {
	pattern := kmsg.ACLResourcePatternTypeLiteral
	if prefixed {
		pattern = kmsg.ACLResourcePatternTypePrefixed
	}
	return kfake.ACL{Resource: g.kind, Name: g.name, Pattern: pattern, Operation: g.op, Allow: true}
}

// secure has the world's Kafka know one user, who may do what is granted.
func (w *world) secure(rights ...granted) {
	w.Helper()
	var acls []kfake.ACL
	for _, g := range rights {
		acls = append(acls, g.seed(g.kind == kmsg.ACLResourceTypeTransactionalId))
	}
	w.kafka = kafkatest.NewSecured(w, kfake.SeedTopics(1, topic), kfake.SeedTopics(1, outTopic),
		kfake.User("PLAIN", user, password, acls...))
	w.opts.Brokers = w.kafka.Brokers()
	w.login(password)
}

func (w *world) login(password string) {
	w.opts.Client = append(w.kafka.DialOptions(), kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
}

// grant gives the user one right more.
func (w *world) grant(g granted) {
	w.Helper()
	b := kadm.NewACLs().Allow("User:" + user).AllowHosts().Operations(g.op)
	switch g.kind {
	case kmsg.ACLResourceTypeTopic:
		b = b.Topics(g.name).ResourcePatternType(kadm.ACLPatternLiteral)
	case kmsg.ACLResourceTypeGroup:
		b = b.Groups(g.name).ResourcePatternType(kadm.ACLPatternLiteral)
	default:
		b = b.TransactionalIDs(g.name).ResourcePatternType(kadm.ACLPatternPrefixed)
	}
	made, err := kadm.NewClient(w.kafka.Client(w)).CreateACLs(w.Context(), b)
	require.NoError(w, err)
	for _, m := range made {
		require.NoError(w, m.Err)
	}
}

// foreignMember has a member of another kind join the group, and returns how it
// leaves. The group goes with it: kfake would remember its kind.
func (w *world) foreignMember(protocolType, protocol string) (leave func()) {
	w.Helper()
	cl := w.kafka.Client(w)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = group, protocolType
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 300_000, 300_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name = protocol
	p.Metadata = (&kmsg.ConsumerMemberMetadata{Topics: []string{topic}}).AppendTo(nil)
	join.Protocols = append(join.Protocols, p)
	var joined *kmsg.JoinGroupResponse
	for joined == nil || errors.Is(kerr.ErrorForCode(joined.ErrorCode), kerr.MemberIDRequired) {
		var err error
		joined, err = join.RequestWith(w.Context(), cl)
		require.NoError(w, err)
		join.MemberID = joined.MemberID
	}
	require.Zero(w, joined.ErrorCode)
	return func() {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = joined.MemberID
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID, req.Members = group, joined.MemberID, append(req.Members, m)
		left, err := req.RequestWith(w.Context(), cl)
		require.NoError(w, err)
		require.Zero(w, left.ErrorCode)
		_, err = kadm.NewClient(cl).DeleteGroup(w.Context(), group)
		require.NoError(w, err)
	}
}

// answerWrongPassword answers it as Apache Kafka does; kfake just hangs up.
func (w *world) answerWrongPassword() (end func()) {
	var ended atomic.Bool
	w.kafka.Fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r := req.(*kmsg.SASLAuthenticateRequest)
		if ended.Load() || !bytes.HasSuffix(r.SASLAuthBytes, []byte("wrong")) {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	return func() { ended.Store(true) }
}

// What is wrong outside the program is named, with the way out; and when it is
// mended, every message is there once.
func TestWrongInput_IsNamedAndNothingIsLost(t *testing.T) {
	var (
		readTopic  = granted{kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationRead}
		writeTopic = granted{kmsg.ACLResourceTypeTopic, outTopic, kmsg.ACLOperationWrite}
		readGroup  = granted{kmsg.ACLResourceTypeGroup, group, kmsg.ACLOperationRead}
		writeTxn   = granted{kmsg.ACLResourceTypeTransactionalId, "firstseen-" + group + "-", kmsg.ACLOperationWrite}
	)
	all := []granted{readTopic, writeTopic, readGroup, writeTxn}
	without := func(right granted) func(w *world) func() {
		return func(w *world) func() {
			w.secure(slices.DeleteFunc(slices.Clone(all), func(g granted) bool { return g == right })...)
			return func() { w.grant(right) }
		}
	}
	balancer := func(b Balancer, begin func(w *world) func()) func(w *world) func() {
		return func(w *world) func() {
			w.opts.Balancer = b
			return begin(w)
		}
	}
	for _, tt := range []struct {
		name  string
		begin func(w *world) (mend func())
		want  error
		words []string
	}{
		{name: "the topic may not be read", begin: without(readTopic), want: ErrConsumeRefused,
			words: []string{`"payments"`, "TOPIC_AUTHORIZATION_FAILED", "grant the user READ on the topic"}},
		{name: "the output may not be written", begin: without(writeTopic), want: ErrOutputRefused,
			words: []string{`"loud"`, "TOPIC_AUTHORIZATION_FAILED", "grant the user WRITE on it"}},
		{name: "the group may not be joined", begin: without(readGroup), want: ErrConsumeRefused,
			words: []string{`"billing"`, "GROUP_AUTHORIZATION_FAILED", "grant the user READ on the group"}},
		{name: "no transactions", begin: without(writeTxn), want: ErrTransactionRefused,
			words: []string{"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "begin with firstseen-"}},
		{name: "wrong password", want: ErrConsumeRefused,
			words: []string{"SASL_AUTHENTICATION_FAILED", "check the user and the password of SASL"},
			begin: func(w *world) func() {
				w.secure(all...)
				end := w.answerWrongPassword()
				w.login("wrong")
				return func() { end(); w.login(password) }
			}},
		{name: "wrong password, and the broker hangs up", want: ErrBrokersAway,
			words: []string{"localhost:9092", "the settings of TLS and SASL"},
			begin: func(w *world) func() {
				w.secure(all...)
				w.login("wrong")
				return func() { w.login(password) }
			}},
		{name: "no SASL", want: ErrBrokersAway, words: []string{"the settings of TLS and SASL"},
			begin: func(w *world) func() {
				w.secure(all...)
				w.opts.Client = w.kafka.DialOptions()
				return func() { w.login(password) }
			}},
		{name: "a group of Kafka Connect", want: ErrConsumeRefused,
			words: []string{`"billing"`, "INCONSISTENT_GROUP_PROTOCOL", "end them", "Options.Balancer", "another group"},
			begin: func(w *world) func() { return w.foreignMember("connect", "sessioned") }},
		{name: "a group with another balancer", want: ErrConsumeRefused,
			words: []string{"INCONSISTENT_GROUP_PROTOCOL", "Options.Balancer"},
			begin: balancer(BalancerSticky, func(w *world) func() { return w.foreignMember("consumer", "range") })},
		{name: "KIP-848 in a classic group", want: ErrConsumeRefused,
			words: []string{"GROUP_ID_NOT_FOUND", "end them", "Options.Balancer", "another group"},
			begin: balancer(BalancerServerRange, func(w *world) func() { return w.foreignMember("connect", "sessioned") })},
	} {
		for _, txn := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/transactional=%v", tt.name, txn), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.opts.Transactional = txn
					w.kafka.CreateTopic(t, outTopic, 1, nil)
					mend := tt.begin(w)
					w.produce(0, "a", "b", "a")
					err := w.consumer(shout).Run(t.Context())
					if !txn && errors.Is(tt.want, ErrTransactionRefused) {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, tt.want)
						for _, words := range tt.words {
							require.ErrorContains(t, err, words)
						}
						require.NotContains(t, err.Error(), password)
					}
					mend()
					require.NoError(t, w.consumer(shout).Run(t.Context()))
					require.Equal(t, map[string]int{"V-A": 1, "V-B": 1}, w.outputs(outTopic))
					require.EqualValues(t, 2, w.state(0, "n"))
					require.EqualValues(t, 3, w.position(0))
				})
			})
		}
	}
}
