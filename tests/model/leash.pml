/*
 * The rules of the leash (R0-R8, R13 with R0a, R3a, R5a) as a model for spin: three replicas and etcd. spin visits every
 * state that the bounds below allow, and every assert holds in each of them, or `make check-model` fails.
 *
 * It is a second telling of the rules, shorter than src/replica and without its clocks: whatever a clock could decide
 * (to suspect, to give a member up, to try again) may happen here at any moment. The names are those of src/replica.
 *
 * What is checked
 *   - no missing data: a primary has every record that was acknowledged in its epoch or an earlier one (become_primary)
 *   - one order: two primaries never acknowledge different records at one position (commit_next)
 *   - in one epoch one process acts, so one acknowledges (become_primary)
 *   - acknowledged means: on the disk of every member of the in-sync set, at least min_insync (commit_next)
 *   - readers see only what is acknowledged (hear_commit), and it is never cut off behind their back (cut_behind)
 *
 * What made it small
 *   - A log is one number, four bits a record: the epoch in which it was appended. Since an epoch has one owner that
 *     writes each position once, epoch and position name a record.
 *   - Messages. Everything that a primary sends in its epoch shows its log at some moment, and it only grows: what was
 *     sent in epoch e is a prefix of lead_log[e]. It stays there when the sender has died, moved on or cut its log, and
 *     a follower may take from it at any time, or never: that is delay, loss, doubling and reorder in one. Connections
 *     are not told apart. Acknowledgements add up, so the highest one sent stands for all (.ack0 and so on); the
 *     primary may use it at any time later, also when the follower has gone elsewhere.
 *   - Mod revisions are only ever compared with etcd's present ones and never come back, so one bit is enough: still
 *     the same (.fresh, .lmod, .imod). No counter limits how often the in-sync set changes.
 *   - A transaction takes effect at any time while its guards hold, whether its sender still lives or not. Whether and
 *     when the sender hears of it is a step of its own (hear_answer, look).
 *   - A crash includes the next start: a node that is down is one that makes no step.
 *
 * MUT_* break one rule each and must be caught; PROBE_* assert that something never happens which must happen, so that
 * what is checked above is not checked in a desert. Each has a file here, NAME.model, with the bounds of its search.
 */

/* ---------------------------------------------------------------------------------------------------------- bounds */

#define NODES 3
#ifndef EPOCHS
#define EPOCHS 3 /* at most 3 */
#endif
#ifndef RECORDS
#define RECORDS 2 /* positions of the log, at most 3 */
#endif
#ifndef MIN_INSYNC
#define MIN_INSYNC 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef DISK_LOSSES
#define DISK_LOSSES 0 /* a crash after which the data directory is empty; counted in CRASHES, too; at most 1 */
#endif
#ifndef EXPIRIES
#define EXPIRIES 1 /* times that etcd drops the leader key because a lease ended */
#endif
#ifndef TXNS
#define TXNS 1 /* transactions in flight; see "transactions" below for why one is enough */
#endif

/* ------------------------------------------------------------------------------------------------- logs and members */

/* Records of a log are numbered from 1; 0 is no record. Bit 3 tells the records of two lives in one epoch apart, which
 * nobody can see but the asserts: histories compare epochs (R6). Only mutations have use for it. */
#define REC(log, s)      (((log) >> (4 * ((s) - 1))) & 15)
#define EPOCH_OF(rec)    ((rec) & 7)
#define LEN(log)         ((log) == 0 -> 0 : ((log) < 16 -> 1 : ((log) < 256 -> 2 : 3)))
#define CUT(log, s)      ((log) & ((1 << (4 * (s))) - 1))
#define PUT(log, s, rec) ((log) | ((rec) << (4 * ((s) - 1))))
#define MIN(a, b)        ((a) < (b) -> (a) : (b))
#define MAX(a, b)        ((a) > (b) -> (a) : (b))

/* R6: how far two logs agree: the last position at which both hold a record of the same epoch (history_match()). */
#define AGREE(a, b, s) (REC(a, s) != 0 && EPOCH_OF(REC(a, s)) == EPOCH_OF(REC(b, s)))
#define MATCH(a, b)    (AGREE(a, b, 3) -> 3 : (AGREE(a, b, 2) -> 2 : (AGREE(a, b, 1) -> 1 : 0)))

/* A member is (node, incarnation), one bit: a node that lost its disk is somebody else (R2). A set is a number. */
#define ID(n)     (1 << ((n) + NODES * r[n].incarnation))
#define ID_ANY(n) (9 << (n)) /* the node in whatever incarnation */
#define BIT(x, i) (((x) >> (i)) & 1)
#define SIZE(set) (BIT(set, 0) + BIT(set, 1) + BIT(set, 2) + BIT(set, 3) + BIT(set, 4) + BIT(set, 5))

/* ----------------------------------------------------------------------------------------------------------- state */

#define SECONDARY 0
#define WINNER    1 /* etcd gave it an epoch; the answer is on its way, or the promise to the disk; follows until then */
#define PRIMARY   2

