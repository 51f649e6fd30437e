/*
 * One stream of a watch: the request, its connect deadline and its parser. Inside the watch only.
 */
#ifndef LEASH_ETCD_WATCH_STREAM_H
#define LEASH_ETCD_WATCH_STREAM_H

#include "etcd/client.h"

/* The highest that was seen: a member that shows less is behind. */
struct seen {
	int64_t revision;
	uint64_t raft_term;
};

struct wstream {
	struct etcd_watch *w;
	struct etcd *e;
	size_t endpoint;
	struct seen seen; /* when it was opened */
	uint64_t auth_generation;
	struct http_req *req;
	struct event *deadline; /* until connected */
	struct stream parser;
	bool *created;          /* per range */
	int64_t *revisions;     /* per range: of the last header with events */
	size_t n_ranges, n_created;
	uint64_t connected_ns; /* 0: not yet */
	uint64_t member_id;
	bool busy, dead;       /* its frames are being handled; closed meanwhile */
};

/* What the stream tells its watch; both may close the stream. */
void watch_on_frame(struct etcd_watch *w, struct wstream *s, struct watch_frame *f);
void watch_on_end(struct etcd_watch *w, struct wstream *s, enum etcd_result result, const char *reason);
void watch_on_oversize(struct etcd_watch *w, struct wstream *s);

int wstream_open(struct etcd *e, struct etcd_watch *w, size_t endpoint, size_t n_ranges, struct bytes body,
	struct seen seen, struct wstream **ret_stream) _must_check_;
/* All ranges are created: the connect deadline ends. */
void wstream_connected(struct wstream *s);
/* Nothing more comes from it. NULL is fine. */
void wstream_close(struct wstream *s);

#endif
