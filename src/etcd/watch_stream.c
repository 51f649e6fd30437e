#include "etcd/watch_stream.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/clk.h"

static void wstream_free(struct wstream *s)
{
	if (s->req)
		(void)http_cancel(s->req); /* a watch changes nothing: no matter whether it was sent */
	if (s->deadline)
		event_free(s->deadline);
	stream_deinit(&s->parser);
	free(s->created);
	free(s->revisions);
	free(s);
}

void wstream_close(struct wstream *s)
{
	if (!s || s->dead)
		return;
	s->dead = true;
	if (!s->busy)
		wstream_free(s);
}

static void on_deadline(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct wstream *s = ctx;

	watch_on_end(s->w, s, ETCD_UNKNOWN, "the watch was not created within the time allowed");
}

static void on_data(void *ctx, struct bytes data)
{
	struct wstream *s = ctx;
	struct watch_frame f;
	int r = 0;

	s->busy = true;
	stream_feed(&s->parser, data.p, data.len);
	while (!s->dead && (r = stream_next(&s->parser, &f)) == 0) {
		watch_on_frame(s->w, s, &f);
		watch_frame_deinit(&f);
	}
	if (!s->dead && r == -EMSGSIZE)
		watch_on_oversize(s->w, s);
	else if (!s->dead && r < 0)
		watch_on_end(s->w, s, ETCD_BAD_ANSWER, "the stream makes no sense");
	s->busy = false;
	if (s->dead)
		wstream_free(s);
}

static void on_done(void *ctx, const struct http_result *res)
{
	struct wstream *s = ctx;
	char reason[JSON_TEXT_MAX];

	s->req = NULL;
	if (res->complete && res->status != 200)
		(void)snprintf(reason, sizeof reason, "HTTP status %ld", res->status);
	else if (res->complete && stream_torn(&s->parser))
		(void)snprintf(reason, sizeof reason, "the stream ended in the middle");
	else
		(void)snprintf(reason, sizeof reason, "%s", res->complete ? "the stream ended" : res->reason);
	watch_on_end(s->w, s, res->issued ? ETCD_UNKNOWN : ETCD_NOT_SENT, reason);
}

static void wstream_freep(struct wstream **s)
{
	if (*s)
		wstream_free(*s);
}

int wstream_open(struct etcd *e, struct etcd_watch *w, size_t endpoint, size_t n_ranges, struct bytes body,
	struct seen seen, struct wstream **ret_stream)
{
	_cleanup_(wstream_freep) struct wstream *s = calloc(1, sizeof *s);
	_cleanup_(freep) char *url = NULL;
	struct timeval tv = { .tv_sec = e->timeout_ms / 1000, .tv_usec = e->timeout_ms % 1000 * 1000 };
	struct http_spec spec = {
		.body = body,
		.token = e->auth.token,
		.need_leader = true,
		.fresh = true,
		.connect_timeout_ms = e->connect_timeout_ms,
	};
	int r;

	if (!s || asprintf(&url, "%s/v3/watch", e->endpoints[endpoint].url) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	spec.url = url;
	s->w = w;
	s->e = e;
	s->endpoint = endpoint;
	s->seen = seen;
	s->auth_generation = e->auth.generation;
	s->n_ranges = n_ranges;
	s->created = calloc(n_ranges, sizeof *s->created);
	s->revisions = calloc(n_ranges, sizeof *s->revisions);
	s->deadline = evtimer_new(e->base, on_deadline, s);
	if (!s->created || !s->revisions || !s->deadline || event_add(s->deadline, &tv) < 0)
		return -ENOMEM;
	r = stream_init(&s->parser, e->response_bytes_max);
	if (r < 0)
		return r;
	r = http_start(e->http, &spec, on_data, on_done, s, &s->req);
	if (r < 0)
		return r;
	*ret_stream = TAKE(s);
	return 0;
}

void wstream_connected(struct wstream *s)
{
	s->connected_ns = clk_boot_ns();
	(void)event_del(s->deadline);
}