typedef replica {
	/* on disk */
	unsigned promise : 3;     /* R4: the highest epoch promised */
	unsigned incarnation : 1;
	short log;
	unsigned durable : 2;     /* of the log, this much is; the rest is written but not synced */

	/* in the process */
	unsigned role : 2;
	unsigned won : 3;         /* WINNER: of which epoch */
	bool joined;              /* follows the primary of the epoch it has promised */
	unsigned matched : 2;     /* so far its log matches the primary's in this epoch and this process life */
	unsigned commit : 2;      /* readers here have seen this much, clients (of a primary) were answered */

	/* WINNER and PRIMARY */
	unsigned insync : 6;      /* I as it knows it */
	bool fresh;               /* the mod revisions it knows are still etcd's */
	/* PRIMARY; its epoch is .promise */
	unsigned pending : 6;     /* the set proposed and not known to have failed (R0a); 0 = none */
	unsigned took : 6;        /* the answer on its way: this set took effect; 0 = no such answer */
	unsigned required : 6;    /* R8: whom commits wait for before it is proposed; 0 or one member */
	unsigned join_end : 2;    /* log end when it became required */
	unsigned met : 6;         /* who said JOINED in this epoch, in the incarnation last heard */
	unsigned ack0 : 2;        /* highest acknowledgement sent to it in its epoch, by node */
	unsigned ack1 : 2;
	unsigned ack2 : 2
};

replica r[NODES];

#define ACK(p, f)       ((f) == 0 -> r[p].ack0 : ((f) == 1 -> r[p].ack1 : r[p].ack2))
#define SELF_INSYNC(n, set) (((set) & ID(n)) != 0)

/* etcd. `leader` names the last one also when the key is gone. The epochs of the two keys are always the same. */
bool leader_present;
byte leader;
byte insync = 7;  /* founded by all three, and nobody leads yet (R9) */
byte epoch;

#define NONE     0
#define CHANGE   1 /* of the set by its primary, or a rewrite of its own value that ends an unknown one (R0a) */
#define TAKEOVER 2
#define CONFIRM  3 /* the leader key put back in the same epoch (R3a) */
#define HANDOVER 4

typedef transaction {
	unsigned kind : 3;
	unsigned who : 2;   /* whom `leader` will name; CHANGE: who asks */
	bool alive;         /* that node is still in the process life that is meant */
	unsigned epoch : 3;
	unsigned set : 6;
	bool lmod, imod     /* `leader` and `insync` still have the mod revisions compared */
};

transaction txn[TXNS];

/* The network: what the owner of each epoch has sent. Index 0 is not used. */
short lead_log[EPOCHS + 1];
byte lead_commit[EPOCHS + 1];
byte owner[EPOCHS + 1];   /* node + 1; 0 = nobody has acted in this epoch yet */

/* What clients know. Nothing below decides anything. */
short acked_log;               /* acknowledged records */
byte acked_epoch[RECORDS + 1]; /* in which epoch each of them was acknowledged first */

byte crashes, disk_losses, expiries;

hidden byte i, j, s, u, asked, waits;

/* -------------------------------------------------------------------------------------------------- the mutations */

/* R0: every transaction compares the mod revisions of both keys. */
#if defined(MUT_TAKEOVER_NOT_GUARDED_BY_INSYNC)
#define GUARDS_HOLD(t) (txn[t].lmod && (txn[t].imod || txn[t].kind == TAKEOVER))
#elif defined(MUT_GUARD_BY_CREATE_REVISION)
#define GUARDS_HOLD(t) (txn[t].lmod)
#else
#define GUARDS_HOLD(t) (txn[t].lmod && txn[t].imod)
#endif

/* R1: durable, on one's own disk and on a follower's. */
#ifdef MUT_FSYNC_SKIPPED
#define ON_DISK(n) LEN(r[n].log)
#else
#define ON_DISK(n) r[n].durable
#endif

/* R1: the maximal set. */
#if defined(MUT_OWN_DISK_ENOUGH)
#define MAXIMAL_SET(p) ID(p)
#elif defined(MUT_COMMIT_WITHOUT_MAXIMAL_SET)
#define MAXIMAL_SET(p) (r[p].insync)
#elif defined(MUT_ADD_BEFORE_REQUIRED)
#define MAXIMAL_SET(p) (r[p].insync)
#elif defined(MUT_REMOVED_BEFORE_ANSWER)
#define MAXIMAL_SET(p) ((r[p].pending -> r[p].pending : r[p].insync) | r[p].required)
#else
#define MAXIMAL_SET(p) (r[p].insync | r[p].pending | r[p].required)
#endif

/* R1, R2: who a member is. */
#ifdef MUT_INCARNATION_IGNORED
#define HAS_MET(p, f, set)  ((r[p].met & ID_ANY(f)) != 0)
#define ELIGIBLE(n, set)    (((set) & ID_ANY(n)) != 0)
#elif defined(MUT_CANDIDATE_NOT_A_MEMBER)
#define HAS_MET(p, f, set)  (((set) & ID_ANY(f) & ~r[p].met) == 0)
#define ELIGIBLE(n, set)    (true)
#else
#define HAS_MET(p, f, set)  (((set) & ID_ANY(f) & ~r[p].met) == 0)
#define ELIGIBLE(n, set)    SELF_INSYNC(n, set)
#endif

/* R3a */
#ifdef MUT_EPOCH_OUTLIVES_PROCESS
#define LIFE_BIT (crashes -> 8 : 0)
#else
#define LIFE_BIT 0
#endif

