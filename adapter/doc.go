// Package adapter is the Kafka consumer around a store: it hands every message
// to a Handler once within the window, and loses none.
//
// A [Consumer] is a member of a consumer group. For every partition it has a
// namespace in the store, which holds the markers, the position, the handler's
// state and its outputs. The store leads and Kafka follows: a partition starts
// where the store says, checked against what Kafka says (R11), and the group's
// offset is only ever a copy of the store's position.
//
// # The loop
//
//	Kafka          adapter                       Handler       store
//	  |    poll       |                             |            |
//	  |-------------->|  begin a batch of the partition -------->|
//	  |               |                             |            |
//	  |               |  each record:               |            |
//	  |               |    below the position: a replay, done    |
//	  |               |    decide ------------------------------>|
//	  |               |    Duplicate: done          |            |
//	  |               |    New, Unknown ----------->|            |
//	  |               |      its state and outputs  |----------->|
//	  |               |                             |            |
//	  |      (1)      |  commit the batch: marker, position, state
//	  |               |  and outputs, durable in one step ------>|
//	  |      (2)      |                             |            |
//	  |<--------------|  outputs, acknowledged      |            |
//	  |      (3)      |                             |            |
//	  |<--------------|  group offset, with a tag   |            |
//	  |      (4)      |                             |            |
//	  |               |  allow a rebalance, poll again           |
//
// What a crash leaves:
//
//	before (1)  nothing of the batch. It is fetched and handled again: a call
//	            to another system is repeated, with the same Token.
//	(1) to (2)  all of the batch, its outputs pending. They are sent as they
//	            were staged before the partition flows again; the handler is
//	            not called.
//	(2) to (3)  the same, or some outputs once more, with the same output ID.
//	(3) to (4)  all of it; the group's offset is behind. The partition starts
//	            at the store's position, and Kafka's records below are replays.
//
// So state is exactly once, outputs are at least once under an ID that does not
// change, or exactly once in transactions (below), and calls to other systems are repeated only when the process dies
// between the call and (1), or the batch fails there.
//
// # State
//
// What a handler keeps with its Tx is the state of the partition, in the store's
// namespace of group, topic and partition: "billing/payments/3" (a "%" or "/" in a
// name is written "%25" or "%2F"). Anybody in the program reads it, beside the
// consumer, by Store.Namespace with nil options and Namespace.View. Two things to
// know:
//
//   - Namespace makes what there is not. Ask for names that Store.Namespaces has, or
//     settings may stand that are not the consumer's.
//   - Each partition has keys of its own. What is kept under the record's key is in
//     one of them, as long as the topic has as many partitions as before. When another
//     instance takes a partition over, its state stays here as it was then.
//
// # Failures
//
// A handler that fails is called again, with back-off, inside the time of the
// batch. Then Options.OnFailure decides (R7):
//
//	FailureStop        Run returns a *RecordError; the record comes first next time
//	FailurePause       the partition stands at the record, the others go on
//	FailureDeadLetter  the record goes to Options.DeadLetterTopic
//
// A handler decides at once by returning DeadLetter(err), Discard(err) or
// Stop(err). A dead letter is an output: it is staged in the batch that moves the
// position past the record, and leaves no marker.
//
// While the topic of an output does not answer, the partition goes on, with the
// group's offset waiting, until MaxPending outputs wait; then it pauses, and goes
// on when Kafka has them. Consumer.Paused says which partitions stand, and why, and
// Consumer.Partitions where each one is.
//
// The first batch of a partition is one record, and each one twice as large as
// the one before, up to MaxPollRecords: a record that kills the process every
// time is soon the only one that is handled again.
//
// A dead letter comes back by [Redrive], or the command redrive, once its cause is
// mended: to the end of the partition where its record stood. It is handled unless
// a marker of its message stands, whatever its age (R7).
//
// # Batches
//
// A [BatchHandler] gets the new records of a partition that one poll brought in one
// call, for sinks that take many rows at once: all are accepted, or none. Their
// decisions are foreseen in offset order, the handler is called, and then the batch
// takes them in. One that fails to its last attempt is halved:
//
//	[a b c d e P g h]  fails, to the last attempt
//	[a b c d]          succeeds: what failed is in the other half
//	[e P]              fails
//	[e]                succeeds
//	[P]                stands alone: attempts, then OnFailure
//	[g h ..]           goes on, with what the poll brought
//
// # Side by side
//
// With Options.Concurrency, records of one partition are handled at the same time,
// for slow calls to other systems: those of one key, and copies of one message, one
// after the other. Decisions are taken in offset order before, the batch is committed
// as a whole when all that were begun are settled, and such handlers have no state
// (ErrNoState). What is handled above a record that is not waits in memory, and is
// not handled again when the partition goes on; a process that dies repeats it.
//
// # When Kafka hears of it
//
// A [CommitStrategy] says when the group's offset follows: after every poll, after
// every record, without waiting, or now and then. It changes nothing of what is
// durable, nor of where this store goes on; it bounds what another instance would
// repeat that takes over without it. When Kafka takes no offsets, a partition goes on
// for MaxUncommitted of them, and then pauses. The last commit, of a Run or of a
// partition that is revoked, has 15 seconds of its own and is made again within them.
//
// # Transactions
//
// With Options.Transactional, steps (2) and (3) are one Kafka transaction: it holds
// the outputs of every durable batch whose outputs Kafka does not have, and for each
// partition the store's position with the tag. A reader with the isolation level
// read_committed sees each output once, together with the others of its batch, and
// in order. The local batch is durable before the transaction begins, so the store
// leads here, too. While more records are there already, the transaction grows by
// them, for a tenth of a second or until half of MaxPending is reached; when there
// are none it is sent at once.
//
//	Kafka          adapter
//	  |      (1)      |  the batches are durable
//	  |<--------------|  outputs
//	  |<--------------|  positions and tags
//	  |      (2)      |
//	  |<--------------|  end: commit
//	  |      (3)      |
//
// What a crash leaves:
//
//	(1) to (2)  the outputs pending, as ever. The next session takes over the ID of
//	            the transaction, which aborts it, and sends them as they were staged.
//	(2) to (3)  the one or the other: the transaction is whole in Kafka, or aborted as
//	            above. Its end is waited for when its ID is taken over, and then the
//	            tag of the group's offset says which batches it held.
//	after (3)   all of it.
//
// The transactional ID is made of the group and the store's ID, so a second process
// with the same store cannot go on beside the first: the one that came later fences
// the other, which ends its session. A transaction that Kafka did not take is
// aborted, and sent again without the partitions whose topic is away; where an
// output is refused for good, those beside it are tried in ever smaller parts until
// it is found. Transactions of brokers older than Kafka 4.0, or whose feature
// transaction.version is below 2, can be torn by Kafka itself when a request is
// late (KIP-890); that is logged when a session begins.
//
// # Where a partition starts
//
// At each assignment a plan compares what the store has with what Kafka says (R11;
// docs/semantics.md has its rows). Most starts change nothing. Where both cannot be
// right, it stops with an error that names both sides, or does what an option says:
//
//	row     error              what happened                             option
//	3       ErrLogReplaced     the log is another one, or shorter
//	5, 7    ErrTag             the offset's tag is damaged, or newer
//	5 - 12  ErrStateElsewhere  the handler's state is in another store   FreshState
//	6       ErrOffsetsLost     Kafka lost an offset that it had taken    OnMissingOffset
//	7       ErrForeignOffset   somebody else moved the group's offset    OnForeignOffset
//	8       ErrCloned          the store is a backup or a copy           store.Adopt
//	last    ErrGap             retention deleted what was not read yet   OnGap
//
// # Restore
//
// A store that comes to a partition without the markers of what was handled before,
// or that lost some, reads them back from the log before the partition flows (R13):
//
//	log     ... | T - W ............ L ............ G | new records
//	              '---- from nothing, no L ---------'
//	                                '-- to fill ----'
//	store         1 position at the first offset, coverage open, a clock of its own
//	              2 read, mark, position: durable batch by batch
//	              3 K and position are G, the clock is T: what is pending is sent,
//	                and the partition flows
//
// T is the clock that went with the group's offset G, W the window. Filling what
// another instance did since this one stood at L is exact. From nothing the records
// of one window are read, and an ID is known whose copies are no more than two in
// two windows; where the log begins later, coverage says from when on, and
// Options.Unknown what becomes of the others. Nothing that retention, compaction, an
// abort or a policy took away is vouched for. A crash in 2 goes on in 2.
//
// It reads beside the group, with a client of its own, up to 12 partitions side by
// side, each a megabyte at a time. Meanwhile the partition is paused
// (ErrRestoring), commits nothing, and the others flow. Options.OnRestore,
// Consumer.Restores and Stats say how far it has come. Options.RestoreFrom reads the
// output of a relay instead, which says of each record where it stood and when it
// was first seen.
//
// State follows where the handler is Options.Pure: it runs again over the same
// records, from L or from offset 0, and its outputs, which Kafka has, are dropped.
//
// An instance that stands by (Options.Standby) does all this while another one has
// the partition, up to each offset that the group commits: a takeover costs what
// came since. Consumer.Standbys says how far it is, and what a takeover would stop
// with.
//
// # Groups
//
// How partitions come to an instance:
//
//	Options.Balancer  who divides them, by which protocol: eager, cooperative
//	                  (KIP-429), or the coordinator itself (KIP-848)
//	static, dynamic   by default the member is static, with the store's ID as its
//	                  instance ID: the instance is its disk. It does not leave the
//	                  group when Run ends; a restart within the session time-out
//	                  finds its partitions without a rebalance. Consumer.Leave says
//	                  that it does not come back. Options.Dynamic leaves each time.
//	Options.Pinned    these partitions, without a group: nothing is fenced, and the
//	                  tag in the group's offset tells of a second instance
//
// Brokers of Kafka 4.0 or later let a group have members of both protocols, and so be
// moved from a classic one to KIP-848, or back, instance by instance; others refuse who
// comes second (ErrConsumeRefused).
//
// A partition that a rebalance takes away is committed first; one that stays flows
// on, unless the balancer is eager. A rebalance waits for the records in hand, not
// for their batch; partitions that are added to a topic are read from their start.
// A process that died without leaving is waited for as long as its session time-out:
// who has no partitions for ten seconds says so in a log line.
//
// A member that Kafka has put out may not have heard of it. So a batch becomes
// durable only when the group has vouched for the member within a second: it is
// asked, which takes a millisecond or two, at most once a second. While the
// coordinator does not answer, its last word counts for half the session time-out.
//
// A handler whose context has ended has five seconds to return. Then it is given
// up: nothing of its batch is ever kept, the session ends, and its partition stands
// with ErrHandlerHangs until it returns, while the others flow. Nothing can stop
// it; a Run that ends over one says so.
//
// # Duplicates
//
// A duplicate is dropped. Options.Observe hands it to the handler instead, as a
// duplicate, to see what would be dropped; Options.DuplicatesTopic keeps a copy
// of each. Both change what is done with a verdict, and no verdict.
//
// # More than one partition
//
// A [Repartition] brings the copies of a message together that stand in different
// partitions or topics:
//
//	topic/0  a b ---.                      .--> between/0  b b   --> b
//	topic/1  b c ---+-- by hash of the ID -+--> between/1  a a c --> a c
//	other/0  a   ---'   all of them        '--> between/2
//
// Its first stage sends every record on, and decides nothing; the second one is an
// ordinary consumer of the topic between. In transactions each copy stands there
// once, whatever crashes; otherwise what is sent again is a duplicate, too. Records
// are handled as they were, but for their place: Topic, Partition and Offset are
// those in the topic between, and so are the origins in headers.
//
// Where an ID belongs depends on the number of partitions, which never changes. That
// of the consumed topics may. Order is kept for the copies of one ID, not between
// messages of one key. Partitions that are read at different times give the topic
// between their records side by side: one that lags behind the others by more than
// the window is Unknown there (late), and accepted unless Options.Unknown says
// otherwise.
//
// # Producing
//
// A Producer sends records at least once under a message ID, and ProducerOptions
// are its settings for any client. Kafka's idempotence covers one client and one
// partition; the ID covers the rest.
//
// # Sessions
//
// The consumer works in sessions: one member of the group with one client. A
// session is crash-only. When the group loses the member, a topic is recreated,
// or an offset is out of range, it ends without a commit, and a new one starts
// from the store after a pause. A broker that is away is waited for. Run ends
// when its context does, and in an error when going on would lose or double
// something, or needs a decision: each names what happened, to what, and the
// way out.
//
// # Limits
//
// State follows a partition to another instance only where the handler is pure. What
// was forgotten comes back with a restore, and so does the marker of a record that
// became a dead letter: a copy of it is then a duplicate. A batch of records that
// unpacks to more than a megabyte is held whole while it is restored. One Consumer
// serves a group best. Copies in different partitions are not seen together, but by
// a Repartition.
package adapter
