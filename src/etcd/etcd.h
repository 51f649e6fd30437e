/*
 * leash's etcd v3 client: asynchronous, over etcd's JSON gateway, on libcurl's multi interface inside libevent.
 *
 * Rules that always hold:
 *  - One thread: everything here belongs to the thread that runs the event_base.
 *  - A started call calls back exactly once, never from inside the function that started it. etcd_call_cancel()
 *    and etcd_free() call back too, from inside themselves, with ETCD_CANCELLED. A call that could not be
 *    started (negative errno) does not call back.
 *  - What is passed in is copied. What is passed to a callback lives until the callback returns.
 *  - Inside a callback everything is allowed except etcd_free().
 *  - A call is over within its timeout_ms, whatever the endpoints do.
 *  - Reads, keepalives and revokes may be sent to one endpoint after the other. A put, delete, transaction or
 *    grant is sent on to another endpoint only when the connection to the one before was certainly not made,
 *    and it never travels on a kept connection: libcurl would repeat it silently when that turns out closed.
 *  - A transaction decides (R0); a read may be stale, a watch is a hint, and a keepalive that succeeds does
 *    not prove that the lease's keys are there (etcd before 3.4.38, 3.5.23, 3.6.5).
 *  - The first cluster id that answers is the cluster. Answers that bear another one are ETCD_FOREIGN.
 *  - Nothing here logs.
 *
 * Times are CLOCK_BOOTTIME in ns, durations in ms.
 */
#ifndef LEASH_ETCD_ETCD_H
#define LEASH_ETCD_ETCD_H

#include "base/cur.h"

struct event_base;
struct etcd;
struct etcd_call;
struct etcd_watch;

#define ETCD_ENDPOINTS_MAX 16
#define ETCD_OPS_MAX       128           /* operations (and compares) in one transaction: etcd's own default */
#define ETCD_RANGES_MAX    ETCD_OPS_MAX  /* ranges of one watch: they are read in one transaction */
#define ETCD_REQUEST_MAX   (1024 * 1024) /* bytes of a request body; etcd refuses more than 1.5 MiB */
#define ETCD_CALLS_MAX     1024          /* calls under way */
#define ETCD_ENDPOINT_ANY  (~0u)

enum etcd_result {
	ETCD_OK,
	ETCD_UNKNOWN,      /* sent, and no answer that tells: a write may have been applied, now or later (R0a) */
	ETCD_NOT_SENT,     /* certainly not applied: no endpoint took the connection, or nothing was sent in time */
	ETCD_NOT_FOUND,    /* code 5: the lease is gone */
	ETCD_COMPACTED,    /* code 11: a revision that is compacted, or in the future */
	ETCD_DENIED,       /* codes 7 and 16 (after one new authentication), bad user or password */
	ETCD_NOSPACE,      /* code 8: out of space, or too many requests */
	ETCD_INVALID,      /* code 3, and codes that a right request does not get: not applied */
	ETCD_PRECONDITION, /* code 9: lease id taken, authentication not enabled, the member is a learner */
	ETCD_BAD_ANSWER,   /* not JSON, fields missing, too large. For a write: unknown */
	ETCD_FOREIGN,      /* another cluster answered; in ours a write was not applied by this request */
	ETCD_CANCELLED,    /* by etcd_call_cancel() or etcd_free(). For a write: unknown */
};

/* One word for messages: "ok", "unknown", "not-sent" ... */
const char *etcd_result_name(enum etcd_result r);

/* True when a write with this result may have been applied or may still be. */
static inline bool etcd_in_doubt(enum etcd_result r)
{
	return r == ETCD_UNKNOWN || r == ETCD_BAD_ANSWER || r == ETCD_CANCELLED;
}

/* ---- the client */

