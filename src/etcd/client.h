/*
 * Inside the client: endpoints, calls, the token. Used by the files of this folder only.
 */
#ifndef LEASH_ETCD_CLIENT_H
#define LEASH_ETCD_CLIENT_H

#include <sys/queue.h>

#include "etcd/http.h"
#include "etcd/json.h"

struct event;

struct endpoint {
	char *url;
	uint64_t fresh_until_ns; /* until then kept connections are not trusted */
};

/* ---- the token */

/*
 * OFF: no user, or the server said that authentication is not enabled. After a refusal of a token (or of none)
 * auth_reject() brings any state but BUSY back to NONE.
 */
enum auth_state { AUTH_OFF, AUTH_NONE, AUTH_BUSY, AUTH_HAVE };

/* Who waits for the token. In no list: not waiting. */
struct auth_waiter {
	TAILQ_ENTRY(auth_waiter) link;
	bool waiting;
	uint64_t round;
	/* ETCD_OK: go on. Else there is no token, and why. */
	void (*fn)(struct auth_waiter *w, enum etcd_result result, const char *reason);
};

struct auth {
	enum auth_state state;
	char *user, *password, *token;
	uint64_t generation; /* counts the answers of the server about tokens */
	uint64_t round;      /* counts authenticate calls */
	TAILQ_HEAD(, auth_waiter) waiters;
};

struct etcd {
	struct event_base *base;
	struct http *http;
	struct endpoint endpoints[ETCD_ENDPOINTS_MAX];
	size_t n_endpoints;
	size_t endpoint;         /* the one that answered last */
	uint32_t timeout_ms, connect_timeout_ms;
	size_t response_bytes_max;
	uint64_t cluster_id;     /* 0: not known yet */
	uint64_t raft_term;      /* highest that a member with a leader has shown */
	struct auth auth;
	TAILQ_HEAD(, etcd_call) calls;
	size_t n_calls;
	TAILQ_HEAD(, etcd_watch) watches;
	unsigned callbacks;      /* of the user, running */
	bool closing;
};

/* The next endpoint after @index. */
static inline size_t endpoint_after(const struct etcd *e, size_t index)
{
	return (index + 1) % e->n_endpoints;
}

/* Something failed there: others are tried first, and watches that hang there are made anew. */
void endpoint_failed(struct etcd *e, size_t index, bool connection);
void endpoint_worked(struct etcd *e, size_t index);

/*
 * Looks at the header of an answer. False: another cluster. @leader: it came through a quorum or from a member
 * that has a leader; only then its term counts (a partitioned member raises its own).
 */
bool header_accept(struct etcd *e, const struct etcd_header *h, bool leader);

/* ---- calls */

enum call_flags {
	CALL_REPEATABLE = 1, /* may be sent again after it may have arrived */
	CALL_GET = 2,
	CALL_NO_TOKEN = 4,
	CALL_LOCAL = 8,      /* the answer is the member's own and says nothing of the leader */
};

struct call_spec {
	enum dec_kind kind;
	const char *path; /* a string that stays */
	unsigned flags;
	unsigned endpoint;           /* or ETCD_ENDPOINT_ANY */
	size_t n_success, n_failure; /* of a transaction */
	uint32_t timeout_ms;         /* 0: the client's */
};

/* Takes the content of @body on success. */
int call_start(struct etcd *e, const struct call_spec *spec, struct buf *body, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call) _must_check_;

/* For the authenticate call only: the answer it belongs to has a token. */
const char *call_token(const struct etcd_answer *a);

/* ---- the token */

int auth_init(struct etcd *e, const char *user, const char *password) _must_check_;
void auth_deinit(struct etcd *e);
/*
 * 0: go on with e->auth.token (NULL: without). 1: @w->fn will be called, not from inside this. Negative: errno.
 */
int auth_ensure(struct etcd *e, struct auth_waiter *w) _must_check_;
void auth_unwait(struct etcd *e, struct auth_waiter *w);
/* The server refused what was sent at @generation. True: authenticating anew may help. */
bool auth_reject(struct etcd *e, uint64_t generation);

/* ---- watches */

void watch_free_all(struct etcd *e);
void watch_endpoint_failed_all(struct etcd *e, size_t index);

#endif