/* R13 */
#ifdef MUT_HANDOVER_KEEPS_EPOCH
#define HANDOVER_EPOCH(p)   r[p].promise
#define IS_NEW_EPOCH(n, e)  ((e) >= r[n].promise)
#else
#define HANDOVER_EPOCH(p)   (r[p].promise + 1)
#define IS_NEW_EPOCH(n, e)  ((e) > r[n].promise)
#endif

/* What must happen somewhere: each of these asserts fails, or the model does not get there. */
#ifdef PROBE_CUT_THEN_COMMIT
bool seen;
#define PROBE_AT_CUT        seen = true
#define PROBE_AT_COMMIT(p)  assert(!(seen && r[p].promise > 1))
#elif defined(PROBE_HANDOVER_THEN_COMMIT)
bool seen;
#define PROBE_AT_APPLY      seen = seen || (asked == HANDOVER && waits)
#define PROBE_AT_COMMIT(p)  assert(!(seen && r[p].promise > 1))
#elif defined(PROBE_LAST_EPOCH_COMMITS)
#define PROBE_AT_COMMIT(p)  assert(r[p].promise < EPOCHS)
#elif defined(PROBE_DEPOSED_COMMITS)
#define PROBE_AT_COMMIT(p)  assert(r[p].promise == epoch)
#elif defined(PROBE_NEW_INCARNATION_COMMITS)
#define PROBE_AT_COMMIT(p)  assert(r[p].insync < 8)
#elif defined(PROBE_MEMBER_ADDED)
#define PROBE_AT_ANSWER(p)  assert((r[p].took & ~r[p].insync) == 0)
#elif defined(PROBE_KEY_PUT_BACK)
#define PROBE_AT_APPLY      assert(!(asked == CONFIRM && waits))
#elif defined(PROBE_DEAD_TAKES_OVER)
#define PROBE_AT_APPLY      assert(!(asked == TAKEOVER && !waits))
#elif defined(PROBE_DEAD_CHANGES_SET)
#define PROBE_AT_APPLY      assert(!(asked == CHANGE && !waits))
#elif defined(PROBE_WINNER_ACTS_LATE)
#define PROBE_AT_ACTING(n)  assert(r[n].promise == epoch)
#endif
#ifndef PROBE_AT_CUT
#define PROBE_AT_CUT        skip
#endif
#ifndef PROBE_AT_COMMIT
#define PROBE_AT_COMMIT(p)  skip
#endif
#ifndef PROBE_AT_ANSWER
#define PROBE_AT_ANSWER(p)  skip
#endif
#ifndef PROBE_AT_APPLY
#define PROBE_AT_APPLY      skip
#endif
#ifndef PROBE_AT_ACTING
#define PROBE_AT_ACTING(n)  skip
#endif

/* -------------------------------------------------------------------------------------------------------- invariants */

/* Everything that clients were told in epoch e or before. */
inline assert_nothing_missing(n, e)
{
	for (i : 1 .. RECORDS) {
		assert(acked_epoch[i] == 0 || acked_epoch[i] > e || REC(r[n].log, i) == REC(acked_log, i))
	}
}

inline assert_shown_is_acked(n)
{
	assert(CUT(r[n].log, r[n].commit) == CUT(acked_log, r[n].commit))
}

/* R1 as seen from outside: the members that still have the disk with which they were members. */
inline assert_on_disk_of_members(p, q)
{
	assert(SIZE(r[p].insync) >= MIN_INSYNC);
	for (i : 0 .. NODES - 1) {
		assert(!SELF_INSYNC(i, r[p].insync) || (r[i].durable >= q && REC(r[i].log, q) == REC(r[p].log, q)))
	}
}

/* ------------------------------------------------------------------------------------------------------------ helpers */

inline forget_lead(n)
{
	r[n].role = SECONDARY;
	r[n].won = 0;
	r[n].insync = 0;
	r[n].fresh = false;
	r[n].pending = 0;
	r[n].took = 0;
	r[n].required = 0;
	r[n].join_end = 0;
	r[n].met = 0;
	r[n].ack0 = 0;
	r[n].ack1 = 0;
	r[n].ack2 = 0
}

inline put_ack(p, f, a)
{
	if
	:: (f) == 0 -> r[p].ack0 = a
	:: (f) == 1 -> r[p].ack1 = a
	:: else -> r[p].ack2 = a
	fi
}

/* What n has on disk and in common with its primary, said to it with the epoch and the incarnation. */
inline send_ack(n)
{
	if
	:: r[n].joined && owner[r[n].promise] ->
		j = owner[r[n].promise] - 1;
		if
		:: r[j].role == PRIMARY && r[j].promise == r[n].promise && (r[j].met & ID(n)) ->
			u = MIN(ON_DISK(n), r[n].matched);
			put_ack(j, n, u)
		:: else
		fi
	:: else
	fi
}

/* R5a: no more than the primary committed, and no more than what matched it in this epoch and this process life. */
#ifdef MUT_READERS_SEE_UNMATCHED
#define READABLE(n) MIN(lead_commit[r[n].promise], LEN(r[n].log))
#else
#define READABLE(n) MIN(lead_commit[r[n].promise], r[n].matched)
#endif

