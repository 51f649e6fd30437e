/*
 * What clients saw, checked: a history of appends and reads, with times, against the logs of the nodes. It knows nothing
 * of nodes, epochs and faults; who feeds it are clients (in the simulator; or through files: hist_text.h).
 *
 * What is checked (names as hist_rule_name() has them)
 *   log-gap, logs-differ  each log has consecutive positions, and no two logs (or readers) have different records at one
 *   twice                 no id is in the log twice; of appends without an id, no value
 *   foreign, altered      each record was appended by a client of the history: that id, with that value
 *   refused               an operation is not in the log when each attempt at it was refused for certain
 *   missing               what was answered with a position, or shown to a reader, is in every log that reaches so far
 *                         back (retention may have removed a log's beginning)
 *   misplaced             at an answered position stands the operation that got the answer; a retry gets the same
 *                         position; two operations never do. A conflict names a position with the id and another value
 *   real-time             linearizability of the log: what was known to be at position p, by an answer or a reader, before
 *                         an operation was first invoked, has the lower position; what a reader saw had been invoked
 *   connection-order      operations that were sent once, on one connection: in the order in which they were sent
 *   client-order          all operations of a client that says so (HIST_IN_ORDER), in the order of their first sending
 *   read-gap, read-order  a read shows consecutive positions within what was asked for, not more than asked for
 *   stale                 reads of one endpoint are linearizable with one another and with what that endpoint answered:
 *                         a read shows all that it had answered or shown to anybody before the read was invoked
 *
 * An *endpoint* is the life of one process: of a gateway, or of a node. That is what is promised, and no more: a gateway
 * takes answers only from a node that leads in an epoch not below the highest it knows, and a node's commit index
 * never goes back in one life; but a primary that was deposed and does not know it yet may show what it has (R5a:
 * committed, and the beginning of the log, but perhaps not all of it) to who asks it through another gateway or directly.
 *
 * An operation whose outcome is unknown (no answer, -INDOUBT) may be in the log or not. If it is there, everything
 * above holds for it.
 *
 * The cost is O(n log n) in time (one sort of what endpoints said), O(n) in memory.
 *
 * How a simulator feeds it. Once: hist_new(). Per simulated client hist_client(), and hist_conn() whenever it begins to
 * talk to a process life, named e.g. "S1 life 4". An append: hist_append() each time it is *sent* (a retry is another
 * attempt with the same id), with the virtual time; hist_ok() ... when the answer *arrives* at the client. A read
 * likewise: hist_read(), hist_shows() for each record, hist_end(). In the end, when the cluster has come to rest:
 * hist_log() per node and hist_record() for each record, then hist_check(). Everything may be fed in any order otherwise,
 * only the attempts of a client in the order in which they were sent.
 *
 * Want of memory aborts. What makes no sense (an answer before its question, two answers) is -EINVAL and is not taken.
 */
#ifndef LEASH_TESTS_CHECK_HIST_H
#define LEASH_TESTS_CHECK_HIST_H

#include "base/hash.h"
#include "base/types.h"

#define HIST_POS_MAX (UINT64_C(1) << 26) /* positions above are refused with -EINVAL */

struct hist;

enum hist_rule {
	HIST_HOLDS,
	HIST_LOG_GAP,
	HIST_LOGS_DIFFER,
	HIST_TWICE,
	HIST_FOREIGN,
	HIST_ALTERED,
	HIST_REFUSED,
	HIST_MISSING,
	HIST_MISPLACED,
	HIST_REAL_TIME,
	HIST_CONNECTION_ORDER,
	HIST_CLIENT_ORDER,
	HIST_READ_GAP,
	HIST_READ_ORDER,
	HIST_STALE,
};

const char *hist_rule_name(enum hist_rule rule);

/* ------------------------------------------------------------------------------------------------------ the history */

struct hist *hist_new(void);
void hist_free(struct hist *h); /* NULL is fine */

/* Records that no client of the history appended are fine. */
void hist_allow_foreign(struct hist *h);

/*
 * An id is known as long as its record is among the last @records of the log (dedup_window): further away the same id may be
 * in the log once more, and each answer with it names one of the places. 0, the default: for ever.
 */
void hist_window(struct hist *h, uint64_t records);

#define HIST_IN_ORDER 1u /* sends again what is unanswered, in order, before anything new; gives nothing up but the end */

/* Numbers of clients, connections, attempts and reads count from 0. @name is copied. */
uint32_t hist_client(struct hist *h, const char *name, unsigned flags);
/* @endpoint: "": unknown, the connection stands for itself. */
uint32_t hist_conn(struct hist *h, uint32_t client, const char *endpoint);

/*
 * An append is sent. @id: what stands in the log between "[" and "]", e.g. "pay/7"; "": none of the client's own, then
 * @value is all that it is known by. Texts are compared with those of hist_record() and hist_shows(), and copied.
 *
 * Returns 0. -EINVAL: such a value without an id was there before.
 */
int hist_append(struct hist *h, uint32_t conn, uint64_t at_ns, const char *id, const char *value,
	uint32_t *ret_attempt) _must_check_;
/* Each attempt is answered once or never. -EINVAL: answered already, or the answer is older than the question. */
int hist_ok(struct hist *h, uint32_t attempt, uint64_t at_ns, leash_seq pos) _must_check_;
int hist_conflict(struct hist *h, uint32_t attempt, uint64_t at_ns, leash_seq pos) _must_check_; /* 0: was not told */
int hist_refused(struct hist *h, uint32_t attempt, uint64_t at_ns) _must_check_; /* certainly nothing happened */
int hist_unknown(struct hist *h, uint32_t attempt, uint64_t at_ns) _must_check_; /* as no answer */

/* A read of positions @from to @to is sent, of at most @count records; 0: no bound. A read that fails just has no end.
 * A blocking one that ends with nothing has none, either: it is no word about the log. */
uint32_t hist_read(struct hist *h, uint32_t conn, uint64_t at_ns, leash_seq from, leash_seq to, uint64_t count);
/* The records of one read are fed in a row, ascending. */
int hist_shows(struct hist *h, uint32_t read, leash_seq pos, const char *value) _must_check_;
int hist_end(struct hist *h, uint32_t read, uint64_t at_ns) _must_check_;
/* The number of records is asked for: a read that ends with hist_is(). */
uint32_t hist_length(struct hist *h, uint32_t conn, uint64_t at_ns);
int hist_is(struct hist *h, uint32_t read, uint64_t at_ns, uint64_t n) _must_check_;

/* ----------------------------------------------------------------------------------------------------- the logs */

/* The log of a node at rest: complete but for what retention removed at its beginning. */
uint32_t hist_log(struct hist *h, const char *name);
int hist_record(struct hist *h, uint32_t log, leash_seq pos, const char *id, const char *value) _must_check_;

/* -------------------------------------------------------------------------------------------------------- the verdict */

struct hist_verdict {
	enum hist_rule broken; /* the first rule that does not hold */
	char text[1024];       /* which two things contradict each other, with times as they were fed; or "" */
	uint64_t operations, attempts, acknowledged, refused, unknown; /* the last three of attempts; conflicts: acknowledged */
	uint64_t reads, shown, logs, records; /* reads: those that ended; records: positions that any log has */
};

/* Once, when everything has been fed. True: all rules hold. */
bool hist_check(struct hist *h, struct hist_verdict *ret_verdict);

#endif
