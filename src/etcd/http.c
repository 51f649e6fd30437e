/*
 * Flow: http_start() gives an easy handle to the multi handle, which asks for sockets and a timer to be watched.
 * Their events drive curl_multi_socket_action(); inside it libcurl only fills buffers and marks requests ready.
 * http_turn(), behind it, calls back: so no callback ever runs inside libcurl, where its functions are forbidden.
 */
#include "etcd/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clk.h"

#define HTTP_CONNS_KEPT      32
#define HTTP_KEEPIDLE_S      5 /* then 3 probes, 2 s apart */
#define HTTP_KEEPINTVL_S     2
#define HTTP_KEEPCNT         3
#define HTTP_USER_TIMEOUT_MS 10000
#define HTTP_CA_CACHE_S      60
#define HTTP_TURN_BYTES_MAX  (4 * 1024 * 1024) /* libcurl reads less than half of this from a socket in one turn */

struct http {
	struct event_base *base;
	struct event *timer;
	CURLM *multi;
	char *cacert, *cert, *key;
	size_t response_bytes_max;
	TAILQ_HEAD(, http_req) ready;
	size_t n_reqs;
};

struct http_req {
	struct http *h;
	TAILQ_ENTRY(http_req) ready_link;
	bool ready;     /* has data for a stream's owner */
	bool calling;   /* its data callback runs */
	bool cancelled; /* during it: freed behind it */
	CURL *easy;
	struct curl_slist *headers;
	struct buf in;
	char error[CURL_ERROR_SIZE];
	bool issued, too_large;
	uint64_t issued_ns;
	http_data_fn data_fn;
	http_done_fn done_fn;
	void *ctx;
};

struct http_sock {
	struct http *h;
	struct event *ev;
};

static void http_turn(struct http *h);

/* ---- sockets and the timer */

static void on_socket(evutil_socket_t fd, short what, void *ctx)
{
	struct http *h = ((struct http_sock *)ctx)->h;
	int running, bits = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

	(void)curl_multi_socket_action(h->multi, fd, bits, &running); /* what fails shows in http_turn() */
	http_turn(h);
}

static void on_timer(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct http *h = ctx;
	int running;

	(void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	http_turn(h);
}

static int curl_wants_socket(CURL *easy _unused_, curl_socket_t fd, int what, void *ctx, void *sock_ctx)
{
	struct http *h = ctx;
	struct http_sock *sock = sock_ctx;
	short events = EV_PERSIST;

	if (what == CURL_POLL_REMOVE) {
		if (sock) {
			event_free(sock->ev);
			free(sock);
			(void)curl_multi_assign(h->multi, fd, NULL);
		}
		return 0;
	}
	events |= what & CURL_POLL_IN ? EV_READ : 0;
	events |= what & CURL_POLL_OUT ? EV_WRITE : 0;
	if (!sock) {
		sock = calloc(1, sizeof *sock);
		if (!sock)
			return -1;
		sock->h = h;
		sock->ev = event_new(h->base, fd, events, on_socket, sock);
		if (!sock->ev) {
			free(sock);
			return -1;
		}
		(void)curl_multi_assign(h->multi, fd, sock); /* fails only for a socket that curl does not know */
	} else {
		(void)event_del(sock->ev);
		(void)event_assign(sock->ev, h->base, fd, events, on_socket, sock);
	}
	return event_add(sock->ev, NULL);
}

static int curl_wants_timer(CURLM *multi _unused_, long timeout_ms, void *ctx)
{
	struct http *h = ctx;
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };

	return timeout_ms < 0 ? event_del(h->timer) : event_add(h->timer, &tv);
}

/* ---- one request, as libcurl sees it */

/* Own socket: born CLOEXEC (commands are run by the daemons), and dead peers show within seconds. */
static curl_socket_t curl_opens_socket(void *ctx _unused_, curlsocktype purpose _unused_, struct curl_sockaddr *a)
{
	static const struct {
		int name, value;
	} opts[] = {
		{ TCP_KEEPIDLE, HTTP_KEEPIDLE_S },
		{ TCP_KEEPINTVL, HTTP_KEEPINTVL_S },
		{ TCP_KEEPCNT, HTTP_KEEPCNT },
		{ TCP_USER_TIMEOUT, HTTP_USER_TIMEOUT_MS },
	};
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
	int on = 1;

	if (fd < 0)
		return CURL_SOCKET_BAD;
	/* Without these a dead peer is noticed later, by deadlines: not worth a refusal. */
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		(void)setsockopt(fd, IPPROTO_TCP, opts[i].name, &opts[i].value, sizeof opts[i].value);
	return fd;
}

