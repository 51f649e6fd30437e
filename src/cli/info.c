#include "cli/info.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/sock.h"

static const char *get_text(struct json_object *o, const char *name)
{
	struct json_object *f;

	if (!json_object_object_get_ex(o, name, &f) || !json_object_is_type(f, json_type_string))
		return "";
	return json_object_get_string(f);
}

static uint64_t get_number(struct json_object *o, const char *name)
{
	struct json_object *f;

	if (!json_object_object_get_ex(o, name, &f) || !json_object_is_type(f, json_type_int) ||
		json_object_get_int64(f) < 0)
		return 0;
	return json_object_get_uint64(f);
}

static bool get_bool(struct json_object *o, const char *name)
{
	struct json_object *f;

	return json_object_object_get_ex(o, name, &f) && json_object_get_boolean(f);
}

static leash_id get_id(struct json_object *o, const char *name)
{
	leash_id id;

	return id_parse(get_text(o, name), &id) ? id : 0;
}

/* An object inside; an empty one's fields are all missing. */
static struct json_object *get_object(struct json_object *o, const char *name)
{
	struct json_object *f;

	return json_object_object_get_ex(o, name, &f) && json_object_is_type(f, json_type_object) ? f : NULL;
}

#define COPY_TEXT(to, o, name) (void)snprintf((to), sizeof(to), "%s", get_text((o), (name)))

