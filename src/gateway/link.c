#include "config.h"

#include "gateway/link.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "base/units.h"

#define READS_PER_TURN 8

enum link_state { LINK_WAITING, LINK_LOOKUP, LINK_CONNECTING, LINK_PREFACE, LINK_HELLO, LINK_UP };

struct link {
	struct link_env *env;
	struct link_ops ops;
	void *ctx;
	char engine[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
	enum link_state state;
	int fd;
	struct event *ev_read, *ev_write, *timer;
	struct evdns_getaddrinfo_request *lookup;
	struct buf in, out;
	uint32_t retry_ms;
	uint64_t conn;
	bool full; /* the socket takes nothing now: until ev_write, or the end */
	bool reset;
};

static _Atomic uint64_t next_conn = 1;

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static void timer_in(struct link *l, uint32_t ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	evtimer_add(l->timer, &tv);
}

void link_env_deinit(struct link_env *env)
{
	if (env->dns)
		evdns_base_free(env->dns, 1);
	env->dns = NULL;
}

/* ------------------------------------------------------------------------------------------------------------- end */

static void events_free(struct link *l)
{
	if (l->ev_read)
		event_free(l->ev_read);
	if (l->ev_write)
		event_free(l->ev_write);
	l->ev_read = l->ev_write = NULL;
}

/* The connection is over, for whatever reason; the next attempt comes by timer. */
static void fail(struct link *l)
{
	bool was_up = l->state == LINK_UP;

	events_free(l);
	l->fd = close_fd(l->fd);
	buf_deinit(&l->in);
	buf_deinit(&l->out);
	l->conn = 0;
	l->reset = l->full = false;
	l->state = LINK_WAITING;
	timer_in(l, l->retry_ms);
	l->retry_ms = MIN2(2 * l->retry_ms, (uint32_t)LINK_RETRY_MAX_MS);
	if (was_up)
		l->ops.down(l->ctx);
}

void link_free(struct link *l)
{
	if (!l)
		return;
	if (l->lookup)
		evdns_getaddrinfo_cancel(
			l->lookup); /* calls back later, with EVUTIL_EAI_CANCEL: see on_lookup() */
	events_free(l);
	l->fd = close_fd(l->fd);
	if (l->timer)
		event_free(l->timer);
	l->timer = NULL;
	buf_deinit(&l->in);
	buf_deinit(&l->out);
	if (!l->lookup)
		free(l);
}

/* --------------------------------------------------------------------------------------------------------- connect */

static void say_hello(struct link *l)
{
	struct peer_hello h = { .kind = PEER_KIND_GATEWAY, .run = l->env->run };

	(void)snprintf(h.engine, sizeof h.engine, "%s", l->engine);
	(void)snprintf(h.release, sizeof h.release, "%s", PACKAGE_VERSION);
	l->state = LINK_PREFACE;
	if (buf_put(&l->out, FRAME_PREFACE, FRAME_PREFACE_BYTES) < 0 ||
		peer_hello_encode(&l->out, PEER_HELLO, &h) < 0)
		fail(l);
	else
		link_flush(l);
}

static void set_options(int fd)
{
	int one = 1, idle_s = 5, interval_s = 2, count = 3;
	unsigned silence_ms = LINK_SILENCE_MS;

	/* Failures cost speed, or time until a lost host is noticed. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
}

static void connect_to(struct link *l, const struct sockaddr *sa, socklen_t len)
{
	l->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0) {
		fail(l);
		return;
	}
	set_options(l->fd);
	l->ev_read = event_new(l->env->base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
	l->ev_write = event_new(l->env->base, l->fd, EV_WRITE, on_writable, l);
	if (!l->ev_read || !l->ev_write || (connect(l->fd, sa, len) < 0 && errno != EINPROGRESS)) {
		fail(l);
		return;
	}
	l->state = LINK_CONNECTING;
	event_add(l->ev_write, NULL);
}

static void on_lookup(int error, struct evutil_addrinfo *found, void *arg)
{
	struct link *l = arg;

	l->lookup = NULL;
	if (!l->timer) { /* link_free() was called meanwhile */
		free(l);
	} else if (error || !found) {
		fail(l);
	} else {
		connect_to(l, found->ai_addr, (socklen_t)found->ai_addrlen);
	}
	if (found)
		evutil_freeaddrinfo(found);
}

