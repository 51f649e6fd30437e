#include "etcd/keys_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base/ids.h"

#define DEPTH_MAX 8 /* of JSON that a decoder looks at */

/* ---------------------------------------------------------------------------------------------------------- reading */

static void tokener_freep(struct json_tokener **tok)
{
	if (*tok)
		json_tokener_free(*tok);
}

/* Only blanks may follow the object. */
static bool only_blanks(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (!memchr(" \t\r\n", b.p[i], 4))
			return false;
	return true;
}

void keys_in_fail(struct keys_in *in, const char *name, const char *what)
{
	if (in->error)
		return;
	in->error = KEYS_E_MALFORMED;
	if (name)
		(void)snprintf(in->reason, KEYS_REASON_MAX, "\"%s\" %s", name, what);
	else
		(void)snprintf(in->reason, KEYS_REASON_MAX, "%s", what);
}

struct keys_in keys_in_open(struct bytes json, char reason[KEYS_REASON_MAX])
{
	struct keys_in in = { .reason = reason };
	_cleanup_(tokener_freep) struct json_tokener *tok = NULL;

	if (json.len > KEYS_VALUE_MAX) {
		keys_in_fail(&in, NULL, "is too long");
		return in;
	}
	tok = json_tokener_new_ex(DEPTH_MAX);
	if (!tok) {
		in.error = -ENOMEM;
		return in;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS | JSON_TOKENER_VALIDATE_UTF8);
	if (json.len > 0)
		in.o = json_tokener_parse_ex(tok, (const char *)json.p, (int)json.len);
	if (json_tokener_get_error(tok) != json_tokener_success || !json_object_is_type(in.o, json_type_object)) {
		keys_in_fail(&in, NULL, "is no JSON object");
	} else {
		size_t end = json_tokener_get_parse_end(tok);

		if (!only_blanks((struct bytes){ json.p + end, json.len - end }))
			keys_in_fail(&in, NULL, "has something behind its JSON object");
	}
	return in;
}

void keys_in_close(struct keys_in *in)
{
	(void)json_object_put(in->o);
	in->o = NULL;
}

bool keys_in_has(const struct keys_in *in, const char *name)
{
	return !in->error && json_object_object_get_ex(in->o, name, NULL);
}

struct json_object *keys_in_field(struct keys_in *in, const char *name, enum json_type type, const char *want)
{
	struct json_object *f;

	if (in->error)
		return NULL;
	if (!json_object_object_get_ex(in->o, name, &f)) {
		keys_in_fail(in, name, "is missing");
		return NULL;
	}
	if (!json_object_is_type(f, type)) {
		keys_in_fail(in, name, want);
		return NULL;
	}
	return f;
}

uint64_t keys_in_uint(struct keys_in *in, const char *name, uint64_t min, uint64_t max)
{
	struct json_object *f = keys_in_field(in, name, json_type_int, "is no integer");
	uint64_t u;

	if (!f)
		return 0;
	/* json-c saturates: what does not fit comes as INT64_MIN or UINT64_MAX, and both are out of range here. */
	u = json_object_get_uint64(f);
	if (json_object_get_int64(f) < 0 || u > INT64_MAX || u < min || u > max) {
		keys_in_fail(in, name, "is out of range");
		return 0;
	}
	return u;
}

int32_t keys_in_int32(struct keys_in *in, const char *name)
{
	struct json_object *f = keys_in_field(in, name, json_type_int, "is no integer");
	int64_t v = f ? json_object_get_int64(f) : 0;

	if (v < INT32_MIN || v > INT32_MAX) {
		keys_in_fail(in, name, "is out of range");
		return 0;
	}
	return (int32_t)v;
}

bool keys_in_bool(struct keys_in *in, const char *name)
{
	struct json_object *f = keys_in_field(in, name, json_type_boolean, "is neither true nor false");

	return f && json_object_get_boolean(f);
}

