/*
 * What the tests of the etcd client share: a loop that runs until a condition holds, calls that are waited for, a
 * watch that is written down. Header only; each test case has one `struct t`.
 */
#ifndef LEASH_TESTS_ETCD_CLIENT_UTIL_H
#define LEASH_TESTS_ETCD_CLIENT_UTIL_H

#include <check.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/clk.h"
#include "etcd/watch.h"
#include "etcd_fixture.h"

#define WAIT_MS 20000

struct t {
	struct event_base *base;
	struct etcd_fixture *f;
	struct etcd *e;
};

static inline struct etcd_conf t_conf(const struct etcd_fixture *f)
{
	return (struct etcd_conf){
		.endpoints = etcd_fixture_urls(f),
		.n_endpoints = etcd_fixture_count(f),
		.timeout_ms = 12000, /* a busy disk may take seconds for a sync */
	};
}

static inline struct t t_new(const struct etcd_fixture_opts *opts)
{
	struct t t = { .base = event_base_new(), .f = etcd_fixture_new(opts) };
	struct etcd_conf conf = t_conf(t.f);

	ck_assert_int_eq(etcd_new(t.base, &conf, &t.e), 0);
	return t;
}

static inline void t_free(struct t *t)
{
	etcd_free(t->e);
	event_base_free(t->base);
	etcd_fixture_free(t->f);
}

static inline void t_tick(evutil_socket_t fd _unused_, short what _unused_, void *ctx _unused_)
{
}

/* One turn of the loop, at most about 10 ms long. */
static inline void t_turn(struct event_base *base)
{
	struct timeval tv = { .tv_usec = 10000 };
	struct event *tick = evtimer_new(base, t_tick, NULL);

	(void)event_add(tick, &tv);
	(void)event_base_loop(base, EVLOOP_ONCE);
	event_free(tick);
}