struct etcd_conf {
	const char *const *endpoints; /* "http://host:port" or "https://host:port", no path */
	size_t n_endpoints;           /* 1 to ETCD_ENDPOINTS_MAX */
	const char *cacert;           /* PEM files for https, NULL: the system's CAs; no client certificate. A */
	const char *cert, *key;       /* client certificate must have no CN when etcd's auth is on */
	const char *user, *password;  /* NULL: no authentication. The password itself, not a file */
	uint32_t timeout_ms;          /* of a call that names none; 0: 3000 */
	uint32_t connect_timeout_ms;  /* to make a connection, TLS included; 0: 1000 */
	size_t response_bytes_max;    /* of one answer or one frame of a watch; 0: 4 MiB */
	uint64_t cluster_id;          /* the cluster that must answer; 0: the first that answers */
};

/* -EINVAL: a bad endpoint, none or too many, a password without user, a certificate without key. */
int etcd_new(struct event_base *base, const struct etcd_conf *conf, struct etcd **ret_etcd) _must_check_;

/* Ends all calls (ETCD_CANCELLED) and frees all watches (silently). NULL is fine. Not from a callback. */
void etcd_free(struct etcd *e);

size_t etcd_endpoint_count(const struct etcd *e);
const char *etcd_endpoint_url(const struct etcd *e, size_t index); /* NULL: no such index */
uint64_t etcd_cluster_id(const struct etcd *e);                    /* 0: nobody has answered yet */

/* ---- answers */

struct etcd_header {
	uint64_t cluster_id, member_id, raft_term;
	int64_t revision; /* 0: the answer has none */
};

struct etcd_kv {
	struct bytes key, value; /* a NUL that is not counted follows each */
	int64_t create_revision, mod_revision, version, lease;
};

struct etcd_range_resp {
	const struct etcd_kv *kvs;
	size_t n_kvs;
	int64_t count; /* keys in the range, also beyond the limit */
	bool more;
};

enum etcd_op_kind { ETCD_OP_RANGE, ETCD_OP_PUT, ETCD_OP_DELETE };

struct etcd_op_resp {
	enum etcd_op_kind kind;
	struct etcd_range_resp range; /* of ETCD_OP_RANGE */
	int64_t deleted;              /* of ETCD_OP_DELETE */
};

struct etcd_txn_resp {
	bool succeeded;
	const struct etcd_op_resp *responses; /* one for each operation of the branch taken, in order */
	size_t n_responses;
};

struct etcd_lease_resp {
	int64_t id;
	int64_t ttl_s;         /* what the server gave or what is left; grant: rounded up to etcd's minimum */
	int64_t granted_ttl_s; /* time-to-live only */
};

struct etcd_member {
	uint64_t id;
	const char *name; /* "" for a member that has not started yet */
	const char *const *peer_urls, *const *client_urls;
	size_t n_peer_urls, n_client_urls;
	bool learner;
};

struct etcd_members_resp {
	const struct etcd_member *members;
	size_t n_members;
};

struct etcd_status_resp {
	const char *version;
	uint64_t leader; /* member id; 0: it knows none */
	uint64_t raft_term, raft_index, raft_applied_index;
	int64_t db_bytes, db_used_bytes;
	const char *const *errors; /* alarms and "no leader", in the server's words */
	size_t n_errors;
	bool learner;
};

struct etcd_version_resp {
	const char *server, *cluster;
};

struct etcd_answer {
	enum etcd_result result;
	int code;             /* the gRPC code of a refusal, else 0 */
	const char *reason;   /* for messages; "" when ETCD_OK */
	const char *endpoint; /* the URL last tried; "" if none was */
	uint64_t sent_ns;     /* just before the request that was answered went out; 0: nothing was sent */
	struct etcd_header header;
	union { /* when ETCD_OK, by the kind of call */
		struct etcd_range_resp range;
		struct etcd_txn_resp txn;
		struct etcd_lease_resp lease;
		struct etcd_members_resp members;
		struct etcd_status_resp status;
		struct etcd_version_resp version;
		int64_t deleted;
	};
};