void keys_in_text(struct keys_in *in, const char *name, size_t bytes_max, char *ret_text)
{
	struct json_object *f = keys_in_field(in, name, json_type_string, "is no string");
	const char *s = f ? json_object_get_string(f) : "";
	size_t len = strlen(s);

	ret_text[0] = '\0';
	if (!f)
		return;
	if (len != (size_t)json_object_get_string_len(f) || len > bytes_max) {
		keys_in_fail(in, name, "is too long or has a NUL in it");
		return;
	}
	memcpy(ret_text, s, len + 1);
}

leash_id keys_in_id(struct keys_in *in, const char *name, bool may_be_none)
{
	char text[LEASH_ID_TEXT];
	leash_id id = 0;

	keys_in_text(in, name, sizeof text - 1, text);
	if (in->error)
		return 0;
	if (!id_parse(text, &id) || (id == 0 && !may_be_none)) {
		keys_in_fail(in, name, "is no id of 16 hex digits");
		return 0;
	}
	return id;
}

void keys_in_name(struct keys_in *in, const char *name, bool may_be_empty, char ret_name[LEASH_NAME_MAX + 1])
{
	keys_in_text(in, name, LEASH_NAME_MAX, ret_name);
	if (!in->error && !(may_be_empty && !ret_name[0]) && !name_valid(ret_name))
		keys_in_fail(in, name, "is no valid name");
}

/* --------------------------------------------------------------------------------------------------------- decoders */

int keys_leader_decode(struct bytes json, struct rep_leader *ret_leader, char reason[KEYS_REASON_MAX])
{
	_cleanup_(keys_in_close) struct keys_in in = keys_in_open(json, reason);
	struct rep_leader l = { 0 };

	keys_in_name(&in, "node", false, l.node);
	keys_in_text(&in, "address", LEASH_ADDR_MAX, l.address);
	l.epoch = keys_in_uint(&in, "epoch", 1, INT64_MAX);
	l.incarnation = keys_in_id(&in, "incarnation", false);
	l.run = keys_in_id(&in, "run", false);
	if (!in.error)
		*ret_leader = l;
	return in.error;
}

static void read_member(struct keys_in *in, struct json_object *o, struct rep_member *m)
{
	struct keys_in sub = { .o = o, .reason = in->reason, .error = in->error };

	if (!sub.error && !json_object_is_type(o, json_type_object))
		keys_in_fail(&sub, "members", "has an item that is no object");
	keys_in_name(&sub, "node", false, m->node);
	m->incarnation = keys_in_id(&sub, "incarnation", false);
	in->error = sub.error;
}

static bool member_twice(const struct rep_insync *set)
{
	/* One name may stand there with two incarnations (R8), but no pair twice. */
	for (uint32_t i = 0; i < set->n_members; i++)
		for (uint32_t j = 0; j < i; j++)
			if (set->members[i].incarnation == set->members[j].incarnation &&
				strcmp(set->members[i].node, set->members[j].node) == 0)
				return true;
	return false;
}

static void read_members(struct keys_in *in, struct rep_insync *set)
{
	struct json_object *a = keys_in_field(in, "members", json_type_array, "is no array");
	size_t n = a ? json_object_array_length(a) : 0;

	if (a && (n == 0 || n > REP_NODES_MAX)) {
		keys_in_fail(in, "members", "has no item, or too many");
		return;
	}
	for (size_t i = 0; i < n; i++)
		read_member(in, json_object_array_get_idx(a, i), &set->members[i]);
	set->n_members = (uint32_t)n;
	if (!in->error && member_twice(set))
		keys_in_fail(in, "members", "names one twice");
}

