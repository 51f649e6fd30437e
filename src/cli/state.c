#include "cli/state.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#define CALL_TIMEOUT_MS   5000
#define HEALTH_TIMEOUT_MS 2000

struct state {
	struct event_base *base;
	struct etcd *etcd;
	char engine[LEASH_NAME_MAX + 1];
};

/* One call under way. */
struct wait {
	bool done;
	int r;
	char *why;
	struct keys_view *view; /* of a read */
	const char *engine;
	bool succeeded; /* of a transaction */
};

void state_freep(struct state **sp)
{
	struct state *s = *sp;

	if (!s)
		return;
	etcd_free(s->etcd);
	if (s->base)
		event_base_free(s->base);
	free(s);
	*sp = NULL;
}

/* The first line of a file, without its line end. */
static int read_password(const char *path, char **ret_password)
{
	_cleanup_(freep) char *line = NULL;
	FILE *f = fopen(path, "re");
	size_t cap = 0;
	ssize_t n;

	if (!f)
		return -errno;
	n = getline(&line, &cap, f);
	(void)fclose(f); /* only read */
	if (n < 0)
		return -ENODATA;
	line[strcspn(line, "\r\n")] = '\0';
	*ret_password = TAKE(line);
	return 0;
}

/* Like etcdctl, "host:port" alone is good enough. */
static int make_urls(const struct conf_list *in, char urls[ETCD_ENDPOINTS_MAX][256],
	const char *list[ETCD_ENDPOINTS_MAX], char why[STATE_TEXT])
{
	if (in->n > ETCD_ENDPOINTS_MAX) {
		(void)snprintf(why, STATE_TEXT, "more than %d endpoints", ETCD_ENDPOINTS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < in->n; i++) {
		const char *scheme = strstr(in->items[i], "://") ? "" : "http://";

		if (snprintf(urls[i], 256, "%s%s", scheme, in->items[i]) >= 256) {
			(void)snprintf(why, STATE_TEXT, "endpoint \"%.60s...\" is too long", in->items[i]);
			return -EINVAL;
		}
		list[i] = urls[i];
	}
	return 0;
}

int state_open(const struct cli_etcd *o, struct state **ret_state, char why[STATE_TEXT])
{
	_cleanup_(state_freep) struct state *s = calloc(1, sizeof *s);
	_cleanup_(freep) char *password = NULL;
	char urls[ETCD_ENDPOINTS_MAX][256];
	const char *list[ETCD_ENDPOINTS_MAX];
	struct etcd_conf conf = { .endpoints = list, .n_endpoints = o->endpoints.n, .cacert = o->cacert,
		.cert = o->cert, .key = o->key, .user = o->user, .timeout_ms = CALL_TIMEOUT_MS };
	int r = s ? make_urls(&o->endpoints, urls, list, why) : -ENOMEM;

	if (r == 0 && o->password_file) {
		r = read_password(o->password_file, &password);
		if (r < 0)
			(void)snprintf(why, STATE_TEXT, "cannot read \"%.120s\": %s", o->password_file, strerror(-r));
	}
	if (r < 0)
		return r;
	conf.password = password;
	memcpy(s->engine, o->engine, strlen(o->engine) + 1);
	s->base = event_base_new();
	r = s->base ? etcd_new(s->base, &conf, &s->etcd) : -ENOMEM;
	if (r < 0) {
		(void)snprintf(why, STATE_TEXT, "%s",
			r == -EINVAL ? "what is said about etcd makes no sense: endpoints are http://HOST:PORT or "
				       "https://HOST:PORT, a certificate needs its key, a password its user" :
				       strerror(-r));
		return r;
	}
	*ret_state = TAKE(s);
	return 0;
}

static void finish(struct wait *w, const struct etcd_answer *a)
{
	w->done = true;
	if (a->result == ETCD_OK)
		return;
	w->r = etcd_in_doubt(a->result) ? -EINPROGRESS : -EIO;
	(void)snprintf(w->why, STATE_TEXT, "etcd: %s%s%.120s%s%.60s", etcd_result_name(a->result), a->reason[0] ? ": " : "",
		a->reason, a->endpoint[0] ? " at " : "", a->endpoint);
}

/* Runs the loop until the call has called back. @r: what starting it returned. */
static int wait_for(struct state *s, struct wait *w, int r)
{
	if (r < 0)
		(void)snprintf(w->why, STATE_TEXT, "etcd: %s", strerror(-r));
	if (r < 0)
		return r;
	while (!w->done) {
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0) {
			(void)snprintf(w->why, STATE_TEXT, "the event loop failed");
			return -EIO;
		}
	}
	return w->r;
}