static void look_up(struct link *l, const struct units_addr *a)
{
	struct evutil_addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP };
	struct evdns_getaddrinfo_request *request;
	char port[8];

	(void)snprintf(port, sizeof port, "%u", a->port);
	if (!l->env->dns)
		l->env->dns = evdns_base_new(
			l->env->base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!l->env->dns) {
		fail(l);
		return;
	}
	l->state = LINK_LOOKUP;
	request = evdns_getaddrinfo(l->env->dns, a->host, port, &want, on_lookup, l);
	if (l->state == LINK_LOOKUP)
		l->lookup = request;
}

static void begin(struct link *l)
{
	struct sockaddr_storage ss;
	int len = sizeof ss;
	struct units_addr a;

	timer_in(l, LINK_HANDSHAKE_MS);
	if (!units_addr(l->address, &a) || !a.host[0])
		fail(l);
	else if (evutil_parse_sockaddr_port(l->address, (struct sockaddr *)&ss, &len) == 0)
		connect_to(l, (struct sockaddr *)&ss, (socklen_t)len);
	else
		look_up(l, &a);
}

static void on_timer(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
	struct link *l = arg;

	if (l->state == LINK_WAITING)
		begin(l);
	else if (l->state == LINK_LOOKUP && l->lookup)
		evdns_getaddrinfo_cancel(l->lookup); /* on_lookup() goes on from there */
	else if (l->state != LINK_UP || l->reset)
		fail(l);
}

int link_new(struct link_env *env, const char *engine, const char *address, const struct link_ops *ops,
	void *ctx, struct link **ret_link)
{
	struct link *l = calloc(1, sizeof *l);

	if (!l)
		return -ENOMEM;
	l->env = env;
	l->ops = *ops;
	l->ctx = ctx;
	l->fd = -1;
	l->retry_ms = LINK_RETRY_MIN_MS;
	(void)snprintf(l->engine, sizeof l->engine, "%s", engine);
	(void)snprintf(l->address, sizeof l->address, "%s", address);
	l->timer = evtimer_new(env->base, on_timer, l);
	if (!l->timer) {
		free(l);
		return -ENOMEM;
	}
	timer_in(l, 0);
	*ret_link = l;
	return 0;
}

/* --------------------------------------------------------------------------------------------------------- reading */

static bool take_welcome(struct link *l, const struct frame *f)
{
	struct peer_hello w;
	struct peer_reject reject;

	if (f->type == PEER_REJECT && peer_reject_decode(f->payload, &reject) == 0)
		l->ops.rejected(l->ctx, reject.text);
	if (f->type != PEER_WELCOME || peer_hello_decode(f->payload, PEER_WELCOME, &w) ||
		strcmp(w.engine, l->engine) != 0)
		return false;
	l->state = LINK_UP;
	l->conn = atomic_fetch_add(&next_conn, 1);
	l->retry_ms = LINK_RETRY_MIN_MS;
	evtimer_del(l->timer);
	l->ops.up(l->ctx, &w);
	return true;
}

static bool take_results(struct link *l, struct bytes payload)
{
	struct peer_result r;
	struct cur c;

	if (peer_results_decode(payload, &c))
		return false;
	while (peer_result_next(&c, &r))
		for (; r.count > 0; r.token++, r.seq++, r.count--)
			l->ops.result(l->ctx, &r);
	return true;
}

