#include "etcd/keys_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base/ids.h"

/* ----------------------------------------------------------------------------------------------------------- names */

static const char *const leaves[] = {
	[KEYS_LEADER] = "leader",
	[KEYS_INSYNC] = "insync",
	[KEYS_NODE] = "nodes/",
	[KEYS_SETTINGS] = "settings",
	[KEYS_REQUEST] = "request",
};

char *keys_prefix(const char *engine, char to[KEYS_NAME_MAX + 1])
{
	int n = snprintf(to, KEYS_NAME_MAX + 1, "%s/", engine);

	must(n > 1 && n <= KEYS_NAME_MAX);
	return to;
}

char *keys_name(const char *engine, enum keys_kind kind, const char *node, char to[KEYS_NAME_MAX + 1])
{
	int n;

	must(kind < KEYS_OTHER && (kind == KEYS_NODE) == (node != NULL));
	n = snprintf(to, KEYS_NAME_MAX + 1, "%s/%s%s", engine, leaves[kind], node ? node : "");
	must(n > 1 && n <= KEYS_NAME_MAX);
	return to;
}

enum keys_kind keys_kind_of(const char *engine, struct bytes key, char ret_node[LEASH_NAME_MAX + 1])
{
	size_t n = strlen(engine), node_at = n + 1 + strlen(leaves[KEYS_NODE]);
	char text[KEYS_NAME_MAX + 1];

	if (key.len > KEYS_NAME_MAX || key.len <= n || memcmp(key.p, engine, n) != 0 || key.p[n] != '/' ||
		memchr(key.p, '\0', key.len))
		return KEYS_OTHER;
	memcpy(text, key.p, key.len);
	text[key.len] = '\0';
	for (enum keys_kind k = KEYS_LEADER; k < KEYS_OTHER; k++)
		if (k != KEYS_NODE && strcmp(text + n + 1, leaves[k]) == 0)
			return k;
	if (strncmp(text + n + 1, leaves[KEYS_NODE], strlen(leaves[KEYS_NODE])) != 0 || !name_valid(text + node_at))
		return KEYS_OTHER;
	memcpy(ret_node, text + node_at, strlen(text + node_at) + 1);
	return KEYS_NODE;
}

/* --------------------------------------------------------------------------------------------------------- encoding */

/* An object under construction; the first failure is kept. */
struct keys_out {
	struct json_object *o;
	bool oom;
};

static struct keys_out out_new(void)
{
	struct json_object *o = json_object_new_object();

	return (struct keys_out){ .o = o, .oom = !o };
}

static void out_add(struct keys_out *out, const char *name, struct json_object *value)
{
	if (!out->oom && value && json_object_object_add(out->o, name, value) == 0)
		return;
	out->oom = true;
	(void)json_object_put(value);
}

static void out_text(struct keys_out *out, const char *name, const char *text)
{
	out_add(out, name, json_object_new_string(text));
}

static void out_uint(struct keys_out *out, const char *name, uint64_t v)
{
	must(v <= INT64_MAX);
	out_add(out, name, json_object_new_int64((int64_t)v));
}

static void out_id(struct keys_out *out, const char *name, leash_id id)
{
	char text[LEASH_ID_TEXT];

	out_text(out, name, id_format(id, text));
}

