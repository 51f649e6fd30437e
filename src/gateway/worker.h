/*
 * Worker threads: each its own event loop, its clients (sessions of the RESP front end) and its upstreams, one
 * per engine. All accept on the same listening socket; a new client goes to the worker that has the fewest.
 *
 * A worker's own things are touched by its thread only. Threads meet at the book (without a lock), at the
 * mailbox of new clients (mutex and eventfd), and at atomic flags and counters.
 *
 * A turn of the loop: callbacks read from sockets and note what is due; at its end clients are run, upstreams
 * pumped, and what has gathered is written with one call per socket.
 */
#ifndef LEASH_GATEWAY_WORKER_H
#define LEASH_GATEWAY_WORKER_H

#include <stdatomic.h>

#include "gateway/keep.h"

#define WORKERS_MAX             256
#define WORKER_MAIL_MAX         1024         /* clients handed over and not taken yet */
#define WORKER_READ_BYTES       (64u * 1024) /* of one client at a time */
#define WORKER_ACCEPTS          64           /* per turn */
#define WORKER_CLIENT_INFLIGHT  4096         /* unanswered commands of one client */
#define WORKER_CLIENT_BYTES     (8u << 20)   /* bodies of its appends; one more may pass it */
#define WORKER_CLIENT_OUT_BYTES (1u << 20)
#define WORKER_BEAT_MS          500 /* a turn at least so often, for the watchdog */
#define WORKER_FLUSH_MS         200 /* at the end, replies have so long to leave before they are kept with their client */

struct worker;

/* What all workers share; lives longer than they. */
struct crew {
	struct book *book;
	int listen_fd;
	leash_id run; /* of this process */
	uint64_t inflight_max, inflight_bytes;
	uint32_t record_bytes_max, clients_max;
	_Atomic uint64_t hold_timeout_ns;
	_Atomic uint32_t n_clients;  /* in all, those being handed over included */
	_Atomic bool etcd_connected; /* for INFO */
	bool keeps;                  /* clients are kept for the next life; set before worker_stop() */
	_Atomic uint64_t kept_bytes; /* what is written down of them */
	uint32_t n_workers;
	struct worker *workers[WORKERS_MAX];
};

/* 0 or a negative errno. The thread is not started. */
int worker_new(struct crew *crew, struct worker **ret_worker) _must_check_;
int worker_start(struct worker *w) _must_check_;
/* Waits for the thread's end, after worker_stop(). NULL is fine. */
void worker_free(struct worker *w);

/* Any thread. */
void worker_wake(struct worker *w); /* the book or a setting is new */
/* Answers what is in flight, closes its clients or keeps them (crew->keeps), ends its thread. Again: another deadline. */
void worker_stop(struct worker *w, uint64_t deadline_ns);
bool worker_done(const struct worker *w);
uint32_t worker_clients(const struct worker *w);
/* After its end: clients with commands that were not answered in time, or that could not be kept. */
uint32_t worker_cut_off(const struct worker *w);
uint64_t worker_turns(const struct worker *w);   /* rises while the loop moves */

/* ---- worker_keep.c: over a restart */

/* A client of the former process, before worker_start(). Takes over what is in @c. -ENOMEM. */
int worker_adopt(struct worker *w, struct kept_client *c) _must_check_;
/* When it is done: its clients are added to @k. -ENOMEM: those that were not stay with it. */
int worker_release(struct worker *w, struct keep *k) _must_check_;

#endif