/* False: it makes no sense, the connection is over. Types that a node does not send to a gateway are such. */
static bool take_frame(struct link *l, const struct frame *f)
{
	struct peer_info_data info;
	struct peer_records m;
	struct peer_status s;
	uint64_t token;

	if (l->state == LINK_HELLO)
		return take_welcome(l, f);
	switch (f->type) {
	case PEER_RESULT:
		return take_results(l, f->payload);
	case PEER_STATUS:
		if (peer_status_decode(f->payload, &s))
			return false;
		l->ops.status(l->ctx, &s);
		return true;
	case PEER_RECORDS_DATA:
		if (peer_records_data_decode(f->payload, l->env->views, l->env->views_max, &m))
			return false;
		l->ops.records(l->ctx, &m, l->env->views);
		return true;
	case PEER_INFO_DATA:
		if (peer_info_data_decode(f->payload, &info))
			return false;
		l->ops.info(l->ctx, &info);
		return true;
	case PEER_PING:
		return peer_ping_decode(f->payload, &token) == 0 &&
		       peer_ping_encode(&l->out, PEER_PONG, token) == 0;
	case PEER_PONG:
		return true;
	}
	return false;
}

static bool take_preface(struct link *l)
{
	switch (frame_preface_check((struct bytes){ buf_head(&l->in), buf_len(&l->in) })) {
	case FRAME_PREFACE_MORE:
		return true;
	case FRAME_PREFACE_NO:
		return false;
	case FRAME_PREFACE_YES:
		buf_consume(&l->in, FRAME_PREFACE_BYTES);
		l->state = LINK_HELLO;
		return true;
	}
	return false;
}

/* Handles all complete messages. False: the connection is over. */
static bool take_all(struct link *l)
{
	uint32_t payload_max = PEER_FRAME_BYTES_MAX(l->env->record_bytes_max);
	struct frame f;
	int r;

	if (l->state == LINK_PREFACE && !take_preface(l))
		return false;
	while (l->state >= LINK_HELLO && buf_len(&l->in)) {
		r = frame_next((struct bytes){ buf_head(&l->in), buf_len(&l->in) }, payload_max, &f);
		if (r == FRAME_MORE)
			return true;
		if (r || !take_frame(l, &f))
			return false;
		buf_consume(&l->in, f.bytes);
	}
	return true;
}

static void on_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
	struct link *l = arg;

	l->env->now_ns = clk_boot_ns();
	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = recv(fd, l->env->rx, sizeof l->env->rx, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0 || buf_put(&l->in, l->env->rx, (size_t)n) < 0 || !take_all(l)) {
			fail(l);
			return;
		}
		if ((size_t)n < sizeof l->env->rx)
			break;
	}
	link_flush(l);
}

/* --------------------------------------------------------------------------------------------------------- writing */

static void connected(struct link *l)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		fail(l);
		return;
	}
	event_add(l->ev_read, NULL);
	say_hello(l);
}

static void on_writable(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
	struct link *l = arg;

	l->full = false;
	if (l->state == LINK_CONNECTING)
		connected(l);
	else
		link_flush(l);
}

/* A failed write is left to the reader, which finds the same; so callers need not expect a link to end here. */
void link_flush(struct link *l)
{
	while (l->fd >= 0 && l->state > LINK_CONNECTING && !l->full && !l->reset && buf_len(&l->out)) {
		ssize_t n = send(l->fd, buf_head(&l->out), buf_len(&l->out), MSG_NOSIGNAL);

		if (n > 0) {
			buf_consume(&l->out, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			l->full = true;
			event_add(l->ev_write, NULL);
		} else if (n == 0 || errno != EINTR) {
			l->full = true;
			link_reset(l);
		}
	}
}

void link_filled(struct link *l)
{
	if (buf_len(&l->out) >= LINK_WRITE_BYTES)
		link_flush(l);
}

void link_reset(struct link *l)
{
	if (l->fd < 0 || l->reset)
		return;
	l->reset = true;
	timer_in(l, 0);
}

bool link_is_up(const struct link *l)
{
	return l->state == LINK_UP;
}

const char *link_address(const struct link *l)
{
	return l->address;
}

uint64_t link_conn(const struct link *l)
{
	return l->conn;
}

struct buf *link_out(struct link *l)
{
	return &l->out;
}