/* It hears of a commit index as soon as one was sent: the most that readers can have seen. */
inline hear_commit(n)
{
	if
	:: r[n].joined && r[n].commit < READABLE(n) ->
		r[n].commit = READABLE(n);
		assert_shown_is_acked(n)
	:: else
	fi
}

#define OLDER_WINNER(n, e) (r[n].role == WINNER && r[n].won < (e))

/*
 * What nobody can hear any more is forgotten, or equal futures would be told apart: everybody has promised more. And
 * the epoch in which a record was acknowledged matters only while a winner of an older one has not acted yet.
 */
inline tidy()
{
	for (i : 1 .. RECORDS) {
		if
		:: acked_epoch[i] > 1 && !OLDER_WINNER(0, acked_epoch[i]) && !OLDER_WINNER(1, acked_epoch[i]) &&
		   !OLDER_WINNER(2, acked_epoch[i]) -> acked_epoch[i] = 1
		:: else
		fi
	}
	for (i : 1 .. EPOCHS) {
		if
		:: owner[i] && r[0].promise > i && r[1].promise > i && r[2].promise > i ->
			lead_log[i] = 0;
			lead_commit[i] = 0;
			owner[i] = 0
		:: else
		fi
	}
}

/* --------------------------------------------------------------------------------------------- the life of a follower */

/* Unsynced is what a crash can take away. When no more are to come, a sync is over at once: later only means that the
 * acknowledgement arrives later, and so it may anyway. */
inline written(n)
{
	if
	:: crashes == CRASHES -> r[n].durable = LEN(r[n].log)
	:: else
	fi
}

/* R6: the primary has a record of another epoch right behind q. */
inline cut_behind(n, q)
{
	PROBE_AT_CUT;
	assert(r[n].commit <= q); /* what readers saw is never cut */
	r[n].log = CUT(r[n].log, q);
	r[n].durable = MIN(r[n].durable, q)
}

/*
 * LEAD of epoch e: the promise goes to disk (R4), the histories are compared, what conflicts is cut (R6), JOINED is
 * answered. q: how much of the primary's log it shows; LEAD may be older than what has been sent since.
 */
#ifdef MUT_CUT_TO_LEAD_END
#define FOLLOWS_ALREADY(n, e) false /* an older connection speaks up */
#define CONFLICTS(n, e, q)    (s < LEN(r[n].log))
#else
#define FOLLOWS_ALREADY(n, e) (r[n].joined && r[n].promise == (e))
#define CONFLICTS(n, e, q)    (s < LEN(r[n].log) && s < (q))
#endif
#define CAN_JOIN(n, e, q) \
	(owner[e] && owner[e] != (n) + 1 && (e) >= r[n].promise && !FOLLOWS_ALREADY(n, e) && \
	 !(r[n].role == PRIMARY && r[n].promise == (e)) && (q) <= LEN(lead_log[e]))

inline join(n, e, q)
{
	if
	:: r[n].role == PRIMARY || (r[n].role == WINNER && r[n].won <= e) -> forget_lead(n) /* R5 */
	:: else
	fi;
	r[n].promise = e;
#ifdef MUT_TRUNCATE_BY_COMMIT_INDEX
	s = MIN(r[n].commit, LEN(r[n].log));
	cut_behind(n, s);
#endif
	s = MATCH(r[n].log, CUT(lead_log[e], q));
	if
	:: CONFLICTS(n, e, q) -> cut_behind(n, s)
	:: else /* a merely longer log stays, unacknowledged */
	fi;
	r[n].joined = true;
	r[n].matched = s;
	j = owner[e] - 1;
	if
	:: r[j].role == PRIMARY && r[j].promise == e ->
		r[j].met = (r[j].met & ~ID_ANY(n)) | ID(n);
		put_ack(j, n, 0)
	:: else
	fi;
	send_ack(n);
	hear_commit(n);
	tidy()
}

/* RECORDS of epoch e, which is the one that it follows (R5). */
#ifdef MUT_EPOCH_NOT_CHECKED_ON_APPEND
#define MAY_TAKE_FROM(n, e) (r[n].joined && r[n].role != PRIMARY)
#else
#define MAY_TAKE_FROM(n, e) (r[n].joined && r[n].role != PRIMARY && r[n].promise == (e))
#endif
#define CAN_TAKE(n, e) (MAY_TAKE_FROM(n, e) && r[n].matched < LEN(lead_log[e]))

inline take_record(n, e)
{
	s = r[n].matched + 1;
	if
	:: s > LEN(r[n].log) ->
		r[n].log = PUT(r[n].log, s, REC(lead_log[e], s));
		written(n);
		r[n].matched = s
	:: s <= LEN(r[n].log) && AGREE(r[n].log, lead_log[e], s) ->
		r[n].matched = s
	:: else ->
		cut_behind(n, s - 1)
	fi;
	send_ack(n);
	hear_commit(n)
}

#define CAN_SYNC(n) (r[n].durable < LEN(r[n].log))

inline sync(n)
{
	r[n].durable = LEN(r[n].log);
	send_ack(n)
}

/* ---------------------------------------------------------------------------------------------- the life of a primary */