int keys_insync_decode(struct bytes json, struct rep_insync *ret_set, char reason[KEYS_REASON_MAX])
{
	_cleanup_(keys_in_close) struct keys_in in = keys_in_open(json, reason);
	struct rep_insync set = { 0 };

	set.cluster = keys_in_id(&in, "cluster", false);
	set.version = keys_in_uint(&in, "version", 1, INT64_MAX);
	set.recovery = keys_in_uint(&in, "recovery", 0, INT64_MAX);
	set.epoch = keys_in_uint(&in, "epoch", 0, INT64_MAX);
	set.min_insync = (uint32_t)keys_in_uint(&in, "min_insync", 1, REP_NODES_MAX);
	set.dedup_window = keys_in_uint(&in, "dedup_window", 1, INT64_MAX);
	read_members(&in, &set);
	if (!in.error)
		*ret_set = set;
	return in.error;
}

int keys_node_decode(struct bytes json, struct rep_node *ret_node, char ret_release[KEYS_RELEASE_MAX + 1],
	char reason[KEYS_REASON_MAX])
{
	_cleanup_(keys_in_close) struct keys_in in = keys_in_open(json, reason);
	char release[KEYS_RELEASE_MAX + 1];
	struct rep_node n = { 0 };

	keys_in_name(&in, "node", false, n.node);
	keys_in_text(&in, "address", LEASH_ADDR_MAX, n.address);
	n.incarnation = keys_in_id(&in, "incarnation", false);
	n.run = keys_in_id(&in, "run", false);
	n.cluster = keys_in_id(&in, "cluster", true);
	n.priority = keys_in_int32(&in, "priority");
	n.log_epoch = keys_in_uint(&in, "log_epoch", 0, INT64_MAX);
	n.log_end = keys_in_uint(&in, "log_end", 0, INT64_MAX);
	keys_in_text(&in, "release", KEYS_RELEASE_MAX, release);
	if (in.error)
		return in.error;
	*ret_node = n;
	if (ret_release)
		memcpy(ret_release, release, sizeof release);
	return 0;
}

static void read_drained(struct keys_in *in, struct keys_settings *s)
{
	struct json_object *a = keys_in_field(in, "drained", json_type_array, "is no array");
	size_t n = a ? json_object_array_length(a) : 0;

	if (n > REP_NODES_MAX) {
		keys_in_fail(in, "drained", "has too many items");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(a, i);
		const char *name = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : "";

		if (!name_valid(name)) {
			keys_in_fail(in, "drained", "has an item that is no valid name");
			return;
		}
		memcpy(s->drained[i], name, strlen(name) + 1);
	}
	s->n_drained = (uint32_t)n;
}

int keys_settings_decode(struct bytes json, struct keys_settings *ret_settings, char reason[KEYS_REASON_MAX])
{
	_cleanup_(keys_in_close) struct keys_in in = keys_in_open(json, reason);
	struct keys_settings s = { 0 };

	s.paused = keys_in_bool(&in, "paused");
	read_drained(&in, &s);
	if (!in.error)
		*ret_settings = s;
	return in.error;
}

static void read_outcome(struct keys_in *in, struct keys_request *q)
{
	char state[8];

	if (!keys_in_has(in, "state"))
		return;
	keys_in_text(in, "state", sizeof state - 1, state);
	keys_in_text(in, "text", KEYS_TEXT_MAX, q->text);
	if (in->error)
		return;
	if (strcmp(state, "done") == 0)
		q->state = KEYS_REQUEST_DONE;
	else if (strcmp(state, "failed") == 0)
		q->state = KEYS_REQUEST_FAILED;
	else
		keys_in_fail(in, "state", "is neither \"done\" nor \"failed\"");
}

int keys_request_decode(struct bytes json, struct keys_request *ret_request, char reason[KEYS_REASON_MAX])
{
	_cleanup_(keys_in_close) struct keys_in in = keys_in_open(json, reason);
	struct keys_request q = { .op = KEYS_OP_SWITCHOVER };
	char op[16];

	keys_in_text(&in, "op", sizeof op - 1, op);
	if (!in.error && strcmp(op, "switchover") != 0)
		keys_in_fail(&in, "op", "is no known operation");
	q.id = keys_in_id(&in, "id", false);
	keys_in_name(&in, "to", true, q.to);
	read_outcome(&in, &q);
	if (!in.error)
		*ret_request = q;
	return in.error;
}
