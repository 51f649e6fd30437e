/*
 * The numbers that mean something in every module. Pure.
 */
#ifndef LEASH_BASE_TYPES_H
#define LEASH_BASE_TYPES_H

#include <stdint.h>

typedef uint64_t leash_seq;   /* sequence number; the first record is 1, 0 = none */
typedef uint64_t leash_epoch; /* fencing number, raised in every takeover; 0 = none */
typedef uint64_t leash_id;    /* random id (incarnation, run, cluster); 0 = none; 16 hex digits in text */

#define LEASH_NAME_MAX 63  /* bytes of a node's or an engine's name, without the NUL: [A-Za-z0-9._-]+ */
#define LEASH_ADDR_MAX 127 /* bytes of host:port, without the NUL */

/* The running hash over the whole log up to a record (design 6). Of the empty log: all zero. */
struct leash_chain {
	uint64_t lo, hi;
};

static inline int leash_chain_eq(struct leash_chain a, struct leash_chain b)
{
	return a.lo == b.lo && a.hi == b.hi;
}

#endif
