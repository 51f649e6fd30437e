/*
 * The watch against a server that does what etcd's known bugs do, which no real member does on demand: events doubled,
 * lost or out of order, members that are behind, frames that make no sense. It claims that every one of them ends in
 * events that are right or in a reset.
 */
#include "etcd_client_util.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#define HEAD(rev) "\"header\":{\"cluster_id\":\"7\",\"member_id\":\"1\",\"revision\":\"" rev "\",\"raft_term\":\"2\"}"
#define CREATED   "{\"result\":{" HEAD("5") ",\"watch_id\":\"1\",\"created\":true}}\n"
#define EVENTS(rev, list) "{\"result\":{" HEAD(rev) ",\"watch_id\":\"1\",\"events\":[" list "]}}\n"
#define KV(key, mod)      "{\"key\":\"" key "\",\"mod_revision\":\"" mod "\",\"version\":\"1\"}"
#define PUT(key, mod)     "{\"kv\":" KV(key, mod) "}"
#define STATE(rev, kvs)   "{" HEAD(rev) ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[" kvs "]}}]}"
#define KEY1 "YS8x" /* a/1 */
#define KEY2 "YS8y"

/* One server at two ports; each port has its own words for the watch. */
struct server {
	struct event_base *base;
	struct evconnlistener *listeners[2];
	struct bufferevent *conns[64];
	size_t n_conns;
	char urls[2][64];
	const char *state, *later, *check; /* answers to the reads for resets, first and later, and to the check */
	const char *frames[2];
	bool ends; /* the stream ends behind the frames */
	unsigned n_watches[2], n_states;
};

static void say(struct bufferevent *bev, const char *body)
{
	(void)evbuffer_add_printf(bufferevent_get_output(bev), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
		strlen(body), body);
}

static void on_written(struct bufferevent *bev, void *ctx _unused_)
{
	(void)shutdown(bufferevent_getfd(bev), SHUT_RDWR);
}

static void server_watch(struct server *s, struct bufferevent *bev, size_t port, const char *request)
{
	ck_assert_ptr_nonnull(strstr(request, "Grpc-Metadata-hasleader: true"));
	ck_assert_ptr_nonnull(strstr(request, "HTTP/1.1"));
	s->n_watches[port]++;
	/* Without a length: up to the end of the connection. */
	(void)evbuffer_add_printf(bufferevent_get_output(bev), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s",
		s->frames[port]);
	if (s->ends)
		bufferevent_setcb(bev, NULL, on_written, NULL, s);
}

static void server_read(struct bufferevent *bev, void *ctx)
{
	struct server *s = ctx;
	struct evbuffer *in = bufferevent_get_input(bev);
	size_t len = evbuffer_get_length(in);
	struct sockaddr_in a;
	socklen_t a_len = sizeof a;
	char text[4096] = "", port[16];

	ck_assert_uint_lt(len, sizeof text);
	(void)evbuffer_copyout(in, text, len);
	if (!strstr(text, "\r\n\r\n") || !strchr(strstr(text, "\r\n\r\n"), '}'))
		return;
	(void)evbuffer_drain(in, len);
	ck_assert_int_eq(getsockname(bufferevent_getfd(bev), (struct sockaddr *)&a, &a_len), 0);
	(void)snprintf(port, sizeof port, ":%d", ntohs(a.sin_port));
	if (strstr(text, "POST /v3/watch")) {
		server_watch(s, bev, strstr(s->urls[1], port) ? 1 : 0, text);
	} else if (strstr(text, "keys_only")) {
		say(bev, s->check);
	} else {
		say(bev, s->n_states++ ? s->later : s->state);
	}
}

static void server_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *a _unused_, int len _unused_,
	void *ctx)
{
	struct server *s = ctx;
	struct bufferevent *bev = bufferevent_socket_new(evconnlistener_get_base(l), fd, BEV_OPT_CLOSE_ON_FREE);

	ck_assert_uint_lt(s->n_conns, ARRAY_SIZE(s->conns));
	s->conns[s->n_conns++] = bev;
	bufferevent_setcb(bev, server_read, NULL, NULL, s);
	(void)bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void server_start(struct server *s, const char *frames0, const char *frames1)
{
	*s = (struct server){ .base = event_base_new(), .state = STATE("5", KV(KEY1, "3")), .frames = { frames0, frames1 } };
	s->later = s->check = s->state;
	for (size_t i = 0; i < 2; i++) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof a;

		s->listeners[i] = evconnlistener_new_bind(s->base, server_accept, s, LEV_OPT_CLOSE_ON_FREE, 16,
			(struct sockaddr *)&a, sizeof a);
		ck_assert_ptr_nonnull(s->listeners[i]);
		(void)getsockname(evconnlistener_get_fd(s->listeners[i]), (struct sockaddr *)&a, &len);
		(void)snprintf(s->urls[i], sizeof s->urls[i], "http://127.0.0.1:%d", ntohs(a.sin_port));
	}
}