/* Runs the loop until @cond holds; a test that waits in vain fails where it stands. */
#define T_UNTIL(base, cond)                                                                                  \
	do {                                                                                                 \
		uint64_t until_end_ns = clk_mono_ns() + WAIT_MS * NS_PER_MS;                                 \
		while (!(cond)) {                                                                            \
			ck_assert_msg(clk_mono_ns() < until_end_ns, "waited in vain for: %s", #cond);        \
			t_turn(base);                                                                        \
		}                                                                                            \
	} while (0)

/* ---- one call */

struct got {
	unsigned n; /* times called back */
	struct etcd_answer a;
	char reason[256], endpoint[128];
	int64_t id, ttl_s, count, mod_revision, deleted;
	size_t n_kvs, n_responses;
	char key[64], value[64], text[64]; /* of the first pair */
	bool succeeded;
	uint64_t leader;
	size_t n_members;
};

static inline void got_range(struct got *g, const struct etcd_range_resp *r)
{
	g->n_kvs = r->n_kvs;
	g->count = r->count;
	if (!r->n_kvs)
		return;
	(void)snprintf(g->key, sizeof g->key, "%s", (const char *)r->kvs[0].key.p);
	(void)snprintf(g->value, sizeof g->value, "%s", (const char *)r->kvs[0].value.p);
	g->mod_revision = r->kvs[0].mod_revision;
}

/* What all kinds have; the pointers in .a go bad, the copies stay. */
static inline void got_any(void *ctx, const struct etcd_answer *a)
{
	struct got *g = ctx;

	g->n++;
	g->a = *a;
	(void)snprintf(g->reason, sizeof g->reason, "%s", a->reason);
	(void)snprintf(g->endpoint, sizeof g->endpoint, "%s", a->endpoint);
}

#define GOT_FN(name, body)                                                                                   \
	static inline void name(void *ctx, const struct etcd_answer *a)                                     \
	{                                                                                                    \
		struct got *g = ctx;                                                                         \
		got_any(g, a);                                                                               \
		if (a->result == ETCD_OK) {                                                                  \
			body;                                                                                \
		}                                                                                            \
	}

GOT_FN(got_kvs, got_range(g, &a->range))
GOT_FN(got_deleted, g->deleted = a->deleted)
GOT_FN(got_lease, g->id = a->lease.id; g->ttl_s = a->lease.ttl_s)
GOT_FN(got_txn, g->succeeded = a->txn.succeeded; g->n_responses = a->txn.n_responses;
	if (a->txn.n_responses && a->txn.responses[0].kind == ETCD_OP_RANGE) got_range(g, &a->txn.responses[0].range))
GOT_FN(got_members, g->n_members = a->members.n_members)
GOT_FN(got_status, g->leader = a->status.leader)
GOT_FN(got_version, (void)snprintf(g->text, sizeof g->text, "%s", a->version.server))

/* Starts a call, which must not call back at once, and waits for its one answer. */
#define CALL(base, g, start)                                                                                 \
	do {                                                                                                 \
		int call_r;                                                                                  \
		memset(&(g), 0, sizeof(g));                                                                  \
		call_r = (start);                                                                            \
		ck_assert_int_eq(call_r, 0);                                                                 \
		ck_assert_uint_eq((g).n, 0);                                                                 \
		T_UNTIL(base, (g).n);                                                                        \
	} while (0)

#define RESULT(g, want)                                                                                      \
	ck_assert_msg((g).a.result == (want), "%s (%s, %s), not %s", etcd_result_name((g).a.result), (g).reason,  \
		(g).endpoint, etcd_result_name(want))

static inline int start_put(struct etcd *e, const char *key, const char *value, int64_t lease, uint32_t ms,
	struct got *g)
{
	struct etcd_put_req req = { etcd_str(key), etcd_str(value), lease };

	return etcd_put(e, &req, ms, got_any, g, NULL);
}

/* Revision after the put. */
static inline int64_t put(struct event_base *base, struct etcd *e, const char *key, const char *value)
{
	struct got g;

	CALL(base, g, start_put(e, key, value, 0, 0, &g));
	RESULT(g, ETCD_OK);
	return g.a.header.revision;
}

static inline void del(struct event_base *base, struct etcd *e, const char *key)
{
	struct etcd_delete_req req = { .key = etcd_str(key) };
	struct got g;

	CALL(base, g, etcd_delete(e, &req, 0, got_deleted, &g, NULL));
	RESULT(g, ETCD_OK);
}

static inline int start_get(struct etcd *e, const char *key, uint32_t ms, struct got *g)
{
	struct etcd_range_req req = { .key = etcd_str(key) };

	return etcd_range(e, &req, ms, got_kvs, g, NULL);
}

/* Puts until one is answered with yes: how a client behaves while etcd changes its leader. */
static inline int64_t put_stubbornly(struct event_base *base, struct etcd *e, const char *key, const char *value)
{
	for (unsigned i = 0; i < 60; i++) {
		struct got g;

		CALL(base, g, start_put(e, key, value, 0, 700, &g));
		if (g.a.result == ETCD_OK)
			return g.a.header.revision;
		for (unsigned k = 0; k < 10; k++)
			t_turn(base);
	}
	ck_abort_msg("no put got through");
	return 0;
}

/* ---- one watch */

#define EVENTS_MAX 5000

struct watched {
	struct etcd_watch *w;
	unsigned n_resets, n_states;
	char reset_reason[64];
	bool went_back;
	int64_t reset_revision;
	size_t n_reset_kvs, n_reset_ranges;
	struct {
		int64_t mod;
		size_t range;
		bool deleted;
		char key[32], value[32], prev[32];
	} events[EVENTS_MAX];
	size_t n_events;
	struct etcd_watch_status status;
	char endpoint[128], reason[256];
	bool free_on_event;
};

static inline void watched_events(void *ctx, const struct etcd_event *events, size_t n)
{
	struct watched *w = ctx;

	for (size_t i = 0; i < n; i++) {
		size_t k = w->n_events++;

		ck_assert_uint_lt(k, EVENTS_MAX);
		w->events[k].mod = events[i].kv.mod_revision;
		w->events[k].range = events[i].range;
		w->events[k].deleted = events[i].deleted;
		(void)snprintf(w->events[k].key, 32, "%s", (const char *)events[i].kv.key.p);
		(void)snprintf(w->events[k].value, 32, "%s", (const char *)events[i].kv.value.p);
		if (events[i].has_prev)
			(void)snprintf(w->events[k].prev, 32, "%s", (const char *)events[i].prev_kv.value.p);
	}
	if (w->free_on_event)
		etcd_watch_free(TAKE(w->w));
}

static inline void watched_reset(void *ctx, const struct etcd_reset *r)
{
	struct watched *w = ctx;

	w->n_resets++;
	w->reset_revision = r->revision;
	w->went_back = r->went_back;
	w->n_reset_ranges = r->n_ranges;
	w->n_reset_kvs = 0;
	for (size_t i = 0; i < r->n_ranges; i++)
		w->n_reset_kvs += r->ranges[i].n_kvs;
	(void)snprintf(w->reset_reason, sizeof w->reset_reason, "%s", r->reason);
}

static inline void watched_state(void *ctx, const struct etcd_watch_status *s)
{
	struct watched *w = ctx;

	w->n_states++;
	w->status = *s;
	(void)snprintf(w->endpoint, sizeof w->endpoint, "%s", s->endpoint);
	(void)snprintf(w->reason, sizeof w->reason, "%s", s->reason);
}

static const struct etcd_watch_ops watched_ops = { watched_events, watched_reset, watched_state };

/* Watches all keys that begin with @prefix (and @prefix2, when not NULL). */
static inline void watched_start(struct watched *w, struct etcd *e, const char *prefix, const char *prefix2,
	int64_t from_revision, uint32_t renew_ms)
{
	struct etcd_watch_range ranges[2] = { { .key = etcd_str(prefix), .prefix = true } };
	struct etcd_watch_conf conf = {
		.ranges = ranges,
		.n_ranges = prefix2 ? 2 : 1,
		.from_revision = from_revision,
		.prev_kv = true,
		.renew_ms = renew_ms,
	};

	if (prefix2)
		ranges[1] = (struct etcd_watch_range){ .key = etcd_str(prefix2), .prefix = true };
	memset(w, 0, sizeof *w);
	ck_assert_int_eq(etcd_watch_new(e, &conf, &watched_ops, w, &w->w), 0);
	ck_assert_uint_eq(w->n_resets + w->n_states, 0);
}

#endif