/* The connection stands, TLS included; the request goes out next. Not called: certainly nothing was sent. */
static int curl_issues(void *ctx, char *ip _unused_, char *local_ip _unused_, int port _unused_, int local_port _unused_)
{
	struct http_req *r = ctx;

	r->issued = true;
	r->issued_ns = clk_boot_ns();
	return CURL_PREREQFUNC_OK;
}

static size_t curl_has_data(char *p, size_t one, size_t n, void *ctx)
{
	struct http_req *r = ctx;

	if (buf_put(&r->in, p, one * n) < 0) {
		r->too_large = true;
		return 0;
	}
	if (r->data_fn && !r->ready && n) {
		r->ready = true;
		TAILQ_INSERT_TAIL(&r->h->ready, r, ready_link);
	}
	return one * n;
}

static void http_req_free(struct http_req *r)
{
	if (r->ready)
		TAILQ_REMOVE(&r->h->ready, r, ready_link);
	if (r->easy) {
		(void)curl_multi_remove_handle(r->h->multi, r->easy); /* fine when it was never added */
		curl_easy_cleanup(r->easy);
	}
	curl_slist_free_all(r->headers);
	buf_deinit(&r->in);
	r->h->n_reqs--;
	free(r);
}

static int http_add_header(struct http_req *r, const char *name, const char *value)
{
	_cleanup_(freep) char *line = NULL;
	struct curl_slist *list;

	if (asprintf(&line, "%s:%s%s", name, *value ? " " : "", value) < 0) {
		line = NULL;
		return -ENOMEM;
	}
	list = curl_slist_append(r->headers, line);
	if (!list)
		return -ENOMEM;
	r->headers = list;
	return 0;
}

static int http_set_headers(struct http_req *r, const struct http_spec *spec)
{
	/* No "Expect: 100-continue": it costs a round trip, and etcd's answer to a watch comes late anyway. */
	int err = http_add_header(r, "Expect", "");

	if (!err && spec->body.p)
		err = http_add_header(r, "Content-Type", "application/json");
	if (!err && spec->token)
		err = http_add_header(r, "Authorization", spec->token);
	if (!err && spec->need_leader)
		err = http_add_header(r, "Grpc-Metadata-hasleader", "true");
	return err;
}

/* The types matter to the variadic curl_easy_setopt(): longs are longs. */
static bool http_set_options(struct http_req *r, const struct http_spec *spec)
{
	CURL *c = r->easy;
	struct http *h = r->h;
	bool ok = true;

#define SET(opt, value) (ok = ok && curl_easy_setopt(c, CURLOPT_##opt, (value)) == CURLE_OK)
	SET(PRIVATE, r);
	SET(ERRORBUFFER, r->error);
	SET(URL, spec->url);
	SET(PROTOCOLS_STR, "http,https");
	SET(PROXY, ""); /* etcd is reached directly, whatever the environment says */
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(NOSIGNAL, 1L);
	SET(QUICK_EXIT, 1L); /* do not join a resolver thread that hangs: the loop would hang with it */
	SET(CONNECTTIMEOUT_MS, (long)spec->connect_timeout_ms);
	SET(TIMEOUT_MS, (long)spec->timeout_ms);
	SET(MAXAGE_CONN, (long)HTTP_IDLE_MAX_S);
	SET(FRESH_CONNECT, spec->fresh ? 1L : 0L);
	SET(HTTPHEADER, r->headers);
	SET(OPENSOCKETFUNCTION, curl_opens_socket);
	SET(PREREQFUNCTION, curl_issues);
	SET(PREREQDATA, r);
	SET(WRITEFUNCTION, curl_has_data);
	SET(WRITEDATA, r);
	SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(CA_CACHE_TIMEOUT, (long)HTTP_CA_CACHE_S);
	if (h->cacert)
		SET(CAINFO, h->cacert);
	if (h->cert) {
		SET(SSLCERT, h->cert);
		SET(SSLKEY, h->key);
	}
	if (spec->body.p) {
		SET(POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.len);
		SET(COPYPOSTFIELDS, (const char *)spec->body.p);
	}
#undef SET
	return ok;
}

int http_start(struct http *h, const struct http_spec *spec, http_data_fn data, http_done_fn done, void *ctx,
	struct http_req **ret_req)
{
	struct http_req *r = calloc(1, sizeof *r);
	int err = -ENOMEM;

