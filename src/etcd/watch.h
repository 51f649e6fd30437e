/*
 * A watch over one or several ranges of keys, on one stream, that never misses an event.
 *
 * What the owner sees: perhaps a reset (all keys of all ranges, at one revision), then events, each once and in
 * order within its range, then perhaps another reset, and so on. A reset comes when the watch starts without a
 * revision, after a compaction, when the store's revision goes back, and at any doubt; it replaces all that the
 * owner knew. Different ranges may be at different revisions between resets.
 *
 * How:
 *  1. Read all ranges in one transaction: the reset, at revision R. (Left out when the owner gives R.)
 *  2. POST one stream with a create request per range from R + 1 and a progress request. The connect deadline
 *     covers the answers to all of them, as the HTTP status comes only with the first.
 *  3. Hand out events. Every 20 to 30 s make a new stream from the last revision + 1, on the next endpoint if the
 *     last failed; when all its ranges are created, close the old one. Both may speak meanwhile; events at or
 *     below the last revision of their range are doubles (etcd before 3.4.24 makes them by itself).
 *  4. At each renewal read the keys' revisions and compare them with what the events said. A difference that lasts
 *     means that etcd lost an event (etcd before 3.4.36 can): back to 1.
 * What goes wrong, and then:
 *  - the stream ends, in whatever way, or a member refuses: next endpoint, with a growing pause (50 ms to 2 s).
 *  - cancelled with a compact revision, a frame out of order, a fragment, an oversize frame: back to 1.
 *  - a member shows a lower raft term or revision than seen: it is stale, next endpoint. When every endpoint does,
 *    twice over, the store itself went back: back to 1, and the reset says so.
 *  - another cluster id: ETCD_WATCH_FOREIGN, nothing of it is adopted, the other endpoints are tried.
 *  - calls to the stream's endpoint fail while the stream is silent: renewed at once.
 *  - cancelled with a reason: authenticate anew, then with a growing pause.
 *
 * A stream's progress answer is no proof that older events were delivered (etcd before 3.4.25, 3.5.8).
 */
#ifndef LEASH_ETCD_WATCH_H
#define LEASH_ETCD_WATCH_H

#include "etcd/etcd.h"

struct etcd_event {
	bool deleted;          /* else put */
	size_t range;          /* index of the range */
	struct etcd_kv kv;     /* of a delete: key and mod_revision only */
	bool has_prev;         /* the server still had the value before */
	struct etcd_kv prev_kv;
};

struct etcd_range_kvs {
	const struct etcd_kv *kvs;
	size_t n_kvs;
};

struct etcd_reset {
	int64_t revision;
	const struct etcd_range_kvs *ranges; /* as many as were watched, in that order */
	size_t n_ranges;
	bool went_back;     /* the store has a smaller revision than was seen before: R4a */
	const char *reason; /* why the state was read: "start", "compacted" ... */
};

enum etcd_watch_state {
	ETCD_WATCH_CONNECTING, /* not connected yet */
	ETCD_WATCH_CONNECTED,
	ETCD_WATCH_BROKEN,     /* no stream; being made anew */
	ETCD_WATCH_FOREIGN,    /* no stream, and the last that answered was another cluster */
};

struct etcd_watch_status {
	enum etcd_watch_state state;
	uint64_t since_ns;        /* when it came into this state */
	const char *endpoint;     /* connected to, else last tried; "" none */
	enum etcd_result result;  /* of the last failure */
	const char *reason;       /* of the last failure; "" none */
	int64_t revision;         /* highest revision that was handed out */
	uint64_t member_id;       /* that the stream comes from, 0: none */
};

struct etcd_watch_ops {
	void (*on_events)(void *ctx, const struct etcd_event *events, size_t n_events);
	void (*on_reset)(void *ctx, const struct etcd_reset *reset);
	void (*on_state)(void *ctx, const struct etcd_watch_status *s); /* state or endpoint changed; may be NULL */
};

struct etcd_watch_range {
	struct bytes key, range_end; /* as in a range request */
	bool prefix;
};

struct etcd_watch_conf {
	const struct etcd_watch_range *ranges; /* 1 to ETCD_RANGES_MAX, none overlapping; copied */
	size_t n_ranges;
	int64_t from_revision; /* the first revision wanted, one above a revision seen; 0: begin with a reset */
	bool prev_kv;          /* events tell what was there before */
	uint32_t renew_ms;     /* at most this long on one stream, at least two thirds of it; 0: 30000 */
};

/* All callbacks come from the event loop, none from inside this call. 0, -EINVAL, -ENOMEM, -E2BIG. */
int etcd_watch_new(struct etcd *e, const struct etcd_watch_conf *conf, const struct etcd_watch_ops *ops, void *ctx,
	struct etcd_watch **ret_watch) _must_check_;

/* Silent; also from inside its own callbacks. NULL is fine. */
void etcd_watch_free(struct etcd_watch *w);

/* The texts live until the watch's state changes. */
void etcd_watch_get_status(const struct etcd_watch *w, struct etcd_watch_status *ret_status);

#endif
