/*
 * What the gateway gives to its next life and takes from the former (keep.h): out of the workers and the book, and into
 * them. The main thread's.
 */
#ifndef LEASH_GATEWAY_HANDOVER_H
#define LEASH_GATEWAY_HANDOVER_H

#include "gateway/keep.h"
#include "gateway/worker.h"

/* Before the workers are started; the book has its engines. Takes over what is in @k. -ENOMEM: the rest is still there. */
int handover_in(struct crew *crew, struct keep *k) _must_check_;

/* When all workers are done. Takes from them what they kept. -ENOMEM: what has no room stays with them and is closed. */
int handover_out(struct crew *crew, struct keep *ret_keep) _must_check_;

#endif