	if (!r)
		return err;
	r->h = h;
	r->data_fn = data;
	r->done_fn = done;
	r->ctx = ctx;
	r->in.max = data ? HTTP_TURN_BYTES_MAX : h->response_bytes_max;
	h->n_reqs++;
	r->easy = curl_easy_init();
	if (r->easy)
		err = http_set_headers(r, spec);
	if (!err && !http_set_options(r, spec))
		err = -ENOMEM;
	if (!err && curl_multi_add_handle(h->multi, r->easy) != CURLM_OK)
		err = -ENOMEM;
	if (err) {
		http_req_free(r);
		return err;
	}
	*ret_req = r;
	return 0;
}

bool http_cancel(struct http_req *r)
{
	bool issued = r->issued;

	must(!r->cancelled);
	if (!r->calling) {
		http_req_free(r);
		return issued;
	}
	r->cancelled = true;
	return issued;
}

/* ---- calling back */

static void http_give_data(struct http_req *r)
{
	if (!buf_len(&r->in))
		return;
	r->calling = true;
	r->data_fn(r->ctx, (struct bytes){ .p = buf_head(&r->in), .len = buf_len(&r->in) });
	r->calling = false;
	if (r->cancelled)
		http_req_free(r);
	else
		buf_consume(&r->in, buf_len(&r->in));
}

static void http_finish(struct http_req *r, CURLcode code)
{
	struct http_result res = {
		.complete = code == CURLE_OK,
		.issued = r->issued,
		.issued_ns = r->issued_ns,
		.too_large = r->too_large,
		.reason = "",
	};

	if (r->too_large)
		res.reason = "the answer is too large";
	else if (code != CURLE_OK)
		res.reason = *r->error ? r->error : curl_easy_strerror(code);
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &res.status);
	if (!r->data_fn)
		res.body = (struct bytes){ .p = buf_head(&r->in), .len = buf_len(&r->in) };
	(void)curl_multi_remove_handle(r->h->multi, r->easy);
	r->calling = true; /* the owner has no handle on it any more, but must() in http_cancel() shall see a mistake */
	r->cancelled = true;
	r->done_fn(r->ctx, &res);
	http_req_free(r);
}

static void http_turn(struct http *h)
{
	struct http_req *r;
	CURLMsg *msg;
	int left;

	while ((r = TAILQ_FIRST(&h->ready))) {
		TAILQ_REMOVE(&h->ready, r, ready_link);
		r->ready = false;
		http_give_data(r);
	}
	while ((msg = curl_multi_info_read(h->multi, &left))) {
		CURLcode code = msg->data.result;
		char *owner = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &owner);
		http_finish((struct http_req *)(void *)owner, code);
	}
}

/* ---- life */

static pthread_once_t http_once = PTHREAD_ONCE_INIT;
static CURLcode http_global;

static void http_init_global(void)
{
	http_global = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int dup_or_null(const char *s, char **ret_s)
{
	if (!s)
		return 0;
	*ret_s = strdup(s);
	return *ret_s ? 0 : -ENOMEM;
}

static int http_setup(struct http *h, const struct http_conf *conf)
{
	bool ok;

	if (dup_or_null(conf->cacert, &h->cacert) < 0 || dup_or_null(conf->cert, &h->cert) < 0 ||
		dup_or_null(conf->key, &h->key) < 0)
		return -ENOMEM;
	h->timer = evtimer_new(h->base, on_timer, h);
	h->multi = curl_multi_init();
	if (!h->timer || !h->multi)
		return -ENOMEM;
	ok = curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, curl_wants_socket) == CURLM_OK &&
		curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
		curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, curl_wants_timer) == CURLM_OK &&
		curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) == CURLM_OK &&
		curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_CONNS_KEPT) == CURLM_OK;
	return ok ? 0 : -ENOMEM;
}

static void http_freep(struct http **h)
{
	http_free(*h);
}

int http_new(struct event_base *base, const struct http_conf *conf, struct http **ret_http)
{
	_cleanup_(http_freep) struct http *h = NULL;
	int r;

	(void)pthread_once(&http_once, http_init_global);
	if (http_global != CURLE_OK)
		return -ENOMEM;
	h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	TAILQ_INIT(&h->ready);
	h->base = base;
	h->response_bytes_max = conf->response_bytes_max;
	r = http_setup(h, conf);
	if (r < 0)
		return r;
	*ret_http = TAKE(h);
	return 0;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	must(h->n_reqs == 0);
	if (h->multi)
		(void)curl_multi_cleanup(h->multi);
	if (h->timer)
		event_free(h->timer);
	free(h->cacert);
	free(h->cert);
	free(h->key);
	free(h);
}