static struct etcd *server_client(struct server *s, size_t n_endpoints)
{
	const char *urls[2] = { s->urls[0], s->urls[1] };
	struct etcd_conf conf = { .endpoints = urls, .n_endpoints = n_endpoints, .timeout_ms = 1000 };
	struct etcd *e;

	ck_assert_int_eq(etcd_new(s->base, &conf, &e), 0);
	return e;
}

static void server_free(struct server *s)
{
	while (s->n_conns)
		bufferevent_free(s->conns[--s->n_conns]);
	for (size_t i = 0; i < 2; i++)
		evconnlistener_free(s->listeners[i]);
	event_base_free(s->base);
}

static const struct {
	const char *what, *frames, *check; /* check NULL: as read */
	size_t n_events;
	const char *reset; /* NULL: none but the first */
	enum etcd_result failure; /* ETCD_OK: none */
} cases[] = {
	{ "plain", CREATED EVENTS("6", PUT(KEY1, "6")), STATE("6", KV(KEY1, "6")), 1 },
	{ "the check is older than the events", CREATED EVENTS("6", PUT(KEY1, "6")), NULL, 1 },
	{ "doubled at once", CREATED EVENTS("6", PUT(KEY1, "6") "," PUT(KEY1, "6")) EVENTS("6", PUT(KEY1, "6")),
		STATE("6", KV(KEY1, "6")), 1 },
	{ "two keys in one revision", CREATED EVENTS("6", PUT(KEY1, "6") "," PUT(KEY2, "6")) EVENTS("6", PUT(KEY2, "6")),
		STATE("6", KV(KEY1, "6") "," KV(KEY2, "6")), 2 },
	{ "events of before", CREATED EVENTS("6", PUT(KEY1, "2") "," PUT(KEY2, "5") "," PUT(KEY1, "6")),
		STATE("6", KV(KEY1, "6")), 1 },
	{ "a put lost", CREATED, STATE("6", KV(KEY1, "6")), 0, "etcd lost an event" },
	{ "a delete lost", CREATED, STATE("6", ""), 0, "etcd lost an event" },
	{ "a new key lost", CREATED EVENTS("7", PUT(KEY1, "7")), STATE("7", KV(KEY1, "7") "," KV(KEY2, "6")), 1,
		"etcd lost an event" },
	{ "the revision goes back", CREATED EVENTS("7", PUT(KEY1, "7")) EVENTS("6", PUT(KEY1, "6")), NULL, 1,
		"the revision went back" },
	{ "out of order in a frame", CREATED EVENTS("7", PUT(KEY1, "7") "," PUT(KEY2, "6")), NULL, 0,
		"events out of order, or too many keys" },
	{ "a fragment", CREATED "{\"result\":{" HEAD("6") ",\"watch_id\":\"1\",\"fragment\":true,\"events\":[" PUT(KEY1, "6") "]}}",
		NULL, 0, "fragments" },
	{ "compacted", CREATED "{\"result\":{" HEAD("5") ",\"watch_id\":\"1\",\"canceled\":true,\"compact_revision\":\"9\"}}", NULL,
		0, "compacted" },
	{ "no sense", CREATED "}", NULL, 0, NULL, ETCD_BAD_ANSWER },
	{ "not asked for", "{\"result\":{" HEAD("5") ",\"watch_id\":\"2\",\"created\":true}}", NULL, 0, NULL, ETCD_BAD_ANSWER },
	{ "created twice", "{\"result\":{" HEAD("5") ",\"watch_id\":\"1\",\"created\":true}}" CREATED, NULL, 0, NULL,
		ETCD_BAD_ANSWER },
	{ "behind", "{\"result\":{" HEAD("4") ",\"watch_id\":\"1\",\"created\":true}}", NULL, 0, NULL, ETCD_UNKNOWN },
	{ "an older term",
		"{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":\"5\",\"raft_term\":\"1\"},\"watch_id\":\"1\",\"created\":"
		"true}}",
		NULL, 0, NULL, ETCD_UNKNOWN },
	{ "another cluster", "{\"result\":{\"header\":{\"cluster_id\":\"8\",\"revision\":\"9\"},\"watch_id\":\"1\",\"created\":true}}",
		NULL, 0, NULL, ETCD_FOREIGN },
	{ "refused", "{\"result\":{" HEAD("5") ",\"created\":true,\"canceled\":true,\"cancel_reason\":\"permission denied\"}}",
		NULL, 0, NULL, ETCD_DENIED },
	{ "an error", "{\"error\":{\"grpc_code\":14,\"message\":\"etcdserver: no leader\"}}", NULL, 0, NULL, ETCD_UNKNOWN },
	{ "HTML", "<html>", NULL, 0, NULL, ETCD_BAD_ANSWER },
};

