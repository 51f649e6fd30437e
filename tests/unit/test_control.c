/*
 * The control plane's lease against an etcd that is a list of calls: answers come when the test says so, in any order.
 * (With a real etcd: tests/integration/test_node.c.)
 */
#include <event2/event.h>

#include "etcd/watch.h"
#include "node/control.h"
#include "unit.h"

#define CALLS_MAX 32

enum what { GRANT, KEEPALIVE, REVOKE, PUT, TXN, RANGE };

struct etcd_call {
	enum what what;
	etcd_fn fn; /* NULL: answered */
	void *ctx;
	uint64_t lease;
};

static struct etcd_call calls[CALLS_MAX];
static size_t n_calls;
static struct event_base *base;
static struct control *control;
static uint64_t told_lease;
static unsigned n_told;

/* ------------------------------------------------------------------------------------------------ what etcd.h promises */

static int called(enum what what, uint64_t lease, etcd_fn fn, void *ctx, struct etcd_call **ret_call)
{
	struct etcd_call *c = &calls[n_calls++];

	ck_assert_uint_lt(n_calls, CALLS_MAX);
	*c = (struct etcd_call){ .what = what, .lease = lease, .fn = fn, .ctx = ctx };
	if (ret_call)
		*ret_call = c;
	return 0;
}

static void answer(struct etcd_call *c, enum etcd_result result, uint64_t lease)
{
	struct etcd_answer a = { .result = result, .reason = "" };
	etcd_fn fn = TAKE(c->fn);

	ck_assert(fn);
	a.lease.id = (int64_t)lease;
	a.lease.ttl_s = 1;
	fn(c->ctx, &a);
}

int etcd_new(struct event_base *b, const struct etcd_conf *conf, struct etcd **ret_etcd)
{
	(void)b, (void)conf;
	*ret_etcd = (struct etcd *)&calls; /* nobody looks into it */
	return 0;
}

void etcd_free(struct etcd *e)
{
	(void)e;
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].fn)
			answer(&calls[i], ETCD_CANCELLED, 0);
}

void etcd_call_cancel(struct etcd_call *c)
{
	answer(c, ETCD_CANCELLED, 0);
}

int etcd_lease_grant(struct etcd *e, int64_t ttl_s, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)ttl_s, (void)timeout_ms;
	return called(GRANT, 0, fn, ctx, ret_call);
}

int etcd_lease_keepalive(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)timeout_ms;
	return called(KEEPALIVE, (uint64_t)id, fn, ctx, ret_call);
}

int etcd_lease_revoke(struct etcd *e, int64_t id, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)timeout_ms;
	return called(REVOKE, (uint64_t)id, fn, ctx, ret_call);
}

int etcd_put(struct etcd *e, const struct etcd_put_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)timeout_ms;
	return called(PUT, (uint64_t)req->lease, fn, ctx, ret_call);
}

int etcd_txn(struct etcd *e, const struct etcd_txn_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)timeout_ms;
	return called(TXN, (uint64_t)req->success[0].put.lease, fn, ctx, ret_call);
}

int etcd_range(struct etcd *e, const struct etcd_range_req *req, uint32_t timeout_ms, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	(void)e, (void)req, (void)timeout_ms;
	return called(RANGE, 0, fn, ctx, ret_call);
}

int etcd_watch_new(struct etcd *e, const struct etcd_watch_conf *conf, const struct etcd_watch_ops *ops, void *ctx,
	struct etcd_watch **ret_watch)
{
	(void)e, (void)conf, (void)ops, (void)ctx;
	*ret_watch = NULL;
	return 0;
}

void etcd_watch_free(struct etcd_watch *w)
{
	(void)w;
}

/* ------------------------------------------------------------------------------------------------------- the control */

static void on_lease(void *ctx, uint64_t lease)
{
	(void)ctx;
	told_lease = lease;
	n_told++;
}

static void on_describe(void *ctx, struct rep_node *ret_node)
{
	(void)ctx;
	*ret_node = (struct rep_node){ .node = "P1", .address = "127.0.0.1:1", .incarnation = 1, .run = 2 };
}

