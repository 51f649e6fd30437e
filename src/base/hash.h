/*
 * Hashes: XXH3 of xxHash. They detect accidents, not forgery. Pure.
 */
#ifndef LEASH_BASE_HASH_H
#define LEASH_BASE_HASH_H

#include "base/util.h"

struct hash128 {
	uint64_t lo, hi;
};

uint64_t hash_64(const void *p, size_t len, uint64_t seed);
struct hash128 hash_128(const void *p, size_t len, uint64_t seed);

static inline bool hash128_eq(struct hash128 a, struct hash128 b)
{
	return a.lo == b.lo && a.hi == b.hi;
}

#endif
