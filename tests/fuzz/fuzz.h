/*
 * What the fuzz targets share. A target is one file fuzz_<name>.c with LLVMFuzzerTestOneInput(): linked with libFuzzer it
 * is tests/fuzz/fuzz_<name>; linked with replay.c it runs over its corpus in `make check`, with any compiler.
 *
 * A target checks an invariant with must(), which stays in every build. It takes its choices from the first bytes of the
 * input and is a function of the input alone: no clock, no random numbers, nothing kept from one input to the next.
 */
#ifndef LEASH_TESTS_FUZZ_H
#define LEASH_TESTS_FUZZ_H

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The next part of @left that a peer sends at once: 1 to 24 bytes, all of it now and then; by @state. At least 1. */
static inline size_t fuzz_piece(uint64_t *state, size_t left)
{
	uint64_t r;

	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	r = *state >> 33;
	if (r % 16 == 0)
		return left;
	return MIN2(left, (size_t)(1 + r % 24));
}

/* As must(), for what the code under test returned with -ENOMEM: without memory a run has nothing to say. */
static inline void fuzz_put(struct buf *b, const void *p, size_t n)
{
	int r = buf_put(b, p, n);

	must(r == 0);
}

/* A copy of exactly @len bytes on the heap, so that the address sanitizer sees one byte too many. free() it. */
static inline uint8_t *fuzz_copy(const void *p, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	must(copy);
	if (len)
		memcpy(copy, p, len);
	return copy;
}

static inline bool fuzz_same(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

#endif