typedef void (*etcd_fn)(void *ctx, const struct etcd_answer *a);

/*
 * All calls: @timeout_ms bounds the whole call, retries and authentication included; 0: the client's.
 * @ret_call may be NULL; it is valid until the callback begins.
 *
 * Return 0; -E2BIG (ETCD_REQUEST_MAX, ETCD_OPS_MAX), -EBUSY (ETCD_CALLS_MAX), -EINVAL, -ENOMEM: no callback.
 */
void etcd_call_cancel(struct etcd_call *c);

/* ---- keys and values */

static inline struct bytes etcd_str(const char *s)
{
	return (struct bytes){ .p = (const uint8_t *)s, .len = strlen(s) };
}

struct etcd_range_req {
	struct bytes key;
	struct bytes range_end; /* empty: the one key. Keys from @key to before it */
	bool prefix;            /* all keys that begin with @key (empty: all keys); excludes range_end */
	int64_t limit;          /* 0: all */
	int64_t revision;       /* 0: now */
	bool serializable;      /* from the member's own state, arbitrarily old */
	bool keys_only;
};

struct etcd_put_req {
	struct bytes key, value;
	int64_t lease; /* 0: none */
};

struct etcd_delete_req {
	struct bytes key, range_end; /* as in a range */
	bool prefix;
};

struct etcd_op {
	enum etcd_op_kind kind;
	union {
		struct etcd_range_req range;
		struct etcd_put_req put;
		struct etcd_delete_req del;
	};
};

enum etcd_compare_target { ETCD_CMP_MOD, ETCD_CMP_CREATE, ETCD_CMP_VERSION, ETCD_CMP_VALUE };

/* Holds when the key's @target equals; an absent key has 0 in all three numbers, and no value that is equal. */
struct etcd_compare {
	enum etcd_compare_target target;
	struct bytes key;
	int64_t number;     /* for all but ETCD_CMP_VALUE */
	struct bytes value; /* for ETCD_CMP_VALUE */
};

struct etcd_txn_req {
	const struct etcd_compare *compares; /* all must hold; none: it succeeds */
	size_t n_compares;
	const struct etcd_op *success, *failure;
	size_t n_success, n_failure;
};

int etcd_range(struct etcd *e, const struct etcd_range_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
int etcd_put(struct etcd *e, const struct etcd_put_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
int etcd_delete(struct etcd *e, const struct etcd_delete_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
/* Counts as a read (may be sent again) when no branch writes. */
int etcd_txn(struct etcd *e, const struct etcd_txn_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;

/* ---- leases */

/* etcd chooses the id and may lengthen the time: use the answer's. */
int etcd_lease_grant(struct etcd *e, int64_t ttl_s, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;

/*
 * One beat. ETCD_OK: alive; it lasts until answer.sent_ns + ttl_s at least (count from there, never from the
 * reply). ETCD_NOT_FOUND: gone for ever. Anything else: unknown. Give it a short timeout_ms: renewing a lease
 * that is expired but not yet revoked hangs in the server.
 */
int etcd_lease_keepalive(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
/* ETCD_NOT_FOUND: it was gone already (or an unanswered first attempt of this call removed it). */
int etcd_lease_revoke(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
/* ETCD_NOT_FOUND: no such lease. ttl_s 0: less than a second. */
int etcd_lease_time_to_live(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;

/* ---- the cluster; @endpoint: an index, or ETCD_ENDPOINT_ANY */

int etcd_member_list(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
/* May be ETCD_DENIED with auth on: some releases (3.4.42, 3.5.28 to .31, 3.6.9 to .11) want an admin. */
int etcd_status(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
int etcd_version(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;
/* An empty transaction: needs a quorum and no permission. ETCD_OK: this endpoint can decide. */
int etcd_health(struct etcd *e, unsigned endpoint, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;

/* ---- watches: watch.h */

#endif