/* R4: etcd said yes, the promise is on disk, now it acts. It keeps its whole log (R6). */
inline become_primary(n)
{
	r[n].promise = r[n].won;
	r[n].won = 0;
	r[n].role = PRIMARY;
	r[n].joined = false;
	r[n].matched = 0;
	u = r[n].promise;
	assert(owner[u] == 0); /* in one epoch one process acts */
	owner[u] = n + 1;
	lead_log[u] = r[n].log;
	lead_commit[u] = r[n].commit;
	assert_nothing_missing(n, u);
	PROBE_AT_ACTING(n);
	tidy()
}

#define CAN_APPEND(p) (r[p].role == PRIMARY && LEN(r[p].log) < RECORDS)

/* The record goes to the followers at once, before it is on the primary's own disk. */
inline append(p)
{
	r[p].log = PUT(r[p].log, LEN(r[p].log) + 1, r[p].promise | LIFE_BIT);
	lead_log[r[p].promise] = r[p].log;
	written(p)
}

/* R1: every member of the maximal set has it durable, acknowledged with this epoch and its incarnation. */
#define HAS(p, f, q) \
	((MAXIMAL_SET(p) & ID_ANY(f)) == 0 || (HAS_MET(p, f, MAXIMAL_SET(p)) && ACK(p, f) >= (q)))
#define CAN_COMMIT(p, f, g) \
	(r[p].role == PRIMARY && ON_DISK(p) > r[p].commit && SIZE(r[p].insync) >= MIN_INSYNC && \
	 (MAXIMAL_SET(p) & ID_ANY(p) & ~ID(p)) == 0 && HAS(p, f, r[p].commit + 1) && HAS(p, g, r[p].commit + 1))

inline commit_next(p)
{
	s = r[p].commit + 1;
	u = r[p].promise;
	r[p].commit = s;
	lead_commit[u] = s;
	if
	:: s > LEN(acked_log) ->
		acked_log = PUT(acked_log, s, REC(r[p].log, s));
		acked_epoch[s] = u
	:: else ->
		assert(REC(acked_log, s) == REC(r[p].log, s)) /* one order */
	fi;
	assert_on_disk_of_members(p, s);
	PROBE_AT_COMMIT(p);
	for (j : 0 .. NODES - 1) {
		if
		:: r[j].joined && r[j].promise == r[p].promise -> hear_commit(j)
		:: else
		fi
	}
	tidy()
}

/* R8: required first. (That it is given up again need not be shown: whoever was never required got as far.) */
#define CAN_REQUIRE(p, f) \
	(r[p].role == PRIMARY && r[p].required == 0 && (r[p].met & ID_ANY(f)) && \
	 (r[p].met & ID_ANY(f) & r[p].insync) == 0)

inline require(p, f)
{
	r[p].required = r[p].met & ID_ANY(f);
#ifdef MUT_CAUGHT_UP_TO_COMMIT_INDEX
	r[p].join_end = r[p].commit
#else
	r[p].join_end = LEN(r[p].log)
#endif
}

/* -------------------------------------------------------------------------------------------------------- transactions */

/*
 * The guards are compared with what etcd has now, so whoever knows something older need not ask, and of all those that
 * are in flight at one time at most one takes effect, for it changes the guards of all others. So one place is enough.
 * And while its sender lives, nothing is gained by sending it long before it takes effect; so with TXNS == 1 only the
 * transactions of the dead are in flight between steps. With TXNS == 2, which is for mutations that spoil the guards,
 * all are.
 */
#if TXNS > 1
#define FREE_SLOT     (txn[0].kind == NONE -> 0 : 1)
#define HAS_FREE_SLOT (txn[0].kind == NONE || txn[1].kind == NONE)
#define effect(t)     skip
#else
#define FREE_SLOT     0
#define HAS_FREE_SLOT true
#define effect(t)     apply(t)
#endif

inline send_txn(k, w, a, e, m)
{
	u = FREE_SLOT;
	txn[u].kind = k;
	txn[u].who = w;
	txn[u].alive = a;
	txn[u].epoch = e;
	txn[u].set = m;
	txn[u].lmod = true;
	txn[u].imod = true
}

inline clear_txn(t)
{
	txn[t].kind = NONE;
	txn[t].who = 0;
	txn[t].alive = false;
	txn[t].epoch = 0;
	txn[t].set = 0;
	txn[t].lmod = false;
	txn[t].imod = false
}

/* Keys got another mod revision: what was known of them is old, and whose guards they were can never succeed. */
inline revisions_change(of_leader, of_insync)
{
	for (i : 0 .. NODES - 1) {
		r[i].fresh = false
	}
	for (i : 0 .. TXNS - 1) {
		txn[i].lmod = txn[i].lmod && !(of_leader);
		txn[i].imod = txn[i].imod && !(of_insync);
		if
		:: txn[i].kind && !GUARDS_HOLD(i) -> clear_txn(i)
		:: else
		fi
	}
}

#ifdef MUT_GUARD_BY_CREATE_REVISION
#define LEADER_REVISION_CHANGES(k) ((k) != CHANGE && !leader_present)
#else
#define LEADER_REVISION_CHANGES(k) ((k) != CHANGE)
#endif

#define CAN_APPLY(t) (txn[t].kind != NONE && GUARDS_HOLD(t))