static void on_range(void *ctx, const struct etcd_answer *a)
{
	struct wait *w = ctx;

	finish(w, a);
	if (a->result == ETCD_OK)
		w->r = keys_view_of_range(w->engine, (uint64_t)a->header.revision, false, a->range.kvs, a->range.n_kvs,
			w->view);
	if (w->r == -ENOMEM)
		(void)snprintf(w->why, STATE_TEXT, "out of memory");
}

int state_view(struct state *s, struct keys_view *ret_view, char why[STATE_TEXT])
{
	struct wait w = { .why = why, .view = ret_view, .engine = s->engine };
	char prefix[KEYS_NAME_MAX + 1];
	struct etcd_range_req req = { .key = etcd_str(keys_prefix(s->engine, prefix)), .prefix = true };

	return wait_for(s, &w, etcd_range(s->etcd, &req, 0, on_range, &w, NULL));
}

struct get {
	struct wait wait;
	struct buf *value;
	uint64_t mod;
};

static void on_get(void *ctx, const struct etcd_answer *a)
{
	struct get *g = ctx;

	finish(&g->wait, a);
	if (a->result != ETCD_OK || a->range.n_kvs == 0)
		return;
	g->mod = (uint64_t)a->range.kvs[0].mod_revision;
	g->wait.r = buf_put(g->value, a->range.kvs[0].value.p, a->range.kvs[0].value.len);
	if (g->wait.r < 0)
		(void)snprintf(g->wait.why, STATE_TEXT, "%s", strerror(-g->wait.r));
}

int state_get(struct state *s, const char *key, struct buf *value, uint64_t *ret_mod, char why[STATE_TEXT])
{
	struct get g = { .wait = { .why = why }, .value = value };
	struct etcd_range_req req = { .key = etcd_str(key) };
	int r = wait_for(s, &g.wait, etcd_range(s->etcd, &req, 0, on_get, &g, NULL));

	if (r == 0)
		*ret_mod = g.mod;
	return r;
}

static void on_txn(void *ctx, const struct etcd_answer *a)
{
	struct wait *w = ctx;

	finish(w, a);
	if (a->result == ETCD_OK)
		w->succeeded = a->txn.succeeded;
}

int state_txn(struct state *s, const struct etcd_txn_req *req, bool *ret_done, char why[STATE_TEXT])
{
	struct wait w = { .why = why };
	int r = wait_for(s, &w, etcd_txn(s->etcd, req, 0, on_txn, &w, NULL));

	if (r == 0)
		*ret_done = w.succeeded;
	return r;
}

size_t state_endpoints(const struct state *s)
{
	return etcd_endpoint_count(s->etcd);
}

const char *state_endpoint(const struct state *s, size_t i)
{
	return etcd_endpoint_url(s->etcd, i);
}

static void on_health(void *ctx, const struct etcd_answer *a)
{
	finish(ctx, a);
}

int state_health(struct state *s, size_t i, char why[STATE_TEXT])
{
	struct wait w = { .why = why };

	return wait_for(s, &w, etcd_health(s->etcd, (unsigned)i, HEALTH_TIMEOUT_MS, on_health, &w, NULL));
}
