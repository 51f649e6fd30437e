/*
 * Between keys.c (names, encoders, the view) and keys_json.c (decoders): reading the fields of one JSON object. The
 * first error is kept and later reads are no-ops, so a decoder reads as a list of fields with one check at the end.
 */
#ifndef LEASH_ETCD_KEYS_PRIV_H
#define LEASH_ETCD_KEYS_PRIV_H

#include <json-c/json.h>

#include "etcd/keys.h"

struct keys_in {
	struct json_object *o; /* the object read from */
	char *reason;          /* the first error, KEYS_REASON_MAX */
	int error;             /* 0, KEYS_E_MALFORMED, -ENOMEM */
};

/* @in->o is owned by the caller: keys_in_close(). On an error the reads below give 0, "" and false. */
struct keys_in keys_in_open(struct bytes json, char reason[KEYS_REASON_MAX]);
void keys_in_close(struct keys_in *in);

void keys_in_fail(struct keys_in *in, const char *name, const char *what);
struct json_object *keys_in_field(struct keys_in *in, const char *name, enum json_type type, const char *want);
bool keys_in_has(const struct keys_in *in, const char *name);
uint64_t keys_in_uint(struct keys_in *in, const char *name, uint64_t min, uint64_t max);
int32_t keys_in_int32(struct keys_in *in, const char *name);
bool keys_in_bool(struct keys_in *in, const char *name);
leash_id keys_in_id(struct keys_in *in, const char *name, bool may_be_none);
void keys_in_text(struct keys_in *in, const char *name, size_t bytes_max, char *ret_text);
void keys_in_name(struct keys_in *in, const char *name, bool may_be_empty, char ret_name[LEASH_NAME_MAX + 1]);

#endif