/* The transaction takes effect: early, late, or long after its sender has died. */
inline apply(t)
{
	asked = txn[t].kind;
	u = txn[t].who;
	waits = txn[t].alive;
	epoch = txn[t].epoch;
	insync = txn[t].set;
	clear_txn(t);
	revisions_change(LEADER_REVISION_CHANGES(asked), true);
	PROBE_AT_APPLY;
	if
	:: asked != CHANGE ->
		leader = u;
		leader_present = true
	:: else
	fi;
	if
	:: waits && (asked == CHANGE || asked == CONFIRM) && r[u].role == PRIMARY && r[u].promise == epoch ->
		r[u].took = insync;
		r[u].fresh = true
	:: waits && (asked == TAKEOVER || asked == HANDOVER) && r[u].role != PRIMARY && IS_NEW_EPOCH(u, epoch) ->
		r[u].role = WINNER;
		r[u].won = epoch;
		r[u].insync = insync;
		r[u].fresh = true
	:: else /* nobody waits for the answer; and an epoch belongs to one process life (R3a) */
	fi;
	tidy()
}

/* R10: when it looks, it sees that another leads, or that the key it was given is gone. */
#define DEPOSED(n) (!r[n].fresh && (r[n].role == WINNER || epoch > r[n].promise))
/* R2, R3: at any time, by any member; above every epoch seen; the old primary may be left out if enough are left. The
 * nodes are alike: let the first primary be the first of them. */
#define CAN_TAKE_OVER(n) \
	((r[n].role == SECONDARY || DEPOSED(n)) && ELIGIBLE(n, insync) && MAX(epoch, r[n].promise) < EPOCHS && HAS_FREE_SLOT && \
	 (epoch != 0 || (n) == 0))
#define WITHOUT_LEADER (insync & ~ID_ANY(leader))
#define CAN_LEAVE_OUT_LEADER(n) \
	(leader != (n) && WITHOUT_LEADER != insync && SIZE(WITHOUT_LEADER) >= MIN_INSYNC)

inline ask_takeover(n, m)
{
	forget_lead(n);
	s = MAX(epoch, r[n].promise) + 1;
	send_txn(TAKEOVER, n, true, s, m)
}

/* One unresolved change at a time (R0a), guarded by what this primary knows. */
#define CAN_PROPOSE(p) (r[p].role == PRIMARY && r[p].fresh && r[p].pending == 0)

inline propose(p, value)
{
	r[p].pending = value
}

/* R8: caught up means everything up to the log end at the moment it became required. */
#ifdef MUT_ADD_BEFORE_REQUIRED
#define NEW_ID(p, f) (r[p].met & ID_ANY(f) & ~r[p].insync)
#define READY(p, f)  (NEW_ID(p, f) && ACK(p, f) == LEN(r[p].log))
#else
#define NEW_ID(p, f) (r[p].required & r[p].met & ID_ANY(f))
#define READY(p, f)  (NEW_ID(p, f) && ACK(p, f) >= r[p].join_end)
#endif
#define CAN_ADD(p, f) (CAN_PROPOSE(p) && READY(p, f))

/* R7: never below min_insync. `what` is the node, or one of its incarnations. */
#define CAN_REMOVE(p, what) \
	(CAN_PROPOSE(p) && (r[p].insync & (what)) && SIZE(r[p].insync & ~(what)) >= MIN_INSYNC)
#define FORMER(p, f) (ID_ANY(f) & ~r[p].met)

/* One for another, in one transaction. */
#define CAN_SWAP(p, f, what)  (CAN_ADD(p, f) && (r[p].insync & (what)))
#define SWAPPED(p, f, what)   ((r[p].insync & ~(what)) | NEW_ID(p, f))

/* Sent, or sent again with the same guards and the same value, as long as no answer is there (R0a). With no leader key
 * it is put back by the same transaction (R3a). */
#define CAN_SEND(p) \
	(r[p].role == PRIMARY && r[p].fresh && r[p].pending != 0 && r[p].took == 0 && HAS_FREE_SLOT)

inline send(p)
{
	asked = (leader_present -> CHANGE : CONFIRM);
	send_txn(asked, p, true, r[p].promise, r[p].pending)
}

/* R13: a takeover on the successor's behalf. Until the outcome is known the primary goes on; what it may send
 * meanwhile is a rewrite of the set's own value, which ends the attempt (R0a). */
#define CAN_HAND_OVER(p, f) \
	(CAN_PROPOSE(p) && leader_present && (r[p].met & r[p].insync & ID_ANY(f)) && \
	 ACK(p, f) == LEN(r[p].log) && HANDOVER_EPOCH(p) <= EPOCHS && HAS_FREE_SLOT)

#define CAN_LEAVE(p) (SIZE(r[p].insync & ~ID_ANY(p)) >= MIN_INSYNC)

inline ask_handover(p, f, m)
{
	waits = r[f].joined && r[f].promise == r[p].promise; /* else the run id it said is of a former life */
	send_txn(HANDOVER, f, waits, HANDOVER_EPOCH(p), m);
	r[p].pending = r[p].insync
}

/* The answer to its own change arrives; etcd may have moved on long since. */
#define CAN_HEAR_ANSWER(p) (r[p].took != 0)