static int out_finish(struct keys_out *out, struct buf *to)
{
	const char *text = out->oom ? NULL :
				      json_object_to_json_string_ext(out->o,
					      JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	int r = text ? buf_put(to, text, strlen(text)) : -ENOMEM;

	(void)json_object_put(out->o);
	return r;
}

int keys_leader_encode(const struct rep_leader *l, struct buf *to)
{
	struct keys_out out = out_new();

	out_text(&out, "node", l->node);
	out_text(&out, "address", l->address);
	out_uint(&out, "epoch", l->epoch);
	out_id(&out, "incarnation", l->incarnation);
	out_id(&out, "run", l->run);
	return out_finish(&out, to);
}

static struct json_object *members_json(const struct rep_insync *set, bool *oom)
{
	struct json_object *a = json_object_new_array();

	*oom |= !a;
	for (uint32_t i = 0; a && i < set->n_members; i++) {
		struct keys_out m = out_new();

		out_text(&m, "node", set->members[i].node);
		out_id(&m, "incarnation", set->members[i].incarnation);
		if (m.oom || json_object_array_add(a, m.o) < 0) {
			*oom = true;
			(void)json_object_put(m.o);
		}
	}
	return a;
}

int keys_insync_encode(const struct rep_insync *set, struct buf *to)
{
	struct keys_out out = out_new();

	out_id(&out, "cluster", set->cluster);
	out_uint(&out, "version", set->version);
	out_uint(&out, "recovery", set->recovery);
	out_uint(&out, "epoch", set->epoch);
	out_uint(&out, "min_insync", set->min_insync);
	out_uint(&out, "dedup_window", set->dedup_window);
	out_add(&out, "members", members_json(set, &out.oom));
	return out_finish(&out, to);
}

int keys_node_encode(const struct rep_node *n, const char *release, struct buf *to)
{
	struct keys_out out = out_new();

	out_text(&out, "node", n->node);
	out_text(&out, "address", n->address);
	out_id(&out, "incarnation", n->incarnation);
	out_id(&out, "run", n->run);
	out_id(&out, "cluster", n->cluster);
	out_add(&out, "priority", json_object_new_int(n->priority));
	out_uint(&out, "log_epoch", n->log_epoch);
	out_uint(&out, "log_end", n->log_end);
	out_text(&out, "release", release);
	return out_finish(&out, to);
}

int keys_settings_encode(const struct keys_settings *s, struct buf *to)
{
	struct keys_out out = out_new();
	struct json_object *a = json_object_new_array();

	out_add(&out, "paused", json_object_new_boolean(s->paused));
	for (uint32_t i = 0; a && i < s->n_drained; i++) {
		struct json_object *name = json_object_new_string(s->drained[i]);

		if (!name || json_object_array_add(a, name) < 0) {
			out.oom = true;
			(void)json_object_put(name);
		}
	}
	out_add(&out, "drained", a);
	return out_finish(&out, to);
}

int keys_request_encode(const struct keys_request *q, struct buf *to)
{
	struct keys_out out = out_new();

	out_text(&out, "op", "switchover");
	out_text(&out, "to", q->to);
	out_id(&out, "id", q->id);
	if (q->state != KEYS_REQUEST_OPEN) {
		out_text(&out, "state", q->state == KEYS_REQUEST_DONE ? "done" : "failed");
		out_text(&out, "text", q->text);
	}
	return out_finish(&out, to);
}

/* ------------------------------------------------------------------------------------------------------------ view */

void keys_view_init(struct keys_view *v, const char *engine, uint64_t revision, bool authoritative)
{
	*v = (struct keys_view){ .view = { .revision = revision, .authoritative = authoritative } };
	must(strlen(engine) <= LEASH_NAME_MAX);
	memcpy(v->engine, engine, strlen(engine) + 1);
}

static void note_bad(struct keys_view *v, struct bytes key, const char *reason)
{
	if (v->n_bad++ == 0)
		(void)snprintf(v->bad, sizeof v->bad, "%.*s: %s", (int)MIN2(key.len, (size_t)KEYS_NAME_MAX),
			(const char *)key.p, reason);
}

static int add_leader(struct keys_view *v, const struct etcd_kv *kv, char *reason)
{
	int r = keys_leader_decode(kv->value, &v->view.leader, reason);

	v->broken |= r != 0;
	if (r)
		return r;
	v->view.leader.present = true;
	v->view.leader.mod_revision = (uint64_t)kv->mod_revision;
	v->view.leader.lease = (uint64_t)kv->lease;
	return 0;
}

static int add_insync(struct keys_view *v, const struct etcd_kv *kv, char *reason)
{
	int r = keys_insync_decode(kv->value, &v->view.insync, reason);

	v->broken |= r != 0;
	if (r)
		return r;
	v->view.insync.present = true;
	v->view.insync.mod_revision = (uint64_t)kv->mod_revision;
	return 0;
}

static int add_node(struct keys_view *v, const struct etcd_kv *kv, const char *name, char *reason)
{
	struct rep_node *n = &v->view.nodes[v->view.n_nodes];
	int r;

	if (v->view.n_nodes == REP_NODES_MAX) {
		(void)snprintf(reason, KEYS_REASON_MAX, "more than %d nodes", REP_NODES_MAX);
		return KEYS_E_MALFORMED;
	}
	r = keys_node_decode(kv->value, n, v->releases[v->view.n_nodes], reason);
	if (r)
		return r;
	if (strcmp(n->node, name) != 0) {
		(void)snprintf(reason, KEYS_REASON_MAX, "names another node");
		return KEYS_E_MALFORMED;
	}
	n->mod_revision = (uint64_t)kv->mod_revision;
	v->view.n_nodes++;
	return 0;
}

static int add_settings(struct keys_view *v, const struct etcd_kv *kv, char *reason)
{
	struct keys_settings s;
	int r = keys_settings_decode(kv->value, &s, reason);

	if (r)
		return r;
	v->view.paused = s.paused;
	v->view.n_drained = s.n_drained;
	memcpy(v->view.drained, s.drained, sizeof s.drained);
	return 0;
}

static int add_request(struct keys_view *v, const struct etcd_kv *kv, char *reason)
{
	int r = keys_request_decode(kv->value, &v->request, reason);

	if (r)
		return r;
	v->has_request = true;
	v->request_mod = (uint64_t)kv->mod_revision;
	return 0;
}

int keys_view_add(struct keys_view *v, const struct etcd_kv *kv)
{
	char reason[KEYS_REASON_MAX] = "", node[LEASH_NAME_MAX + 1];
	int r = 0;

	switch (keys_kind_of(v->engine, kv->key, node)) {
	case KEYS_LEADER: r = add_leader(v, kv, reason); break;
	case KEYS_INSYNC: r = add_insync(v, kv, reason); break;
	case KEYS_NODE: r = add_node(v, kv, node, reason); break;
	case KEYS_SETTINGS: r = add_settings(v, kv, reason); break;
	case KEYS_REQUEST: r = add_request(v, kv, reason); break;
	case KEYS_OTHER: break;
	}
	if (r == KEYS_E_MALFORMED) {
		note_bad(v, kv->key, reason);
		return 0;
	}
	return r;
}

int keys_view_of_range(const char *engine, uint64_t revision, bool authoritative, const struct etcd_kv *kvs,
	size_t n_kvs, struct keys_view *ret_view)
{
	keys_view_init(ret_view, engine, revision, authoritative);
	for (size_t i = 0; i < n_kvs; i++) {
		int r = keys_view_add(ret_view, &kvs[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
