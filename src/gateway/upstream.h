/*
 * One worker's way to one engine: connections to all its nodes (so that a retarget costs no connect), the
 * pipeline of appends, the reads that wait. It turns to the node that says of itself that it is the primary, of
 * the book's cluster, in the highest epoch and none below the book's; what nodes say goes into the book, too, so that the other
 * workers hear of it at once.
 *
 * A read is asked of the primary; when that goes away, or may not show its log yet, it is asked of the next
 * one. An answer counts only while its node is the primary as far as the book knows.
 *
 * When the primary is one of another cluster than the last, the engine was founded anew: nothing that the former one
 * may have, or has begun to answer, is asked of the new one.
 *
 * All belongs to the worker's thread. upstream_pump() does what is due; it is to be called at the end of each
 * turn of the loop in which upstream_wants_pump() or at upstream_wakeup_ns().
 */
#ifndef LEASH_GATEWAY_UPSTREAM_H
#define LEASH_GATEWAY_UPSTREAM_H

#include "front/front.h"
#include "gateway/book.h"
#include "gateway/link.h"
#include "gateway/pipeline.h"

#define UPSTREAM_READS_MAX                                                                                   \
	256 /* with a node at a time; more wait here. The front bounds how many per client */

struct upstream;

struct upstream_conf {
	struct pipe_conf pipe;
	struct link_env *env;
};

/* @engine's backend is to be the upstream. @slot: a reference of its own is taken. 0, -ENOMEM. */
int upstream_new(
	const struct upstream_conf *conf, struct book_slot *slot, struct upstream **ret_up) _must_check_;
void upstream_set_engine(struct upstream *u, struct front_engine *engine);
/* Everything that waits must have been completed: upstream_give_up(). NULL is fine. */
void upstream_free(struct upstream *u, uint64_t now_ns);

void upstream_set_hold_timeout(struct upstream *u, uint64_t hold_timeout_ns);
struct book_slot *upstream_slot(const struct upstream *u);

/* As in struct front_ops. */
void upstream_append(struct upstream *u, struct front_op *op, const struct rec_body *b,
	const struct bytes *pairs, uint32_t n_pairs, uint64_t now_ns);
bool upstream_room(struct upstream *u);
void upstream_read(struct upstream *u, struct front_op *op, const struct front_read *r, uint64_t now_ns);
void upstream_stream(struct upstream *u, struct front_op *op, uint64_t now_ns);
void upstream_cancel(struct upstream *u, struct front_op *op);

/* The book may have changed: is pumping due? Cheap. */
void upstream_look(struct upstream *u);
void upstream_pump(struct upstream *u, uint64_t now_ns); /* looks at the book, too */
bool upstream_wants_pump(const struct upstream *u);
uint64_t upstream_wakeup_ns(const struct upstream *u);

/* Answers everything that waits as if its time were over. */
void upstream_give_up(struct upstream *u);

/* The primary's numbers, for ROLE. False: none now. */
bool upstream_primary(const struct upstream *u, leash_seq *ret_commit);
/* Nodes other than the primary that are connected and say that they follow it. */
uint32_t upstream_replicas(const struct upstream *u, struct front_replica *ret_replicas, uint32_t max);

#endif