inline hear_answer(p)
{
	PROBE_AT_ANSWER(p);
	r[p].insync = r[p].took;
	r[p].pending = 0;
	r[p].took = 0;
	if
	:: r[p].required & r[p].insync -> /* the set itself requires it */
		r[p].required = 0;
		r[p].join_end = 0
	:: else
	fi
}

/* It sees etcd's present state, in which a guard of whatever it had proposed has changed: that is over (R0a). */
#define CAN_LOOK(p) (r[p].role == PRIMARY && !r[p].fresh && epoch == r[p].promise)

inline look(p)
{
	r[p].fresh = true;
	r[p].took = insync;
	hear_answer(p)
}

/* ------------------------------------------------------------------------------------------------------------- faults */

/* The process ends and starts again. Of what was not synced, a part may be there all the same. */
#define CAN_CRASH(n, kept) (crashes < CRASHES && r[n].durable + (kept) <= LEN(r[n].log))

inline crash(n, kept)
{
	crashes++;
	r[n].log = CUT(r[n].log, r[n].durable + (kept));
	r[n].durable = LEN(r[n].log);
	forget_lead(n);
	r[n].joined = false;
	r[n].matched = 0;
	r[n].commit = 0;
#ifdef MUT_PROMISE_NOT_ON_DISK
	r[n].promise = 0;
#endif
	for (i : 0 .. TXNS - 1) {
		txn[i].alive = txn[i].alive && txn[i].who != n
	}
	for (i : 0 .. NODES - 1) {
		written(i);
		send_ack(i)
	}
	tidy()
}

#define CAN_LOSE_DISK(n) (CAN_CRASH(n, 0) && disk_losses < DISK_LOSSES && r[n].incarnation == 0)

inline lose_disk(n)
{
	disk_losses++;
	crash(n, 0);
	r[n].log = 0;
	r[n].durable = 0;
	r[n].promise = 0;
	r[n].incarnation = 1
}

#ifdef MUT_EPOCH_OUTLIVES_PROCESS
/* It finds itself in `leader` under its former life's run id, and goes on. */
#define CAN_RESUME(n) (r[n].role == SECONDARY && leader_present && leader == (n) && epoch == r[n].promise)

inline resume(n)
{
	r[n].role = PRIMARY;
	r[n].joined = false;
	r[n].matched = 0;
	r[n].insync = insync;
	r[n].fresh = true;
	lead_log[epoch] = r[n].log;
	for (i : 0 .. NODES - 1) {
		r[i].joined = r[i].joined && r[i].promise != epoch
	}
}
#endif

/* ----------------------------------------------------------------------------------------------------- who does what */

#define JOIN_SHOWING(e, q) :: d_step { CAN_JOIN(_pid, e, q) -> join(_pid, e, q); skip }
#if RECORDS == 1
#define JOIN(e) JOIN_SHOWING(e, 0) JOIN_SHOWING(e, 1)
#elif RECORDS == 2
#define JOIN(e) JOIN_SHOWING(e, 0) JOIN_SHOWING(e, 1) JOIN_SHOWING(e, 2)
#else
#define JOIN(e) JOIN_SHOWING(e, 0) JOIN_SHOWING(e, 1) JOIN_SHOWING(e, 2) JOIN_SHOWING(e, 3)
#endif

/* A crash, at once after a transaction was sent or without one; `kept` is what the disk got though it was not synced. */
#define CRASH_KEEPING(kept, can, ask) :: d_step { CAN_CRASH(_pid, kept) && (can) -> ask; crash(_pid, kept); skip }
#if RECORDS == 1
#define CRASH(can, ask) CRASH_KEEPING(0, can, ask) CRASH_KEEPING(1, can, ask)
#elif RECORDS == 2
#define CRASH(can, ask) CRASH_KEEPING(0, can, ask) CRASH_KEEPING(1, can, ask) CRASH_KEEPING(2, can, ask)
#else
#define CRASH(can, ask) CRASH_KEEPING(0, can, ask) CRASH_KEEPING(1, can, ask) CRASH_KEEPING(2, can, ask) \
	CRASH_KEEPING(3, can, ask)
#endif

#define F ((_pid + 1) % NODES)
#define G ((_pid + 2) % NODES)

