/*
 * Makes the checksums of records in fuzzed bytes right again, as far as their lengths allow. Without it no input would come
 * past the first checksum.
 */
#ifndef LEASH_TESTS_FUZZ_SEAL_H
#define LEASH_TESTS_FUZZ_SEAL_H

#include "wire/record.h"

void fuzz_u64le(uint8_t *p, uint64_t v);

/* One body: its last 8 bytes. */
void seal_body(uint8_t *body, size_t len);

/*
 * The record at @p: body, body hash, chain from @prev, header. Returns its bytes and the chain behind it; 0: no record
 * begins here, or it does not end within @len.
 */
size_t seal_record(uint8_t *p, size_t len, struct leash_chain *prev);

/* All records in @p, wherever they begin; the chain starts anew with the first one's. */
void seal_records(uint8_t *p, size_t len);

#endif
