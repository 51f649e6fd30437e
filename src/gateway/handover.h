/*
 * What the gateway gives to its next life and takes from the former (keep.h): out of the workers and the book, and into
 * them. The main thread's.
 */
#ifndef LEASH_GATEWAY_HANDOVER_H
#define LEASH_GATEWAY_HANDOVER_H

#include "gateway/keep.h"
#include "gateway/worker.h"

struct notify_fds;

/* Before the workers are started; the book has its engines. Says what it took and what was lost. 0, or -ENOMEM. */
int handover_take(struct crew *crew, struct notify_fds *fds) _must_check_;

/* When all workers are done. Says what was given; what cannot be given is closed with the workers. */
void handover_store(struct crew *crew);

#endif