active [NODES] proctype replica_process()
{
	do
	/* follower */
	JOIN(1)
	JOIN(2)
#if EPOCHS > 2
	JOIN(3)
#endif
#ifdef MUT_EPOCH_NOT_CHECKED_ON_APPEND
	:: d_step { CAN_TAKE(_pid, 1) -> take_record(_pid, 1); skip }
	:: d_step { CAN_TAKE(_pid, 2) -> take_record(_pid, 2); skip }
#else
	:: d_step { CAN_TAKE(_pid, r[_pid].promise) -> take_record(_pid, r[_pid].promise); skip }
#endif
	:: d_step { CAN_SYNC(_pid) -> sync(_pid); skip }
	/* candidate */
	:: d_step { CAN_TAKE_OVER(_pid) -> ask_takeover(_pid, insync); effect(0); skip }
	:: d_step { CAN_TAKE_OVER(_pid) && CAN_LEAVE_OUT_LEADER(_pid) -> ask_takeover(_pid, WITHOUT_LEADER); effect(0); skip }
	:: d_step { CAN_LOOK(_pid) -> look(_pid); skip }
	/* primary */
	:: d_step { r[_pid].role == WINNER && IS_NEW_EPOCH(_pid, r[_pid].won) -> become_primary(_pid); skip }
#ifdef MUT_EPOCH_OUTLIVES_PROCESS
	:: d_step { CAN_RESUME(_pid) -> resume(_pid); skip }
#endif
	:: d_step { CAN_APPEND(_pid) -> append(_pid); skip }
	:: d_step { CAN_COMMIT(_pid, F, G) -> commit_next(_pid); skip }
	:: d_step { CAN_REQUIRE(_pid, F) -> require(_pid, F); skip }
	:: d_step { CAN_REQUIRE(_pid, G) -> require(_pid, G); skip }
	:: d_step { CAN_ADD(_pid, F) -> propose(_pid, r[_pid].insync | NEW_ID(_pid, F)); skip }
	:: d_step { CAN_ADD(_pid, G) -> propose(_pid, r[_pid].insync | NEW_ID(_pid, G)); skip }
	:: d_step { CAN_REMOVE(_pid, ID_ANY(F)) -> propose(_pid, r[_pid].insync & ~ID_ANY(F)); skip }
	:: d_step { CAN_REMOVE(_pid, ID_ANY(G)) -> propose(_pid, r[_pid].insync & ~ID_ANY(G)); skip }
	:: d_step { CAN_SWAP(_pid, F, ID_ANY(G)) -> propose(_pid, SWAPPED(_pid, F, ID_ANY(G))); skip }
	:: d_step { CAN_SWAP(_pid, G, ID_ANY(F)) -> propose(_pid, SWAPPED(_pid, G, ID_ANY(F))); skip }
#if DISK_LOSSES > 0
	:: d_step { CAN_REMOVE(_pid, FORMER(_pid, F)) -> propose(_pid, r[_pid].insync & ~FORMER(_pid, F)); skip }
	:: d_step { CAN_REMOVE(_pid, FORMER(_pid, G)) -> propose(_pid, r[_pid].insync & ~FORMER(_pid, G)); skip }
	:: d_step { CAN_SWAP(_pid, F, FORMER(_pid, F)) -> propose(_pid, SWAPPED(_pid, F, FORMER(_pid, F))); skip }
	:: d_step { CAN_SWAP(_pid, G, FORMER(_pid, G)) -> propose(_pid, SWAPPED(_pid, G, FORMER(_pid, G))); skip }
#endif
	:: d_step { CAN_PROPOSE(_pid) && !leader_present -> propose(_pid, r[_pid].insync); skip }
	:: d_step { CAN_SEND(_pid) -> send(_pid); effect(0); skip }
	:: d_step { CAN_HEAR_ANSWER(_pid) -> hear_answer(_pid); skip }
#ifdef MUT_UNKNOWN_TAKEN_FOR_NO
	:: d_step { r[_pid].pending && r[_pid].took == 0 && r[_pid].fresh -> r[_pid].pending = 0; skip }
#endif
	:: d_step { CAN_HAND_OVER(_pid, F) -> ask_handover(_pid, F, r[_pid].insync); effect(0); skip }
	:: d_step { CAN_HAND_OVER(_pid, G) -> ask_handover(_pid, G, r[_pid].insync); effect(0); skip }
	:: d_step { CAN_HAND_OVER(_pid, F) && CAN_LEAVE(_pid) -> ask_handover(_pid, F, r[_pid].insync & ~ID_ANY(_pid)); effect(0); skip }
	:: d_step { CAN_HAND_OVER(_pid, G) && CAN_LEAVE(_pid) -> ask_handover(_pid, G, r[_pid].insync & ~ID_ANY(_pid)); effect(0); skip }
	/* faults */
	CRASH(true, skip)
#if TXNS == 1
	CRASH(CAN_TAKE_OVER(_pid), ask_takeover(_pid, insync))
	CRASH(CAN_TAKE_OVER(_pid) && CAN_LEAVE_OUT_LEADER(_pid), ask_takeover(_pid, WITHOUT_LEADER))
	CRASH(CAN_SEND(_pid), send(_pid))
	CRASH(CAN_HAND_OVER(_pid, F), ask_handover(_pid, F, r[_pid].insync))
	CRASH(CAN_HAND_OVER(_pid, G), ask_handover(_pid, G, r[_pid].insync))
	CRASH(CAN_HAND_OVER(_pid, F) && CAN_LEAVE(_pid), ask_handover(_pid, F, r[_pid].insync & ~ID_ANY(_pid)))
	CRASH(CAN_HAND_OVER(_pid, G) && CAN_LEAVE(_pid), ask_handover(_pid, G, r[_pid].insync & ~ID_ANY(_pid)))
#endif
#if DISK_LOSSES > 0
	:: d_step { CAN_LOSE_DISK(_pid) -> lose_disk(_pid); skip }
#endif
	od
}

active proctype etcd_process()
{
	do
	:: d_step { CAN_APPLY(0) -> apply(0); skip }
#if TXNS > 1
	:: d_step { CAN_APPLY(1) -> apply(1); skip }
#endif
	:: d_step { leader_present && expiries < EXPIRIES ->
		expiries++;
		leader_present = false;
		revisions_change(true, false);
		skip
	}
	od
}