static void read_peers(struct info_node *n, struct json_object *o)
{
	struct json_object *a;

	if (!json_object_object_get_ex(o, "peers", &a) || !json_object_is_type(a, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(a) && n->n_peers < REP_NODES_MAX; i++) {
		struct json_object *p = json_object_array_get_idx(a, i);
		struct info_peer *to = &n->peers[n->n_peers];

		if (!json_object_is_type(p, json_type_object))
			continue;
		COPY_TEXT(to->node, p, "node");
		to->linked = get_bool(p, "linked");
		to->insync = get_bool(p, "in_sync");
		to->matched = get_number(p, "matched");
		COPY_TEXT(to->why_absent, p, "why_absent");
		n->n_peers++;
	}
}

static void read_log(struct info_node *n, struct json_object *o)
{
	n->log_epoch = get_number(o, "log_epoch");
	n->log_matched = get_number(o, "log_matched");
	n->log_start = get_number(o, "start");
	n->log_end = get_number(o, "end");
	n->commit = get_number(o, "readable");
	n->last_epoch = get_number(o, "last_epoch");
	n->has_last_epoch = json_object_object_get_ex(o, "last_epoch", NULL);
}

/* What the node keeps beside its log, and the in-sync set as it knows it: either may be the newer. */
static void read_cluster(struct info_node *n, struct json_object *o)
{
	if (!o)
		return;
	n->insync_version = MAX2(n->insync_version, get_number(o, "version"));
	n->insync_version = MAX2(n->insync_version, get_number(o, "insync_version"));
	n->recovery = MAX2(n->recovery, get_number(o, "recovery"));
	n->dedup_window = MAX2(n->dedup_window, get_number(o, "dedup_window"));
	n->min_insync = MAX2(n->min_insync, (uint32_t)get_number(o, "min_insync"));
}

static void read_members(struct info_node *n, struct json_object *insync)
{
	struct json_object *a;

	if (!insync || !json_object_object_get_ex(insync, "members", &a) || !json_object_is_type(a, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(a) && n->n_members < REP_NODES_MAX; i++) {
		struct json_object *m = json_object_array_get_idx(a, i);

		if (!json_object_is_type(m, json_type_object))
			continue;
		COPY_TEXT(n->members[n->n_members].node, m, "node");
		n->members[n->n_members++].incarnation = get_id(m, "incarnation");
	}
}

bool info_read(struct info_node *n, struct bytes json)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o = tok ? json_tokener_parse_ex(tok, (const char *)json.p, (int)json.len) : NULL;

	if (tok)
		json_tokener_free(tok);
	if (!json_object_is_type(o, json_type_object)) {
		(void)json_object_put(o);
		return false;
	}
	n->json = o;
	COPY_TEXT(n->node, o, "node");
	COPY_TEXT(n->engine, o, "engine");
	COPY_TEXT(n->role, o, "role");
	COPY_TEXT(n->primary, o, "primary");
	COPY_TEXT(n->primary_address, o, "primary_address");
	COPY_TEXT(n->halted, o, "halted");
	n->epoch = get_number(o, "epoch");
	n->cluster = get_id(o, "cluster");
	n->incarnation = get_id(o, "incarnation");
	n->run = get_id(o, "run");
	n->promise = get_number(o, "promise");
	n->serving = get_bool(o, "serving");
	n->etcd_reachable = get_bool(o, "etcd_reachable");
	n->below_min = get_bool(o, "below_min");
	n->state_gone = get_bool(o, "state_gone");
	if (get_object(o, "log"))
		read_log(n, get_object(o, "log"));
	read_cluster(n, o);
	read_cluster(n, get_object(o, "insync"));
	read_members(n, get_object(o, "insync"));
	read_peers(n, o);
	return true;
}

struct ask {
	struct info_node *node;
	const char *engine;
	uint64_t deadline_ns;
	pthread_t thread;
	bool started;
};

static void ask_one(struct info_node *n, const char *engine, uint64_t deadline_ns)
{
	struct peerc p = PEERC_NULL;
	struct units_addr a;
	struct bytes json;
	int r = -EINVAL;

	if (units_addr(n->address, &a))
		r = peerc_open(&p, &a, engine, deadline_ns, n->why);
	else
		(void)snprintf(n->why, sizeof n->why, "\"%.60s\" is no address", n->address);
	if (r == 0)
		r = peerc_info(&p, PEER_INFO_NODE, deadline_ns, &json, n->why);
	if (r == 0 && !info_read(n, json)) {
		(void)snprintf(n->why, sizeof n->why, "its answer is no JSON object");
		r = -EPROTO;
	}
	if (r == 0 && n->node[0] == '\0')
		memcpy(n->node, p.welcome.node, sizeof n->node);
	n->heard = r == 0;
	n->error = r;
	peerc_close(&p);
}

static void *ask_thread(void *arg)
{
	struct ask *a = arg;

	ask_one(a->node, a->engine, a->deadline_ns);
	return NULL;
}

void info_ask(struct info_node *nodes, size_t n, const char *engine, uint32_t timeout_ms)
{
	struct ask asks[INFO_NODES_MAX] = { 0 };
	uint64_t deadline_ns = clk_boot_ns() + timeout_ms * NS_PER_MS;

	must(n <= INFO_NODES_MAX);
	for (size_t i = 0; i < n; i++) {
		asks[i] = (struct ask){ .node = &nodes[i], .engine = engine, .deadline_ns = deadline_ns };
		asks[i].started = pthread_create(&asks[i].thread, NULL, ask_thread, &asks[i]) == 0;
		if (!asks[i].started) /* then one after the other */
			ask_one(&nodes[i], engine, deadline_ns);
	}
	for (size_t i = 0; i < n; i++)
		if (asks[i].started)
			(void)pthread_join(asks[i].thread, NULL); /* cannot fail for a thread of ours */
}

void info_deinit(struct info_node *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		(void)json_object_put(nodes[i].json);
		nodes[i].json = NULL;
	}
}

bool info_is_member(const struct info_node *n, const struct info_node *who)
{
	for (uint32_t i = 0; i < n->n_members; i++)
		if (strcmp(n->members[i].node, who->node) == 0 && n->members[i].incarnation == who->incarnation)
			return true;
	return false;
}

const char *info_absence(const struct info_node *n)
{
	switch (n->error) {
	case -ECONNREFUSED: return "refused: nothing listens there";
	case -ETIMEDOUT: return "unreachable: no answer in time";
	case -EHOSTUNREACH:
	case -ENETUNREACH: return "unreachable: no route";
	default: return n->why;
	}
}