static bool on_may_renew(void *ctx)
{
	(void)ctx;
	return true;
}

static void on_reachable(void *ctx, bool reachable, const char *why)
{
	(void)ctx, (void)reachable, (void)why;
}

static void on_stopped(void *ctx)
{
	(void)ctx;
}

static void on_unreadable(void *ctx, const char *what)
{
	(void)ctx;
	ck_abort_msg("%s", what);
}

/* The next call of this kind; the loop runs until there is one. */
static struct etcd_call *next(enum what what)
{
	static const struct timeval limit = { .tv_sec = 20 };

	(void)event_base_loopexit(base, &limit);
	while (!event_base_got_exit(base)) {
		for (size_t i = 0; i < n_calls; i++)
			if (calls[i].what == what && calls[i].fn)
				return &calls[i];
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	}
	ck_abort_msg("no call of kind %d", (int)what);
	return NULL;
}

/* A lease (7), and the put of nodes/P1 that names it, unanswered. */
static struct etcd_call *begin(void)
{
	static const struct control_conf conf = { .engine = "engine", .node = "P1", .release = "0", .lease_ttl_s = 9 };
	static const struct control_ops ops = { .lease = on_lease, .describe = on_describe, .may_renew = on_may_renew,
		.reachable = on_reachable, .unreadable = on_unreadable, .stopped = on_stopped };

	n_calls = n_told = 0;
	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	ck_assert_int_eq(control_new(&conf, &(struct etcd_conf){ 0 }, base, &ops, &control), 0);
	ck_assert_int_eq(control_start(control), 0);
	answer(next(GRANT), ETCD_OK, 7);
	ck_assert_uint_eq(told_lease, 7);
	return next(PUT);
}

static void end(void)
{
	control_free(control);
	event_base_free(base);
}

/* The lease is gone, by a keepalive's word, and there is another (8). */
static void another_lease(void)
{
	answer(next(KEEPALIVE), ETCD_NOT_FOUND, 0);
	ck_assert_uint_eq(told_lease, 0);
	answer(next(GRANT), ETCD_OK, 8);
	ck_assert_uint_eq(told_lease, 8);
	ck_assert_uint_eq(n_told, 3);
}

START_TEST(a_put_that_does_not_find_its_lease_ends_it)
{
	struct etcd_call *put = begin();

	ck_assert_uint_eq(put->lease, 7);
	answer(put, ETCD_NOT_FOUND, 0);
	ck_assert_uint_eq(told_lease, 0);
	answer(next(GRANT), ETCD_OK, 8);
	ck_assert_uint_eq(next(PUT)->lease, 8);
	end();
}
END_TEST

START_TEST(a_late_put_of_the_old_lease_does_not_end_the_new_one)
{
	struct etcd_call *put = begin();

	another_lease();
	answer(put, ETCD_NOT_FOUND, 0);
	ck_assert_uint_eq(control_lease(control), 8);
	ck_assert_uint_eq(n_told, 3);
	ck_assert_uint_eq(next(PUT)->lease, 8); /* and nodes/P1 is put with the new one */
	end();
}
END_TEST

START_TEST(a_late_probe_of_the_old_lease_does_not_end_the_new_one)
{
	struct etcd_call *probe;

	answer(begin(), ETCD_OK, 0);
	control_probe(control);
	probe = next(TXN);
	ck_assert_uint_eq(probe->lease, 7);
	another_lease();
	answer(probe, ETCD_NOT_FOUND, 0);
	ck_assert_uint_eq(control_lease(control), 8);
	ck_assert_uint_eq(n_told, 3);
	control_probe(control);
	answer(next(TXN), ETCD_NOT_FOUND, 0); /* this one is the new lease's */
	ck_assert_uint_eq(control_lease(control), 0);
	end();
}
END_TEST

UNIT_MAIN("control", tcase_add_test(tc, a_put_that_does_not_find_its_lease_ends_it);
	tcase_add_test(tc, a_late_put_of_the_old_lease_does_not_end_the_new_one);
	tcase_add_test(tc, a_late_probe_of_the_old_lease_does_not_end_the_new_one))
