/*
 * The address book: for each engine, who its primary is and where the nodes are. Two levels: a directory from
 * name to slot, rebuilt only when engines come or go, and in each slot one pointer to an immutable target. A
 * retarget builds a new target and exchanges that one pointer; the old one is freed after the grace period
 * (liburcu, memb flavour).
 *
 * Rules that always hold:
 *  - Readers take no lock and never wait. A reading thread must have called book_thread_join().
 *  - Only etcd says which cluster bears the engine's name (`<engine>/insync`), and of two the one whose key was made
 *    later: a stale read, an event of the past, or a node of the former cluster cannot bring that one back. What a
 *    node of another cluster says is not heard. Epochs are compared within one cluster only; another one begins
 *    anew.
 *  - A higher epoch always wins; within a cluster a slot never goes back to a lower one, whoever says so (etcd, a
 *    node).
 *  - Within one epoch the primary stays the same node.
 *  - A target says where a primary is said to be. Whether it is one, the node itself must say (R3a).
 *
 * Any thread may write (control from etcd, workers from what nodes say); writers of one slot take turns.
 */
#ifndef LEASH_GATEWAY_BOOK_H
#define LEASH_GATEWAY_BOOK_H

#include <stdatomic.h>

#include "base/cluster.h"
#include "base/util.h"

#define BOOK_ENGINES_MAX 1024

struct book;
struct book_slot;

struct book_node {
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
};

/* Immutable once it is in a slot. */
struct book_target {
	uint64_t serial;   /* of this slot's targets: rises by one with each */
	leash_id cluster;  /* 0: etcd has not said; then any may be */
	leash_epoch epoch; /* 0: no primary of it was ever heard of; then node, address and run are empty */
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
	leash_id run;     /* 0: not known */
	uint32_t n_nodes; /* all nodes that were heard of, the primary included */
	struct book_node nodes[REP_NODES_MAX];
};

/* What is counted per engine, by all threads. Relaxed atomics: for INFO and messages, nothing is decided by them. */
struct book_counters {
	_Atomic uint64_t retargets;  /* times that a worker turned to another primary or epoch */
	_Atomic uint64_t appends;    /* messages taken from clients */
	_Atomic uint64_t replays;    /* messages that were sent again */
	_Atomic uint64_t dedup_hits; /* of those (or retries of clients), known already */
	_Atomic uint64_t in_doubt, refused_holding; /* answers -INDOUBT; -TRYAGAIN or -NOREPLICAS */
	_Atomic int64_t held;                       /* now: messages that no node works on */
	_Atomic int64_t in_flight;                  /* now: messages without an answer */
};

/* @wake(ctx): after every change, from the thread that made it: somebody must look. */
int book_new(void (*wake)(void *ctx), void *ctx, struct book **ret_book) _must_check_;
void book_free(
	struct book *b); /* all slots must have been released; no thread reads any more. NULL is fine */

void book_thread_join(void);  /* before the first call of a thread */
void book_thread_leave(void); /* after the last */

/*
 * Makes the directory anew with exactly these engines; slots of those that stay are kept. Only one thread may
 * call it. -EINVAL: too many, or a name twice; -ENOMEM. On error nothing has changed.
 */
int book_set_engines(struct book *b, const char *const *names, size_t n_names) _must_check_;

/* Rises with each book_set_engines(). */
uint64_t book_generation(const struct book *b);

/* The slot of @name, with a reference; NULL: no such engine. No lock. */
struct book_slot *book_find(struct book *b, const char *name) _must_check_;
/* All slots, in the order of names; each with a reference. Returns how many; at most @max. */
size_t book_slots(struct book *b, struct book_slot **ret_slots, size_t max);
struct book_slot *book_slot_ref(struct book_slot *s);
void book_slot_unref(struct book_slot *s); /* NULL is fine */
const char *book_slot_name(const struct book_slot *s);
struct book_counters *book_slot_counters(struct book_slot *s);

/* True: the target's serial is not @serial, and it was copied. No lock. */
bool book_read(const struct book_slot *s, uint64_t serial, struct book_target *ret_target);
uint64_t book_serial(const struct book_slot *s); /* of the target there is now; no lock */

/* May who leads @cluster (0: not known) in @epoch be the primary? False: the book knows better. No lock. */
bool book_allows(const struct book_slot *s, leash_id cluster, leash_epoch epoch);

enum book_error {
	BOOK_E_OLD = 1, /* a higher epoch is known, another node in this one, or another cluster */
	BOOK_E_FOUNDED, /* book_found(): the engine was another cluster before */
};

/*
 * "@node at @address leads @cluster in @epoch." @run may be 0, and so may @cluster: etcd's leader key does not say
 * it (see book_created()). 0: taken, or nothing new; BOOK_E_OLD; -ENOMEM.
 */
int book_offer(struct book_slot *s, leash_id cluster, leash_epoch epoch, const char *node, const char *address,
	leash_id run) _must_check_;

/*
 * etcd: "the engine is @cluster since revision @created" (of the in-sync set's key). What is known of a primary is
 * forgotten when that is news. Nodes stay: they are told of before their cluster is founded. 0: taken, or nothing new;
 * BOOK_E_OLD: it is known to have been founded anew since; BOOK_E_FOUNDED; -ENOMEM.
 */
int book_found(struct book_slot *s, leash_id cluster, uint64_t created) _must_check_;
/* What etcd says of a leader counts only from this revision on: before, it led another cluster. */
uint64_t book_created(struct book_slot *s);
/* etcd's store was replaced by an older or an empty one, its revisions begin anew: what it says next counts. */
void book_went_back(struct book_slot *s);

/* "@node is at @address." When the table is full, the one noted first gives way, never the primary. 0; -ENOMEM. */
int book_learn(struct book_slot *s, const char *node, const char *address) _must_check_;

/*
 * Presence: workers report when they begin and cease to have a primary that says that it is one. The first to
 * reach a new (epoch, node) gets true from book_attached(), with how long no worker had any (0: no pause); the
 * last to lose it gets true from book_detached(). For messages.
 */
bool book_attached(
	struct book_slot *s, leash_epoch epoch, bool was_attached, uint64_t now_ns, uint64_t *ret_pause_ns);
bool book_detached(struct book_slot *s, uint64_t now_ns);
bool book_is_attached(struct book_slot *s); /* some worker has a primary */

#endif
