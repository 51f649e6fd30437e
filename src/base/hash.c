#include "base/hash.h"

#define XXH_INLINE_ALL /* most of what is hashed here is short: the call would cost as much as the hash */
#include <xxhash.h>

uint64_t hash_64(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}

struct hash128 hash_128(const void *p, size_t len, uint64_t seed)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(p, len, seed);

	return (struct hash128){ .lo = h.low64, .hi = h.high64 };
}
