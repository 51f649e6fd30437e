/*
 * The etcd client against real members, one and three, and against a server that misbehaves. It claims:
 *  1. calls give what etcd says, and each failure has its class
 *  2. a write is never sent twice; reads and keepalives fail over
 *  3. a watch hands out every event once and in order, over renewals, crashes, compactions and pauses
 *  4. tokens that etcd forgot are made anew; TLS with client certificates works; another cluster is not adopted
 */
#include "etcd_client_util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

static const struct etcd_fixture_opts one = { .n_members = 1 };
static const struct etcd_fixture_opts three = { .n_members = 3 };

/* ---- 1: calls */

START_TEST(keys_and_transactions)
{
	struct t t = t_new(&one);
	struct got g;
	int64_t revision = put(t.base, t.e, "a/1", "x");
	struct etcd_compare same = { ETCD_CMP_MOD, etcd_str("a/1"), .number = revision };
	struct etcd_compare absent = { ETCD_CMP_MOD, etcd_str("a/9"), .number = 0 };
	struct etcd_compare value = { ETCD_CMP_VALUE, etcd_str("a/1"), .value = etcd_str("x") };
	struct etcd_compare compares[3];
	struct etcd_op success[] = {
		{ ETCD_OP_RANGE, .range = { .key = etcd_str("a/1") } },
		{ ETCD_OP_PUT, .put = { etcd_str("a/1"), etcd_str("y") } },
		{ ETCD_OP_DELETE, .del = { .key = etcd_str("a/2") } },
	};
	struct etcd_op failure[] = { { ETCD_OP_RANGE, .range = { .key = etcd_str("a/1") } } };
	struct etcd_txn_req txn = { compares, 3, success, failure, 3, 1 };
	struct etcd_range_req all = { .key = etcd_str("a/"), .prefix = true, .limit = 1 };

	compares[0] = same;
	compares[1] = absent;
	compares[2] = value;
	(void)put(t.base, t.e, "a/2", "");
	CALL(t.base, g, etcd_range(t.e, &all, 0, got_kvs, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_int_eq(g.count, 2);
	ck_assert_uint_eq(g.n_kvs, 1);
	ck_assert_str_eq(g.key, "a/1");
	ck_assert_str_eq(g.value, "x");
	ck_assert_uint_eq(g.a.header.cluster_id, etcd_cluster_id(t.e));
	ck_assert_uint_ne(g.a.sent_ns, 0);

	CALL(t.base, g, etcd_txn(t.e, &txn, 0, got_txn, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert(g.succeeded);
	ck_assert_uint_eq(g.n_responses, 3);
	CALL(t.base, g, etcd_txn(t.e, &txn, 0, got_txn, &g, NULL)); /* the guards hold no more */
	RESULT(g, ETCD_OK);
	ck_assert(!g.succeeded);
	ck_assert_str_eq(g.value, "y");

	del(t.base, t.e, "a/1");
	CALL(t.base, g, start_get(t.e, "a/1", 0, &g));
	RESULT(g, ETCD_OK);
	ck_assert_int_eq(g.count, 0);
	all.revision = 1000;
	CALL(t.base, g, etcd_range(t.e, &all, 0, got_kvs, &g, NULL));
	RESULT(g, ETCD_COMPACTED);
	ck_assert_int_eq(g.a.code, 11);
	txn.n_compares = 0;
	success[2].del.key = etcd_str("a/1"); /* put and deleted in one transaction */
	CALL(t.base, g, etcd_txn(t.e, &txn, 0, got_txn, &g, NULL));
	RESULT(g, ETCD_INVALID);
	t_free(&t);
}
END_TEST

START_TEST(leases)
{
	struct t t = t_new(&one);
	struct got g;
	int64_t id;

	CALL(t.base, g, etcd_lease_grant(t.e, 60, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_int_eq(g.ttl_s, 60);
	id = g.id;
	CALL(t.base, g, start_put(t.e, "k", "v", id, 0, &g));
	RESULT(g, ETCD_OK);
	CALL(t.base, g, etcd_lease_keepalive(t.e, id, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_int_eq(g.ttl_s, 60);
	ck_assert_uint_ne(g.a.sent_ns, 0);
	CALL(t.base, g, etcd_lease_time_to_live(t.e, id, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_int_ge(g.ttl_s, 50);
	CALL(t.base, g, etcd_lease_revoke(t.e, id, 0, got_any, &g, NULL));
	RESULT(g, ETCD_OK);
	CALL(t.base, g, start_get(t.e, "k", 0, &g));
	ck_assert_int_eq(g.count, 0);
	CALL(t.base, g, etcd_lease_keepalive(t.e, id, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_NOT_FOUND);
	CALL(t.base, g, etcd_lease_revoke(t.e, id, 0, got_any, &g, NULL));
	RESULT(g, ETCD_NOT_FOUND);
	CALL(t.base, g, etcd_lease_time_to_live(t.e, id, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_NOT_FOUND);
	CALL(t.base, g, start_put(t.e, "k", "v", id, 0, &g));
	RESULT(g, ETCD_NOT_FOUND);

	CALL(t.base, g, etcd_lease_grant(t.e, 1, 0, got_lease, &g, NULL)); /* one that runs out */
	id = g.id;
	do {
		CALL(t.base, g, etcd_lease_time_to_live(t.e, id, 0, got_lease, &g, NULL));
	} while (g.a.result == ETCD_OK);
	RESULT(g, ETCD_NOT_FOUND);
	t_free(&t);
}
END_TEST

START_TEST(about_the_cluster)
{
	struct t t = t_new(&one);
	struct got g;

	CALL(t.base, g, etcd_version(t.e, 0, 0, got_version, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_str_ne(g.text, "");
	CALL(t.base, g, etcd_status(t.e, ETCD_ENDPOINT_ANY, 0, got_status, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_uint_eq(g.leader, g.a.header.member_id);
	CALL(t.base, g, etcd_member_list(t.e, 0, 0, got_members, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_uint_eq(g.n_members, 1);
	CALL(t.base, g, etcd_health(t.e, 0, 0, got_any, &g, NULL));
	RESULT(g, ETCD_OK);
	ck_assert_int_eq(etcd_health(t.e, 1, 0, got_any, &g, NULL), -EINVAL);
	t_free(&t);
}
END_TEST

START_TEST(an_answer_has_a_bound)
{
	struct t t = t_new(&one);
	struct etcd_conf conf = t_conf(t.f);
	struct etcd_range_req all = { .prefix = true };
	struct etcd *small;
	struct got g;
	char value[1000];

	memset(value, 'x', sizeof value - 1);
	value[sizeof value - 1] = 0;
	conf.response_bytes_max = 4096;
	ck_assert_int_eq(etcd_new(t.base, &conf, &small), 0);
	for (char key[] = "a"; *key < 'f'; ++*key)
		(void)put(t.base, small, key, value);
	CALL(t.base, g, start_get(small, "a", 0, &g));
	RESULT(g, ETCD_OK);
	CALL(t.base, g, etcd_range(small, &all, 0, got_kvs, &g, NULL));
	RESULT(g, ETCD_BAD_ANSWER);
	etcd_free(small);
	t_free(&t);
}
END_TEST

START_TEST(cancelled_calls_call_back_once)
{
	struct t t = t_new(&one);
	struct got g = { 0 }, many[3] = { 0 };
	struct etcd_range_req req = { .key = etcd_str("a") };
	struct etcd_call *call;

	ck_assert_int_eq(etcd_range(t.e, &req, 0, got_kvs, &g, &call), 0);
	ck_assert_uint_eq(g.n, 0);
	etcd_call_cancel(call);
	ck_assert_uint_eq(g.n, 1);
	RESULT(g, ETCD_CANCELLED);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(etcd_range(t.e, &req, 0, got_kvs, &many[i], NULL), 0);
	t_turn(t.base);
	etcd_free(TAKE(t.e));
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(many[i].n, 1);
	ck_assert_uint_eq(g.n, 1);
	t_free(&t);
}
END_TEST

START_TEST(bad_configurations)
{
	static const char *const bad[] = {
		"127.0.0.1:2379", "ftp://a:1", "http://", "http:///", "http://a/b", "http://a?b", "http://a b", "", "http://u@h",
	};
	struct event_base *base = event_base_new();
	struct etcd_conf conf = { .n_endpoints = 1 };
	struct etcd *e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		conf.endpoints = &bad[i];
		ck_assert_msg(etcd_new(base, &conf, &e) == -EINVAL, "%s", bad[i]);
	}
	conf.endpoints = (const char *const[]){ "http://127.0.0.1:1/" };
	conf.n_endpoints = 0;
	ck_assert_int_eq(etcd_new(base, &conf, &e), -EINVAL);
	conf.n_endpoints = 1;
	conf.cert = "x";
	ck_assert_int_eq(etcd_new(base, &conf, &e), -EINVAL);
	conf.cert = NULL;
	ck_assert_int_eq(etcd_new(base, &conf, &e), 0);
	ck_assert_str_eq(etcd_endpoint_url(e, 0), "http://127.0.0.1:1");
	ck_assert_ptr_null(etcd_endpoint_url(e, 1));
	etcd_free(e);
	event_base_free(base);
}
END_TEST

/* ---- 2: what is sent how often: a server that takes requests and says little */

enum fake_mood { FAKE_SILENT, FAKE_CLOSES, FAKE_ANSWERS, FAKE_REFUSES_TOKEN, FAKE_HTML };

struct fake {
	struct evconnlistener *listener;
	struct bufferevent *conns[16];
	size_t n_conns;
	char url[64];
	enum fake_mood mood;
	enum fake_mood moods[8]; /* for the first requests */
	unsigned n_moods;
	unsigned n_requests, n_puts, n_reads;
};

static void fake_say(struct bufferevent *bev, const char *status, const char *body)
{
	(void)evbuffer_add_printf(bufferevent_get_output(bev), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
		strlen(body), body);
}

static void fake_read(struct bufferevent *bev, void *ctx)
{
	struct fake *fake = ctx;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len = evbuffer_get_length(in);
	char text[4096] = "";
	enum fake_mood mood = fake->n_requests < fake->n_moods ? fake->moods[fake->n_requests] : fake->mood;

	ck_assert_uint_lt(len, sizeof text);
	(void)evbuffer_copyout(in, text, len);
	if (!strstr(text, "\r\n\r\n") || !strchr(strstr(text, "\r\n\r\n"), '}'))
		return; /* the body is JSON and ends with a brace */
	(void)evbuffer_drain(in, len);
	ck_assert_ptr_null(strstr(text, "Expect:"));
	fake->n_requests++;
	fake->n_puts += strncmp(text, "POST /v3/kv/put", 15) == 0;
	fake->n_reads += strncmp(text, "POST /v3/kv/range", 17) == 0;
	if (mood == FAKE_CLOSES)
		(void)shutdown(bufferevent_getfd(bev), SHUT_RDWR);
	else if (mood == FAKE_ANSWERS)
		fake_say(bev, "200 OK", "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"3\"}}");
	else if (mood == FAKE_HTML)
		fake_say(bev, "503 Service Unavailable", "<html>}");
	else if (mood == FAKE_REFUSES_TOKEN)
		fake_say(bev, "401 Unauthorized", "{\"code\":16,\"message\":\"etcdserver: invalid auth token\"}");
}

static void fake_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a _unused_, int len _unused_,
	void *ctx)
{
	struct fake *fake = ctx;
	struct bufferevent *bev;

	ck_assert_uint_lt(fake->n_conns, ARRAY_SIZE(fake->conns));
	bev = bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);
	fake->conns[fake->n_conns++] = bev;
	bufferevent_setcb(bev, fake_read, NULL, NULL, fake);
	(void)bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void fake_start(struct fake *fake, struct event_base *base, enum fake_mood mood)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;

	*fake = (struct fake){ .mood = mood };
	fake->listener = evconnlistener_new_bind(base, fake_accept, fake, LEV_OPT_CLOSE_ON_FREE, 16,
		(struct sockaddr *)&a, sizeof a);
	ck_assert_ptr_nonnull(fake->listener);
	ck_assert_int_eq(getsockname(evconnlistener_get_fd(fake->listener), (struct sockaddr *)&a, &len), 0);
	(void)snprintf(fake->url, sizeof fake->url, "http://127.0.0.1:%d", ntohs(a.sin_port));
}

/* Nobody listens there any more. */
static void fake_stop(struct fake *fake)
{
	if (fake->listener)
		evconnlistener_free(TAKE(fake->listener));
	while (fake->n_conns)
		bufferevent_free(fake->conns[--fake->n_conns]);
}

struct fakes {
	struct event_base *base;
	struct fake a, b;
	struct etcd *e;
};

static void fakes_start(struct fakes *s, enum fake_mood a, enum fake_mood b)
{
	struct etcd_conf conf = { .n_endpoints = 2, .timeout_ms = 600 };
	const char *urls[2];

	s->base = event_base_new();
	fake_start(&s->a, s->base, a);
	fake_start(&s->b, s->base, b);
	urls[0] = s->a.url;
	urls[1] = s->b.url;
	conf.endpoints = urls;
	ck_assert_int_eq(etcd_new(s->base, &conf, &s->e), 0);
}

static void fakes_free(struct fakes *s)
{
	etcd_free(s->e);
	fake_stop(&s->a);
	fake_stop(&s->b);
	event_base_free(s->base);
}

START_TEST(a_write_is_sent_once)
{
	static const struct {
		enum fake_mood mood;
		enum etcd_result result;
	} cases[] = {
		{ FAKE_SILENT, ETCD_UNKNOWN },
		{ FAKE_CLOSES, ETCD_UNKNOWN },
		{ FAKE_HTML, ETCD_BAD_ANSWER },
		{ FAKE_ANSWERS, ETCD_OK },
		{ FAKE_REFUSES_TOKEN, ETCD_DENIED },
	};
	struct fakes s;
	struct got g;

	fakes_start(&s, cases[_i].mood, cases[_i].mood);
	CALL(s.base, g, start_put(s.e, "k", "v", 0, 0, &g));
	RESULT(g, cases[_i].result);
	for (unsigned i = 0; i < 5; i++)
		t_turn(s.base);
	ck_assert_uint_eq(s.a.n_puts + s.b.n_puts, 1);
	ck_assert_uint_eq(g.n, 1);
	fakes_free(&s);
}
END_TEST

/* libcurl repeats a request on its own when a kept connection is closed on it: reads may, writes must not. */
START_TEST(a_write_is_not_repeated_by_libcurl)
{
	struct fakes s;
	struct got g;

	fakes_start(&s, FAKE_CLOSES, FAKE_CLOSES);
	s.a.moods[0] = FAKE_ANSWERS;
	s.a.n_moods = 1;
	CALL(s.base, g, start_get(s.e, "k", 0, &g));
	RESULT(g, ETCD_OK);
	CALL(s.base, g, start_put(s.e, "k", "v", 0, 0, &g));
	RESULT(g, ETCD_UNKNOWN);
	ck_assert_uint_eq(s.a.n_puts + s.b.n_puts, 1);
	fakes_free(&s);
}
END_TEST

START_TEST(a_write_goes_on_when_nobody_listens)
{
	struct fakes s;
	struct got g;

	fakes_start(&s, FAKE_ANSWERS, FAKE_ANSWERS);
	fake_stop(&s.a);
	CALL(s.base, g, start_put(s.e, "k", "v", 0, 0, &g));
	RESULT(g, ETCD_OK);
	ck_assert_str_eq(g.endpoint, s.b.url);
	ck_assert_uint_eq(s.b.n_puts, 1);
	fake_stop(&s.b);
	CALL(s.base, g, start_put(s.e, "k", "v", 0, 0, &g));
	RESULT(g, ETCD_NOT_SENT);
	CALL(s.base, g, start_get(s.e, "k", 0, &g));
	RESULT(g, ETCD_NOT_SENT);
	ck_assert_str_ne(g.reason, "");
	fakes_free(&s);
}
END_TEST

START_TEST(a_read_fails_over)
{
	static const enum fake_mood moods[] = { FAKE_SILENT, FAKE_CLOSES, FAKE_HTML };
	struct fakes s;
	struct got g;

	fakes_start(&s, moods[_i], FAKE_ANSWERS);
	CALL(s.base, g, start_get(s.e, "k", 0, &g));
	RESULT(g, ETCD_OK);
	ck_assert_str_eq(g.endpoint, s.b.url);
	CALL(s.base, g, start_get(s.e, "k", 0, &g)); /* and stays where it worked */
	RESULT(g, ETCD_OK);
	ck_assert_uint_eq(s.a.n_reads, 1);
	ck_assert_uint_eq(s.b.n_reads, 2);
	fakes_free(&s);
}
END_TEST

START_TEST(a_paused_member_leaves_writes_unknown)
{
	struct t t = t_new(&one);
	struct got g;

	(void)put(t.base, t.e, "k", "1");
	etcd_fixture_pause(t.f, 0);
	CALL(t.base, g, start_put(t.e, "k", "2", 0, 300, &g));
	RESULT(g, ETCD_UNKNOWN);
	CALL(t.base, g, start_get(t.e, "k", 300, &g));
	RESULT(g, ETCD_UNKNOWN);
	etcd_fixture_resume(t.f, 0);
	CALL(t.base, g, start_get(t.e, "k", 0, &g));
	RESULT(g, ETCD_OK);
	etcd_fixture_kill(t.f, 0);
	CALL(t.base, g, start_put(t.e, "k", "3", 0, 300, &g));
	RESULT(g, ETCD_NOT_SENT);
	t_free(&t);
}
END_TEST

/* ---- 3: watches */

static void expect_in_order(const struct watched *w, size_t range)
{
	int64_t last = 0;

	for (size_t i = 0; i < w->n_events; i++) {
		if (w->events[i].range != range)
			continue;
		ck_assert_int_gt(w->events[i].mod, last);
		last = w->events[i].mod;
	}
}

START_TEST(a_watch_tells_everything)
{
	struct t t = t_new(&one);
	static struct watched w;
	struct etcd_watch_status status;
	int64_t revision;

	(void)put(t.base, t.e, "a/1", "old");
	(void)put(t.base, t.e, "c/1", "not watched");
	watched_start(&w, t.e, "a/", "b/", 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	ck_assert_uint_eq(w.n_resets, 1);
	ck_assert_uint_eq(w.n_reset_ranges, 2);
	ck_assert_uint_eq(w.n_reset_kvs, 1);
	ck_assert_str_eq(w.reset_reason, "start");
	ck_assert_str_eq(w.endpoint, etcd_fixture_url(t.f, 0));
	revision = put(t.base, t.e, "a/1", "new");
	(void)put(t.base, t.e, "b/1", "");
	(void)put(t.base, t.e, "c/1", "still not");
	del(t.base, t.e, "a/1");
	T_UNTIL(t.base, w.n_events >= 3);
	ck_assert_int_eq(w.events[0].mod, revision);
	ck_assert_str_eq(w.events[0].key, "a/1");
	ck_assert_str_eq(w.events[0].value, "new");
	ck_assert_str_eq(w.events[0].prev, "old");
	ck_assert_uint_eq(w.events[1].range, 1);
	ck_assert(w.events[2].deleted);
	ck_assert_str_eq(w.events[2].prev, "new");
	etcd_watch_get_status(w.w, &status);
	ck_assert_int_eq(status.revision, revision + 3);
	ck_assert_uint_eq(w.n_resets, 1);
	w.free_on_event = true;
	(void)put(t.base, t.e, "a/1", "last");
	T_UNTIL(t.base, !w.w);
	(void)put(t.base, t.e, "a/1", "unseen");
	ck_assert_uint_eq(w.n_events, 4);
	t_free(&t);
}
END_TEST

/* Renewed every few tens of ms while keys change: nothing lost, nothing doubled, no needless reset. */
START_TEST(renewals_lose_nothing)
{
	struct t t = t_new(&one);
	static struct watched w;
	int64_t revision = put(t.base, t.e, "a/x", "0");
	char value[32];

	watched_start(&w, t.e, "a/", NULL, revision + 1, 60);
	for (int i = 0; i < 600; i++) {
		(void)snprintf(value, sizeof value, "%d", i);
		if (i % 3 == 2)
			del(t.base, t.e, "a/y");
		else
			(void)put(t.base, t.e, i % 3 ? "a/x" : "a/y", value);
	}
	T_UNTIL(t.base, w.n_events >= 600);
	ck_assert_uint_eq(w.n_events, 600);
	for (size_t i = 0; i < 600; i++)
		ck_assert_int_eq(w.events[i].mod, revision + 1 + (int64_t)i);
	ck_assert_uint_eq(w.n_resets, 0);
	/* A renewal is no news: connected once, on one endpoint. */
	ck_assert_uint_eq(w.n_states, 1);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

START_TEST(a_watch_survives_a_crash)
{
	struct t t = t_new(&one);
	static struct watched w;
	int64_t first, last;

	(void)put(t.base, t.e, "a/1", "before");
	watched_start(&w, t.e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	first = put(t.base, t.e, "a/1", "1");
	T_UNTIL(t.base, w.n_events == 1);
	etcd_fixture_kill(t.f, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_BROKEN);
	etcd_fixture_start(t.f, 0);
	etcd_fixture_wait(t.f, 0);
	last = put_stubbornly(t.base, t.e, "a/1", "2");
	T_UNTIL(t.base, w.n_events >= 2);
	ck_assert_int_eq(w.events[0].mod, first);
	ck_assert_int_eq(w.events[w.n_events - 1].mod, last);
	expect_in_order(&w, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	ck_assert_uint_eq(w.n_resets, 1);
	/* A clean stop: HTTP 200, an error object without newline, the end. */
	etcd_fixture_stop(t.f, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_BROKEN);
	etcd_fixture_start(t.f, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	last = put_stubbornly(t.base, t.e, "a/1", "3");
	T_UNTIL(t.base, w.events[w.n_events - 1].mod == last);
	ck_assert_uint_eq(w.n_resets, 1);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

static void compact(struct t *t, int64_t revision)
{
	_cleanup_(freep) char *body = NULL;
	char json[64];

	(void)snprintf(json, sizeof json, "{\"revision\":\"%lld\",\"physical\":true}", (long long)revision);
	body = etcd_fixture_post(t->f, 0, "/v3/kv/compaction", json);
	ck_assert(body && strstr(body, "header"));
}

START_TEST(a_compaction_makes_a_reset)
{
	struct t t = t_new(&one);
	static struct watched w;
	int64_t first = put(t.base, t.e, "a/1", "1"), last;

	(void)put(t.base, t.e, "a/1", "2");
	(void)put(t.base, t.e, "a/2", "2");
	last = put(t.base, t.e, "c", "3");
	compact(&t, last);
	watched_start(&w, t.e, "a/", NULL, first, 0);
	T_UNTIL(t.base, w.n_resets == 1);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	ck_assert_str_eq(w.reset_reason, "compacted");
	ck_assert_int_eq(w.reset_revision, last);
	ck_assert(!w.went_back);
	ck_assert_uint_eq(w.n_reset_kvs, 2);
	ck_assert_uint_eq(w.n_events, 0);
	(void)put(t.base, t.e, "a/1", "4");
	T_UNTIL(t.base, w.n_events == 1);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

/* The same cluster id, all data gone: as after a restored backup. */
START_TEST(a_store_that_went_back_is_told)
{
	struct t t = t_new(&one);
	static struct watched w;

	for (int i = 0; i < 5; i++)
		(void)put(t.base, t.e, "a/1", "x");
	watched_start(&w, t.e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	etcd_fixture_kill(t.f, 0);
	etcd_fixture_wipe(t.f, 0);
	etcd_fixture_start(t.f, 0);
	T_UNTIL(t.base, w.n_resets == 2);
	ck_assert(w.went_back);
	ck_assert_int_eq(w.reset_revision, 1);
	ck_assert_uint_eq(w.n_reset_kvs, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	(void)put(t.base, t.e, "a/1", "again");
	T_UNTIL(t.base, w.n_events == 1);
	ck_assert_int_eq(w.events[0].mod, 2);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

START_TEST(a_frame_too_large_makes_a_reset)
{
	struct t t = t_new(&one);
	struct etcd_conf conf = t_conf(t.f);
	struct etcd_op ops[8];
	struct etcd_txn_req txn = { .success = ops, .n_success = 8 };
	static struct watched w;
	struct etcd *small;
	char keys[8][8], value[300];
	struct got g;

	memset(value, 'x', sizeof value - 1);
	value[sizeof value - 1] = 0;
	conf.response_bytes_max = 2048;
	ck_assert_int_eq(etcd_new(t.base, &conf, &small), 0);
	watched_start(&w, small, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	for (int i = 0; i < 8; i++) {
		(void)snprintf(keys[i], sizeof keys[i], "a/%d", i);
		ops[i] = (struct etcd_op){ ETCD_OP_PUT, .put = { etcd_str(keys[i]), etcd_str(value) } };
	}
	CALL(t.base, g, etcd_txn(t.e, &txn, 0, got_txn, &g, NULL));
	RESULT(g, ETCD_OK);
	/* The reset is too large as well, until the keys are small again. */
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_BROKEN);
	for (int i = 0; i < 8; i++)
		(void)put(t.base, t.e, keys[i], "s");
	T_UNTIL(t.base, w.n_resets == 2);
	ck_assert_uint_eq(w.n_reset_kvs, 8);
	etcd_watch_free(w.w);
	etcd_free(small);
	t_free(&t);
}
END_TEST

/* ---- 3: three members */

START_TEST(members_die_and_hang)
{
	struct t t = t_new(&three);
	static struct watched w;
	struct got g;
	unsigned leader, at;
	int64_t id, last;

	(void)put(t.base, t.e, "a/1", "0");
	watched_start(&w, t.e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	CALL(t.base, g, etcd_lease_grant(t.e, 60, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_OK);
	id = g.id;

	/* The leader crashes. */
	leader = etcd_fixture_leader(t.f);
	etcd_fixture_kill(t.f, leader);
	last = put_stubbornly(t.base, t.e, "a/1", "1");
	T_UNTIL(t.base, w.n_events && w.events[w.n_events - 1].mod >= last);
	etcd_fixture_start(t.f, leader);
	etcd_fixture_wait(t.f, leader);

	/* The member that the watch hangs on is paused, so the stream stays open and silent. */
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	for (at = 0; strcmp(w.endpoint, etcd_fixture_url(t.f, at)) != 0; at++)
		;
	etcd_fixture_pause(t.f, at);
	last = put_stubbornly(t.base, t.e, "a/1", "2");
	/* Calls that fail there make the watch move, long before it would be renewed. */
	while (w.events[w.n_events - 1].mod < last) {
		CALL(t.base, g, etcd_health(t.e, at, 200, got_any, &g, NULL));
		RESULT(g, ETCD_UNKNOWN);
	}
	ck_assert_str_ne(w.endpoint, etcd_fixture_url(t.f, at));
	CALL(t.base, g, etcd_lease_keepalive(t.e, id, 0, got_lease, &g, NULL));
	RESULT(g, ETCD_OK);
	etcd_fixture_resume(t.f, at);
	etcd_fixture_wait(t.f, at);

	/* The leader is paused. */
	leader = etcd_fixture_leader(t.f);
	etcd_fixture_pause(t.f, leader);
	last = put_stubbornly(t.base, t.e, "a/1", "3");
	do {
		CALL(t.base, g, etcd_lease_keepalive(t.e, id, 2000, got_lease, &g, NULL));
		ck_assert_int_ne(g.a.result, ETCD_NOT_FOUND);
	} while (g.a.result != ETCD_OK);
	CALL(t.base, g, etcd_health(t.e, leader, 200, got_any, &g, NULL)); /* if the watch is there, it moves */
	RESULT(g, ETCD_UNKNOWN);
	T_UNTIL(t.base, w.events[w.n_events - 1].mod >= last);
	etcd_fixture_resume(t.f, leader);
	etcd_fixture_wait(t.f, leader);

	ck_assert_uint_eq(w.n_resets, 1);
	expect_in_order(&w, 0);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

/* A member without leader cuts the watch (hasleader), and the watch goes elsewhere or says that it is broken. */
START_TEST(a_member_without_leader_is_left)
{
	struct t t = t_new(&three);
	static struct watched w;
	unsigned at;
	int64_t last;

	(void)put(t.base, t.e, "a/1", "0");
	watched_start(&w, t.e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	for (at = 0; strcmp(w.endpoint, etcd_fixture_url(t.f, at)) != 0; at++)
		;
	etcd_fixture_kill(t.f, (at + 1) % 3);
	etcd_fixture_kill(t.f, (at + 2) % 3);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_BROKEN);
	etcd_fixture_start(t.f, (at + 1) % 3);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	last = put_stubbornly(t.base, t.e, "a/1", "1");
	T_UNTIL(t.base, w.n_events && w.events[w.n_events - 1].mod >= last);
	ck_assert_uint_eq(w.n_resets, 1);
	etcd_watch_free(w.w);
	t_free(&t);
}
END_TEST

/* ---- 4: authentication, TLS, other clusters */

static void post(struct t *t, const char *path, const char *json)
{
	_cleanup_(freep) char *body = etcd_fixture_post(t->f, 0, path, json);

	ck_assert_msg(body && strstr(body, "header"), "%s: %s", path, body ? body : "no answer");
}

static void enable_auth(struct t *t)
{
	post(t, "/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"r\"}");
	post(t, "/v3/auth/role/add", "{\"name\":\"root\"}");
	post(t, "/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
	post(t, "/v3/auth/user/add", "{\"name\":\"leash\",\"password\":\"se\\\"cret\"}");
	post(t, "/v3/auth/role/add", "{\"name\":\"leash\"}");
	/* a/ to a0 */
	post(t, "/v3/auth/role/grant",
		"{\"name\":\"leash\",\"perm\":{\"permType\":\"READWRITE\",\"key\":\"YS8=\",\"range_end\":\"YTA=\"}}");
	post(t, "/v3/auth/user/grant", "{\"user\":\"leash\",\"role\":\"leash\"}");
	post(t, "/v3/auth/enable", "{}");
}

START_TEST(tokens)
{
	struct t t = t_new(&one);
	struct etcd_conf conf = t_conf(t.f);
	static struct watched w;
	struct etcd *user, *wrong;
	struct got g;

	conf.user = "leash";
	conf.password = "wrong";
	ck_assert_int_eq(etcd_new(t.base, &conf, &wrong), 0);
	conf.password = "se\"cret";
	ck_assert_int_eq(etcd_new(t.base, &conf, &user), 0);
	(void)put(t.base, user, "a/1", "auth is off: goes without a token");
	watched_start(&w, user, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);

	enable_auth(&t);
	(void)put(t.base, user, "a/1", "1");
	(void)put(t.base, user, "a/1", "2");
	CALL(t.base, g, start_put(user, "b", "x", 0, 0, &g));
	RESULT(g, ETCD_DENIED);
	ck_assert_int_eq(g.a.code, 7);
	CALL(t.base, g, start_put(t.e, "a/1", "x", 0, 0, &g)); /* no user */
	RESULT(g, ETCD_DENIED);
	CALL(t.base, g, start_put(wrong, "a/1", "x", 0, 0, &g));
	RESULT(g, ETCD_DENIED);
	CALL(t.base, g, etcd_health(user, 0, 0, got_any, &g, NULL));
	RESULT(g, ETCD_OK);

	etcd_fixture_kill(t.f, 0); /* its tokens are gone */
	etcd_fixture_start(t.f, 0);
	etcd_fixture_wait(t.f, 0);
	(void)put(t.base, user, "a/1", "3");
	T_UNTIL(t.base, w.n_events >= 3);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	ck_assert_str_eq(w.events[w.n_events - 1].value, "3");
	ck_assert_uint_eq(w.n_resets, 1);
	etcd_watch_free(w.w);

	watched_start(&w, user, "b/", NULL, 1, 0); /* not allowed */
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_BROKEN);
	ck_assert_int_eq(w.status.result, ETCD_DENIED);
	etcd_free(user); /* frees the watch */
	etcd_free(wrong);
	t_free(&t);
}
END_TEST

/* While the authenticate call hangs, calls that wait for it end in time, and were not sent. */
START_TEST(waiting_for_a_token_ends_in_time)
{
	struct event_base *base = event_base_new();
	struct fake fake;
	const char *url = fake.url;
	struct etcd_conf conf = { .endpoints = &url, .n_endpoints = 1, .user = "u", .password = "p", .timeout_ms = 400 };
	struct etcd *e;
	struct got g, late = { 0 };

	fake_start(&fake, base, FAKE_SILENT);
	ck_assert_int_eq(etcd_new(base, &conf, &e), 0);
	CALL(base, g, start_put(e, "k", "v", 0, 100, &g));
	RESULT(g, ETCD_NOT_SENT);
	ck_assert_int_eq(start_put(e, "k", "v", 0, 5000, &late), 0);
	T_UNTIL(base, late.n);
	RESULT(late, ETCD_NOT_SENT);
	ck_assert_uint_eq(fake.n_puts, 0);
	ck_assert_int_eq(start_put(e, "k", "v", 0, 0, &late), 0);
	t_turn(base);
	etcd_free(e);
	ck_assert_uint_eq(late.n, 2);
	fake_stop(&fake);
	event_base_free(base);
}
END_TEST

START_TEST(tls)
{
	struct t t = t_new(&(struct etcd_fixture_opts){ .n_members = 1, .tls = true });
	struct etcd_conf conf = t_conf(t.f);
	char ca[4200], cert[4200], key[4200];
	static struct watched w;
	struct etcd *e;
	struct got g;

	(void)snprintf(ca, sizeof ca, "%s", etcd_fixture_file(t.f, "ca.pem"));
	(void)snprintf(cert, sizeof cert, "%s", etcd_fixture_file(t.f, "client.pem"));
	(void)snprintf(key, sizeof key, "%s", etcd_fixture_file(t.f, "client.key"));
	CALL(t.base, g, start_put(t.e, "a/1", "1", 0, 0, &g)); /* a CA that we do not trust */
	RESULT(g, ETCD_NOT_SENT);
	conf.cacert = ca;
	conf.cert = cert;
	conf.key = key;
	ck_assert_int_eq(etcd_new(t.base, &conf, &e), 0);
	(void)put(t.base, e, "a/1", "1");
	watched_start(&w, e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	(void)put(t.base, e, "a/1", "2");
	T_UNTIL(t.base, w.n_events == 1);
	etcd_free(e);
	conf.cert = conf.key = NULL;
	ck_assert_int_eq(etcd_new(t.base, &conf, &e), 0);
	CALL(t.base, g, start_put(e, "a/1", "3", 0, 0, &g)); /* no certificate */
	ck_assert_int_ne(g.a.result, ETCD_OK);
	etcd_free(e);
	t_free(&t);
}
END_TEST

START_TEST(another_cluster_is_not_adopted)
{
	struct t t = t_new(&one);
	struct etcd_fixture *other = etcd_fixture_new(&one);
	const char *urls[2] = { etcd_fixture_url(t.f, 0), etcd_fixture_url(other, 0) };
	struct etcd_conf conf = { .endpoints = urls, .n_endpoints = 2, .timeout_ms = 1000 };
	static struct watched w;
	struct etcd *e;
	struct got g;

	ck_assert_int_eq(etcd_new(t.base, &conf, &e), 0);
	(void)put(t.base, e, "a/1", "1");
	watched_start(&w, e, "a/", NULL, 0, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	etcd_fixture_kill(t.f, 0);
	CALL(t.base, g, start_get(e, "a/1", 0, &g));
	RESULT(g, ETCD_FOREIGN);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_FOREIGN);
	ck_assert_uint_eq(w.n_resets, 1);
	etcd_fixture_start(t.f, 0);
	T_UNTIL(t.base, w.status.state == ETCD_WATCH_CONNECTED);
	ck_assert_str_eq(w.endpoint, urls[0]);
	ck_assert_uint_eq(w.n_resets, 1);
	ck_assert_uint_eq(w.n_events, 0);
	etcd_free(e);
	etcd_fixture_free(other);
	t_free(&t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_client");
	TCase *tc = tcase_create("client");
	SRunner *runner;
	int failed;

	if (!etcd_fixture_possible())
		return 77;
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, keys_and_transactions);
	tcase_add_test(tc, leases);
	tcase_add_test(tc, about_the_cluster);
	tcase_add_test(tc, an_answer_has_a_bound);
	tcase_add_test(tc, cancelled_calls_call_back_once);
	tcase_add_test(tc, bad_configurations);
	tcase_add_loop_test(tc, a_write_is_sent_once, 0, 5);
	tcase_add_test(tc, a_write_is_not_repeated_by_libcurl);
	tcase_add_test(tc, a_write_goes_on_when_nobody_listens);
	tcase_add_loop_test(tc, a_read_fails_over, 0, 3);
	tcase_add_test(tc, a_paused_member_leaves_writes_unknown);
	tcase_add_test(tc, a_watch_tells_everything);
	tcase_add_test(tc, renewals_lose_nothing);
	tcase_add_test(tc, a_watch_survives_a_crash);
	tcase_add_test(tc, a_compaction_makes_a_reset);
	tcase_add_test(tc, a_store_that_went_back_is_told);
	tcase_add_test(tc, a_frame_too_large_makes_a_reset);
	tcase_add_test(tc, members_die_and_hang);
	tcase_add_test(tc, a_member_without_leader_is_left);
	tcase_add_test(tc, tokens);
	tcase_add_test(tc, waiting_for_a_token_ends_in_time);
	tcase_add_test(tc, tls);
	tcase_add_test(tc, another_cluster_is_not_adopted);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
