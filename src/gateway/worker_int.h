/* What worker.c, worker_keep.c, conn.c and report.c share. */
#ifndef LEASH_GATEWAY_WORKER_INT_H
#define LEASH_GATEWAY_WORKER_INT_H

#include <event2/event.h>
#include <pthread.h>

#include "front/front.h"
#include "gateway/upstream.h"
#include "gateway/worker.h"

struct conn {
	struct worker *w;
	int fd;
	struct event *ev_read, *ev_write;
	struct front_client *fc;
	bool woken;   /* in w->woken */
	bool reading; /* ev_read is added */
	struct conn *next_woken;
	struct conn *prev, *next;
};

struct worker {
	struct crew *crew;
	pthread_t thread;
	bool started;
	struct event_base *base;
	int wake_fd, accept_fd; /* eventfd; epoll with the listening socket, exclusive */
	struct event *ev_wake, *ev_accept, *timer;
	bool accepting;
	uint64_t now_ns;          /* of this turn of the loop */
	uint64_t accept_after_ns; /* out of descriptors: not before */

	struct link_env env;
	struct front *front;
	struct upstream **ups;
	size_t n_ups;
	uint64_t generation;      /* of the directory that .ups follows */
	uint64_t hold_timeout_ns; /* as last applied */
	struct conn *clients, *woken;
	uint8_t rx[WORKER_READ_BYTES]; /* what a socket gave; moves on at once */
	bool stopping, gave_up;
	uint32_t cut_off;
	uint64_t flush_until_ns;
	struct keep adopted, kept; /* of the former process, until the first turn; for the next one, at the end */

	/* other threads' side */
	pthread_mutex_t mail_lock;
	int mail[WORKER_MAIL_MAX];
	uint32_t n_mail;
	_Atomic uint64_t turns, stop_ns; /* stop_ns: deadline; 0: go on */
	_Atomic uint32_t n_clients;
	_Atomic bool done;
};

/* ---- conn.c */
struct conn *conn_new(struct worker *w, int fd); /* takes @fd, whatever happens; already counted. NULL: closed */
void conn_free(struct conn *c);
void conn_drop(struct conn *c);    /* closes it; freed with its next turn */
void conn_release(struct conn *c); /* frees it, but its socket is somebody else's now */
void conn_wake(struct conn *c);
void conn_turn(struct conn *c, uint64_t now_ns); /* runs it, writes, perhaps frees it */

/* ---- worker_keep.c */
void keep_begin(struct worker *w); /* makes clients of .adopted */
bool keep_ready(const struct worker *w, uint64_t now_ns); /* nothing is under way any more */
void keep_end(struct worker *w, uint64_t now_ns);         /* moves clients to .kept; counts the others as cut off */

/* ---- report.c: INFO and ROLE */
void report_info(void *ctx, const char *section, struct buf *out);
void report_role(void *ctx, struct front_role *ret_role);

#endif
