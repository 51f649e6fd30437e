/* The answer to PEER_INFO_STREAM: one flat JSON object of numbers, named as in struct front_stream. */
#include <json-c/json.h>

#include "gateway/upstream_int.h"

#define JSON_BYTES_MAX 65536

static void number(json_object *o, const char *name, uint64_t *to)
{
	json_object *v;

	if (json_object_object_get_ex(o, name, &v) && json_object_is_type(v, json_type_int) &&
		json_object_get_int64(v) >= 0)
		*to = (uint64_t)json_object_get_int64(v);
}

/* What a node does not tell stays as it is: an older one may know less. */
bool stream_json_decode(struct bytes json, struct front_stream *s)
{
	json_tokener *tok;
	json_object *o;

	if (json.len == 0 || json.len > JSON_BYTES_MAX)
		return false;
	tok = json_tokener_new_ex(8);
	if (!tok)
		return false;
	o = json_tokener_parse_ex(tok, (const char *)json.p, (int)json.len);
	json_tokener_free(tok);
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return false;
	}
	number(o, "start", &s->start);
	number(o, "commit", &s->commit);
	number(o, "epoch", &s->epoch);
	number(o, "segments", &s->segments);
	number(o, "dedup_window", &s->dedup_window);
	number(o, "dedup_time_s", &s->dedup_time_s);
	number(o, "producers", &s->producers);
	number(o, "ids", &s->ids);
	number(o, "ids_added", &s->ids_added);
	number(o, "duplicates", &s->duplicates);
	json_object_put(o);
	return true;
}