static void watch_once(size_t i, bool ends)
{
	static struct watched w;
	struct server s;
	struct etcd *e;

	server_start(&s, cases[i].frames, "");
	s.ends = ends;
	s.check = cases[i].check ? cases[i].check : s.state;
	s.later = STATE("9", KV(KEY1, "9"));
	e = server_client(&s, 1);
	watched_start(&w, e, "a/", NULL, 0, 0);
	if (cases[i].reset) {
		T_UNTIL(s.base, w.n_resets == 2);
		ck_assert_str_eq(w.reset_reason, cases[i].reset);
		ck_assert(!w.went_back);
	} else if (cases[i].failure) {
		T_UNTIL(s.base, w.status.result == cases[i].failure);
		ck_assert_int_ne(w.status.state, ETCD_WATCH_CONNECTED);
	} else if (ends) {
		T_UNTIL(s.base, s.n_watches[0] == 2); /* it comes again */
	} else {
		uint64_t end_ns = clk_mono_ns() + 1500 * NS_PER_MS; /* the check's grace goes by, and nothing comes */

		while (clk_mono_ns() < end_ns)
			t_turn(s.base);
	}
	if (!cases[i].reset && !cases[i].failure)
		ck_assert_msg(w.n_resets == 1, "%s: %s", cases[i].what, w.reset_reason);
	ck_assert_msg(w.n_events == cases[i].n_events, "%s: %zu events", cases[i].what, w.n_events);
	etcd_free(e);
	server_free(&s);
}

START_TEST(what_the_server_does)
{
	watch_once((size_t)_i, false);
}
END_TEST

/* The connection ends behind the last frame: all of it counts, and a watch that ends is made anew. */
START_TEST(and_then_it_ends)
{
	if (cases[_i].reset && strcmp(cases[_i].reset, "etcd lost an event") == 0)
		return; /* without a stream no event is missed */
	watch_once((size_t)_i, true);
}
END_TEST

/* A member that is behind is left for one that is not. */
START_TEST(the_better_member_is_taken)
{
	static struct watched w;
	struct server s;
	struct etcd *e;

	server_start(&s, "{\"result\":{" HEAD("4") ",\"watch_id\":\"1\",\"created\":true}}", CREATED EVENTS("6", PUT(KEY1, "6")));
	e = server_client(&s, 2);
	watched_start(&w, e, "a/", NULL, 0, 0);
	T_UNTIL(s.base, w.status.state == ETCD_WATCH_CONNECTED);
	T_UNTIL(s.base, w.n_events == 1);
	ck_assert_str_eq(w.endpoint, s.urls[1]);
	ck_assert_uint_eq(w.n_resets, 1);
	ck_assert_uint_eq(s.n_watches[0], 1);
	etcd_free(e);
	server_free(&s);
}
END_TEST

/* The new stream speaks before the old one is closed. */
START_TEST(new_before_old)
{
	static struct watched w;
	struct server s;
	struct etcd *e;

	server_start(&s, CREATED EVENTS("6", PUT(KEY1, "6")), "");
	s.check = STATE("6", KV(KEY1, "6"));
	e = server_client(&s, 1);
	watched_start(&w, e, "a/", NULL, 0, 100);
	T_UNTIL(s.base, w.n_events == 1);
	/* From now on nobody answers new watches: the old one stays. */
	s.frames[0] = "";
	T_UNTIL(s.base, s.n_watches[0] >= 2);
	T_UNTIL(s.base, w.n_states >= 1);
	ck_assert_int_eq(w.status.state, ETCD_WATCH_CONNECTED);
	(void)evbuffer_add_printf(bufferevent_get_output(s.conns[1]), "%s", EVENTS("7", PUT(KEY1, "7")));
	s.check = STATE("7", KV(KEY1, "7"));
	T_UNTIL(s.base, w.n_events == 2);
	s.frames[0] = "{\"result\":{" HEAD("7") ",\"watch_id\":\"1\",\"created\":true}}" EVENTS("8", PUT(KEY1, "7") "," PUT(KEY1, "8"));
	s.check = STATE("8", KV(KEY1, "8"));
	T_UNTIL(s.base, w.n_events == 3);
	ck_assert_int_eq(w.events[2].mod, 8);
	ck_assert_uint_eq(w.n_resets, 1);
	ck_assert_uint_eq(w.n_states, 1);
	etcd_free(e);
	server_free(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_watch");
	TCase *tc = tcase_create("watch");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, what_the_server_does, 0, (int)ARRAY_SIZE(cases));
	tcase_add_loop_test(tc, and_then_it_ends, 0, (int)ARRAY_SIZE(cases));
	tcase_add_test(tc, the_better_member_is_taken);
	tcase_add_test(tc, new_before_old);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
