/*
 * HTTP/1.1 requests on libcurl's multi interface inside libevent. Knows nothing of etcd but its header names.
 *
 * Every request has a connection to itself while it runs (HTTP/1.1, no pipelining), so a stuck watch cannot delay a
 * keepalive. Callbacks come from the event loop only; inside them everything but http_free() is allowed.
 */
#ifndef LEASH_ETCD_HTTP_H
#define LEASH_ETCD_HTTP_H

#include "base/cur.h"

struct event_base;
struct http;
struct http_req;

/* A kept connection is not used again after this time without use; so this long after an error all are new. */
#define HTTP_IDLE_MAX_S 15

struct http_conf {
	const char *cacert, *cert, *key; /* PEM files or NULL */
	size_t response_bytes_max;
};

struct http_spec {
	const char *url;
	struct bytes body;           /* POST; p NULL: GET. Copied */
	const char *token;           /* Authorization, or NULL */
	bool need_leader;            /* a stream that the server shall cut when its member loses the leader */
	bool fresh;                  /* a new connection, always: libcurl silently repeats a request on a kept one */
	uint32_t connect_timeout_ms; /* not 0 */
	uint32_t timeout_ms;         /* for all of it; 0: none */
};

struct http_result {
	bool complete;      /* a whole answer came; else see reason */
	bool issued;        /* the request was given to a connection: it may have arrived */
	bool too_large;     /* the answer passed response_bytes_max */
	long status;        /* HTTP's, 0 without answer */
	uint64_t issued_ns; /* boottime just before */
	const char *reason; /* what went wrong, "" else */
	struct bytes body;  /* all of it; empty for streams */
};

typedef void (*http_done_fn)(void *ctx, const struct http_result *res);
typedef void (*http_data_fn)(void *ctx, struct bytes data);

int http_new(struct event_base *base, const struct http_conf *conf, struct http **ret_http) _must_check_;
/* All requests must be over or cancelled. NULL is fine. */
void http_free(struct http *h);

/*
 * @data NULL: the body is collected for @done. Else every piece of it goes to @data as it comes, without a bound on
 * the sum.
 * @done is called once, when the request is over; @ret_req is not valid any more then.
 */
int http_start(struct http *h, const struct http_spec *spec, http_data_fn data, http_done_fn done, void *ctx,
	struct http_req **ret_req) _must_check_;

/* Ends the request without a callback. Returns true when it had been issued. */
bool http_cancel(struct http_req *req);

#endif
