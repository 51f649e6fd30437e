/*
 * Hash tables: uthash with our own hash (its default one falls through between labels in a way that clang warns of) and
 * without its exit(): no memory is an assert, since a table that silently lacks an entry would be worse.
 */
#ifndef LEASH_BASE_TABLE_H
#define LEASH_BASE_TABLE_H

#include "base/hash.h"

#define uthash_fatal(msg) base_assert_failed(msg, __FILE__, __LINE__, __func__)
#define HASH_FUNCTION(keyptr, keylen, hashv) ((hashv) = (unsigned)hash_64((keyptr), (keylen), 0))
#include <uthash.h>

#endif
