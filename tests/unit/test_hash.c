#include "base/hash.h"

#include "unit.h"

/* What is on disk and on the wire depends on these never changing. Values: xxhsum of xxHash 0.8. */
START_TEST(known_values)
{
	ck_assert_uint_eq(hash_64("", 0, 0), UINT64_C(0x2d06800538d394c2));
	ck_assert(hash128_eq(hash_128("", 0, 0),
		(struct hash128){ .lo = UINT64_C(0x6001c324468d497f), .hi = UINT64_C(0x99aa06d3014798d8) }));
}
END_TEST

START_TEST(every_bit_and_the_seed_count)
{
	uint8_t b[64] = { 0 };
	struct hash128 first = hash_128(b, sizeof b, 7);

	ck_assert(!hash128_eq(first, hash_128(b, sizeof b, 8)));
	ck_assert(!hash128_eq(first, hash_128(b, sizeof b - 1, 7)));
	for (size_t bit = 0; bit < 8 * sizeof b; bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert(!hash128_eq(first, hash_128(b, sizeof b, 7)));
		ck_assert_uint_ne(hash_64(b, sizeof b, 7), first.lo);
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	ck_assert(hash128_eq(first, hash_128(b, sizeof b, 7)));
}
END_TEST

UNIT_MAIN("hash", tcase_add_test(tc, known_values); tcase_add_test(tc, every_bit_and_the_seed_count))
