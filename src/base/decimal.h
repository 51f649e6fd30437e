/*
 * Decimal numbers: what snprintf() would do for one, on paths that run for each record. Pure.
 */
#ifndef LEASH_BASE_DECIMAL_H
#define LEASH_BASE_DECIMAL_H

#include "base/util.h"

#define DECIMAL_U64_BYTES 20 /* of a number at most; no NUL is written */
#define DECIMAL_I64_BYTES 21

/* Writes @v without leading zeros; returns how many bytes it took. */
size_t decimal_u64(uint64_t v, char to[DECIMAL_U64_BYTES]);
size_t decimal_i64(int64_t v, char to[DECIMAL_I64_BYTES]);

#endif
