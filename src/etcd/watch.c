/*
 * The watch: see watch.h for how it goes and what can fail.
 *
 * At any time: `read` (the state is being read for a reset), or streams (`cur` speaks, `next` is being made), or
 * the timer runs. The user's functions are called at three points only: watch_give_events(), watch_give_reset() and
 * on_notify(); behind each of them the watch may be gone, so nothing is done there any more.
 */
#include "etcd/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "etcd/view.h"
#include "etcd/watch_stream.h"

#define RENEW_MS_DEFAULT 30000
#define BACKOFF_MS_MIN   50
#define BACKOFF_MS_MAX   2000
#define REFUSED_MS_MIN   2000 /* denied again after a new token, or foreign: an operator's matter */
#define GRACE_MS         1000 /* for events that are on their way when a read says otherwise */
#define LIVED_MS_MIN     1000 /* a stream that ends sooner did not work */
#define HINT_MS_MIN      1000 /* between renewals because of failed calls */

struct wrange {
	struct etcd_watch_range r; /* key and range_end are owned */
	int64_t revision;          /* all events up to here were handed out */
};

struct etcd_watch {
	TAILQ_ENTRY(etcd_watch) link;
	struct etcd *e;
	struct wrange *ranges;
	size_t n_ranges;
	bool prev_kv;
	uint32_t renew_ms;
	struct etcd_watch_ops ops;
	void *ctx;

	struct view view;
	bool view_whole;       /* else keys from before base_revision are missing in it */
	int64_t base_revision;
	bool want_reset;
	const char *reset_reason;
	uint64_t reset_ns;     /* the last one */
	int64_t revision;      /* highest handed out */

	struct etcd_call *read, *check;
	struct seen read_seen, check_seen;
	struct wstream *cur, *next;
	struct auth_waiter waiter;
	struct view read_view; /* of the check under way */
	int64_t read_revision;
	struct event *timer, *grace, *notify;
	size_t endpoint;       /* for the next stream */
	unsigned fails;        /* in a row */
	unsigned stales;       /* members in a row that were behind */
	unsigned refusals;     /* in a row: denied, foreign */
	uint64_t hint_ns;

	struct etcd_watch_status status;
	char reason[JSON_TEXT_MAX];
	unsigned busy; /* the user's functions that are running */
	bool dead;
};

static struct seen watch_seen(const struct etcd_watch *w)
{
	return (struct seen){ .revision = w->revision, .raft_term = w->e->raft_term };
}

/* ---- pauses, state */

static void watch_arm(struct event *ev, uint64_t ms)
{
	struct timeval tv = { .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	must(event_add(ev, &tv) == 0);
}

/* Somewhere between @ms / 3 * 2 and @ms. */
static uint64_t jitter(uint64_t ms)
{
	return ms - id_random() % (ms / 3 + 1);
}

static void watch_retry(struct etcd_watch *w)
{
	unsigned rounds = MIN2(w->fails / (unsigned)w->e->n_endpoints, 6u);
	uint64_t ms = MIN2((uint64_t)BACKOFF_MS_MIN << rounds, (uint64_t)BACKOFF_MS_MAX);

	if (w->refusals > 1)
		ms = MAX2(ms, (uint64_t)REFUSED_MS_MIN);
	watch_arm(w->timer, w->fails ? jitter(ms) : 0);
}

static void watch_set_state(struct etcd_watch *w, enum etcd_watch_state state, size_t endpoint)
{
	const char *url = w->e->endpoints[endpoint].url;

	if (w->status.state == state && strcmp(w->status.endpoint, url) == 0)
		return;
	if (w->status.state != state)
		w->status.since_ns = clk_boot_ns();
	/* The endpoints of tries that fail are not news. */
	if (w->status.state != state || state == ETCD_WATCH_CONNECTED)
		event_active(w->notify, EV_TIMEOUT, 1);
	w->status.state = state;
	w->status.endpoint = url;
}

static void watch_note_failure(struct etcd_watch *w, enum etcd_result result, const char *reason, size_t endpoint)
{
	w->status.result = result;
	w->refusals += result == ETCD_DENIED || result == ETCD_FOREIGN;
	if (reason != w->reason)
		(void)snprintf(w->reason, sizeof w->reason, "%s", reason);
	if (w->cur)
		return;
	w->status.member_id = 0;
	watch_set_state(w, result == ETCD_FOREIGN ? ETCD_WATCH_FOREIGN : ETCD_WATCH_BROKEN, endpoint);
}

static void watch_release(struct etcd_watch *w)
{
	w->e->callbacks--;
	if (--w->busy == 0 && w->dead)
		free(w);
}

static void watch_hold(struct etcd_watch *w)
{
	w->e->callbacks++;
	w->busy++;
}

static void on_notify(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct etcd_watch *w = ctx;
	struct etcd_watch_status status;

	if (!w->ops.on_state)
		return;
	etcd_watch_get_status(w, &status);
	watch_hold(w);
	w->ops.on_state(w->ctx, &status);
	watch_release(w);
}

/* ---- the check: did events get lost? */

static void watch_stop_check(struct etcd_watch *w)
{
	struct etcd_call *check = TAKE(w->check);

	if (check)
		etcd_call_cancel(check);
	(void)event_del(w->grace);
	view_deinit(&w->read_view);
}

static void watch_doubt(struct etcd_watch *w, const char *why, size_t endpoint)
{
	bool again = clk_boot_ns() - w->reset_ns < LIVED_MS_MIN * NS_PER_MS;

	w->want_reset = true;
	w->reset_reason = why;
	watch_stop_check(w);
	auth_unwait(w->e, &w->waiter);
	wstream_close(TAKE(w->cur));
	wstream_close(TAKE(w->next));
	w->fails += again;
	watch_note_failure(w, ETCD_COMPACTED, why, endpoint);
	watch_retry(w);
}

static bool watch_check_settles(struct etcd_watch *w)
{
	if (!view_agrees(&w->view, &w->read_view, w->read_revision))
		return false;
	view_settle(&w->view, w->read_revision);
	view_deinit(&w->read_view);
	return true;
}

static void on_grace(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct etcd_watch *w = ctx;

	if (!w->cur)
		view_deinit(&w->read_view); /* without a stream nothing can have come: at the next renewal */
	else if (!watch_check_settles(w))
		watch_doubt(w, "etcd lost an event", w->cur->endpoint);
}

static int view_note_all(struct view *v, const struct etcd_txn_resp *txn, int64_t max_revision)
{
	for (size_t i = 0; i < txn->n_responses; i++) {
		const struct etcd_range_resp *range = &txn->responses[i].range;

		for (size_t k = 0; k < range->n_kvs; k++) {
			int r = range->kvs[k].mod_revision > max_revision ? 0 :
				view_note(v, range->kvs[k].key, range->kvs[k].mod_revision, false);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* @seen: what had been seen before the question was asked. Since then the watch may have gone on, rightly. */
static bool header_is_stale(const struct etcd_header *h, struct seen seen)
{
	return h->revision < seen.revision || h->raft_term < seen.raft_term;
}

/* What cannot be checked now is checked at the next renewal. */
static void on_check(void *ctx, const struct etcd_answer *a)
{
	struct etcd_watch *w = ctx;

	if (!w->check)
		return; /* cancelled by us */
	w->check = NULL;
	if (a->result != ETCD_OK || header_is_stale(&a->header, w->check_seen))
		return;
	view_deinit(&w->read_view);
	w->read_revision = a->header.revision;
	if (view_note_all(&w->read_view, &a->txn, INT64_MAX) < 0 ||
		(!w->view_whole && view_note_all(&w->view, &a->txn, w->base_revision) < 0)) {
		view_deinit(&w->read_view);
		return;
	}
	w->view_whole = true;
	if (!watch_check_settles(w))
		watch_arm(w->grace, GRACE_MS);
}

/* ---- the reset */

static int watch_read(struct etcd_watch *w, bool keys_only, etcd_fn fn, struct etcd_call **ret_call)
{
	struct etcd_op ops[ETCD_RANGES_MAX];
	struct etcd_txn_req req = { .success = ops, .n_success = w->n_ranges };

	for (size_t i = 0; i < w->n_ranges; i++) {
		const struct etcd_watch_range *r = &w->ranges[i].r;

		ops[i] = (struct etcd_op){
			.kind = ETCD_OP_RANGE,
			.range = { r->key, r->range_end, .prefix = r->prefix, .keys_only = keys_only },
		};
	}
	return etcd_txn(w->e, &req, 0, fn, w, ret_call);
}

static void watch_give_reset(struct etcd_watch *w, const struct etcd_answer *a, bool went_back)
{
	struct etcd_range_kvs ranges[ETCD_RANGES_MAX];
	struct etcd_reset reset = {
		.revision = a->header.revision,
		.ranges = ranges,
		.n_ranges = w->n_ranges,
		.went_back = went_back,
		.reason = w->reset_reason,
	};

	for (size_t i = 0; i < w->n_ranges; i++) {
		const struct etcd_range_resp *r = &a->txn.responses[i].range;

		ranges[i] = (struct etcd_range_kvs){ r->kvs, r->n_kvs };
		w->ranges[i].revision = a->header.revision;
	}
	w->revision = a->header.revision;
	w->reset_ns = clk_boot_ns();
	w->want_reset = false;
	w->view_whole = true;
	w->stales = 0;
	w->endpoint = w->e->endpoint;
	watch_arm(w->timer, 0);
	watch_hold(w);
	w->ops.on_reset(w->ctx, &reset);
	watch_release(w);
}

static void watch_read_failed(struct etcd_watch *w, enum etcd_result result, const char *reason)
{
	w->fails++;
	watch_note_failure(w, result, reason, w->e->endpoint);
	watch_retry(w);
}

/* Every endpoint was asked twice, and all are behind: then it is the store that went back. */
static bool watch_all_are_stale(struct etcd_watch *w)
{
	return w->stales > 2 * w->e->n_endpoints;
}

static void on_read(void *ctx, const struct etcd_answer *a)
{
	struct etcd_watch *w = ctx;
	bool went_back = a->header.revision < w->revision;

	if (!w->read)
		return; /* cancelled by us */
	w->read = NULL;
	if (a->result != ETCD_OK) {
		watch_read_failed(w, a->result, a->reason);
		return;
	}
	if (header_is_stale(&a->header, w->read_seen)) {
		w->stales++;
		if (!watch_all_are_stale(w)) {
			w->e->endpoint = endpoint_after(w->e, w->e->endpoint);
			watch_read_failed(w, ETCD_UNKNOWN, "the member is behind what was seen");
			return;
		}
		w->e->raft_term = a->header.raft_term;
	}
	view_deinit(&w->view);
	if (view_note_all(&w->view, &a->txn, INT64_MAX) < 0) {
		watch_read_failed(w, ETCD_BAD_ANSWER, "too many keys");
		return;
	}
	watch_give_reset(w, a, went_back);
}

/* ---- streams */

static int watch_body(const struct etcd_watch *w, struct buf *b)
{
	for (size_t i = 0; i < w->n_ranges; i++) {
		int r = enc_watch_create(b, &w->ranges[i].r, (int64_t)i + 1, w->ranges[i].revision + 1, w->prev_kv);

		if (r < 0)
			return r;
	}
	return enc_watch_progress(b);
}

static int watch_open(struct etcd_watch *w)
{
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = watch_body(w, &body);

	if (r < 0)
		return r;
	return wstream_open(w->e, w, w->endpoint, w->n_ranges,
		(struct bytes){ .p = buf_head(&body), .len = buf_len(&body) }, watch_seen(w), &w->next);
}

static void watch_stream_failed(struct etcd_watch *w, enum etcd_result result, const char *reason)
{
	w->fails++;
	watch_note_failure(w, result, reason, w->endpoint);
	w->endpoint = endpoint_after(w->e, w->endpoint);
	watch_retry(w);
}

static void on_token(struct auth_waiter *waiter, enum etcd_result result, const char *reason)
{
	struct etcd_watch *w = container_of(waiter, struct etcd_watch, waiter);

	if (result != ETCD_OK)
		watch_stream_failed(w, result, reason);
	else if (watch_open(w) < 0)
		watch_stream_failed(w, ETCD_NOT_SENT, "out of memory");
}

static void watch_go(struct etcd_watch *w)
{
	int r = 0;

	if (w->read || w->next || w->waiter.waiting)
		return;
	if (w->want_reset) {
		w->read_seen = watch_seen(w);
		if (watch_read(w, false, on_read, &w->read) < 0)
			watch_read_failed(w, ETCD_NOT_SENT, "out of memory or of calls");
		return;
	}
	r = auth_ensure(w->e, &w->waiter);
	if (r == 0)
		r = watch_open(w);
	if (r < 0)
		watch_stream_failed(w, ETCD_NOT_SENT, "out of memory or of calls");
}

static void on_timer(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	watch_go(ctx);
}

void watch_on_end(struct etcd_watch *w, struct wstream *s, enum etcd_result result, const char *reason)
{
	size_t endpoint = s->endpoint;
	bool lived = s->connected_ns && clk_boot_ns() - s->connected_ns > LIVED_MS_MIN * NS_PER_MS;

	must(s == w->cur || s == w->next);
	(void)snprintf(w->reason, sizeof w->reason, "%s", reason); /* it may belong to the stream */
	if (s == w->cur)
		w->cur = NULL;
	else
		w->next = NULL;
	wstream_close(s);
	w->fails = lived ? 0 : w->fails + 1;
	watch_note_failure(w, result, w->reason, endpoint);
	if (w->next)
		return; /* it has its own deadline */
	w->endpoint = endpoint_after(w->e, endpoint);
	watch_retry(w);
}

void watch_on_oversize(struct etcd_watch *w, struct wstream *s)
{
	watch_doubt(w, "a frame was too large", s->endpoint);
}

/* ---- frames */

static void watch_connected(struct etcd_watch *w, struct wstream *s, const struct etcd_header *h)
{
	wstream_connected(s);
	(void)header_accept(w->e, h, true); /* accepted before; now its term counts */
	s->member_id = h->member_id;
	wstream_close(w->cur);
	w->cur = s;
	w->next = NULL;
	w->fails = 0;
	w->stales = 0;
	w->refusals = 0;
	w->endpoint = s->endpoint;
	w->status.result = ETCD_OK;
	w->status.member_id = h->member_id;
	w->reason[0] = 0;
	watch_set_state(w, ETCD_WATCH_CONNECTED, s->endpoint);
	watch_arm(w->timer, jitter(w->renew_ms));
	(void)event_del(w->grace);
	if (w->check)
		return;
	w->check_seen = watch_seen(w);
	if (watch_read(w, true, on_check, &w->check) < 0)
		w->check = NULL; /* at the next renewal */
}

static void watch_on_created(struct etcd_watch *w, struct wstream *s, const struct watch_frame *f, size_t index)
{
	if (s->created[index]) {
		watch_on_end(w, s, ETCD_BAD_ANSWER, "a watch was created twice");
		return;
	}
	if (header_is_stale(&f->header, s->seen)) {
		if (++w->stales > 2 * w->e->n_endpoints)
			watch_doubt(w, "all members are behind what was seen", s->endpoint);
		else
			watch_on_end(w, s, ETCD_UNKNOWN, "the member is behind what was seen");
		return;
	}
	s->created[index] = true;
	if (++s->n_created == s->n_ranges)
		watch_connected(w, s, &f->header);
}

static void watch_on_canceled(struct etcd_watch *w, struct wstream *s, const struct watch_frame *f)
{
	if (f->compact_revision) {
		watch_doubt(w, "compacted", s->endpoint);
		return;
	}
	/* etcd 3.4 says "permission denied" to a token that it does not know: try a new one, slowly. */
	(void)auth_reject(w->e, s->auth_generation);
	watch_on_end(w, s, ETCD_DENIED, *f->text ? f->text : "etcd cancelled the watch");
}

/*
 * Moves the events that are news to the front of the frame. An event at or below the range's revision is a double,
 * and so is one that the key has had: all events of a revision come in one frame, as fragments are not asked for.
 * Negative: the watch must read again.
 */
static int watch_take_news(struct etcd_watch *w, struct watch_frame *f, size_t index, size_t *ret_n)
{
	struct wrange *range = &w->ranges[index];
	int64_t floor = range->revision;
	size_t n = 0;

	for (size_t i = 0; i < f->n_events; i++) {
		struct etcd_event *ev = &f->events[i];
		int64_t mod = ev->kv.mod_revision;
		int r;

		if (mod <= floor || mod <= view_mod(&w->view, ev->kv.key))
			continue;
		if (mod < range->revision)
			return -EBADMSG;
		r = view_note(&w->view, ev->kv.key, mod, ev->deleted);
		if (r < 0)
			return r;
		range->revision = mod;
		w->revision = MAX2(w->revision, mod);
		ev->range = index;
		f->events[n++] = *ev;
	}
	*ret_n = n;
	return 0;
}

static void watch_on_events(struct etcd_watch *w, struct wstream *s, struct watch_frame *f, size_t index)
{
	size_t n;

	if (f->fragment || f->header.revision < s->revisions[index]) {
		watch_doubt(w, f->fragment ? "fragments" : "the revision went back", s->endpoint);
		return;
	}
	s->revisions[index] = f->header.revision;
	if (watch_take_news(w, f, index, &n) < 0) {
		watch_doubt(w, "events out of order, or too many keys", s->endpoint);
		return;
	}
	if (!n)
		return;
	watch_hold(w);
	w->ops.on_events(w->ctx, f->events, n);
	watch_release(w);
}

void watch_on_frame(struct etcd_watch *w, struct wstream *s, struct watch_frame *f)
{
	bool known = f->watch_id >= 1 && f->watch_id <= (int64_t)w->n_ranges;

	if (f->result != ETCD_OK) {
		if (f->result == ETCD_DENIED || f->result == ETCD_INVALID)
			(void)auth_reject(w->e, s->auth_generation); /* it may be the token */
		watch_on_end(w, s, f->result, f->text);
	} else if (!header_accept(w->e, &f->header, false)) {
		watch_on_end(w, s, ETCD_FOREIGN, "another etcd cluster answered");
	} else if (f->canceled) {
		watch_on_canceled(w, s, f);
	} else if (!known && (f->created || f->n_events)) {
		watch_on_end(w, s, ETCD_BAD_ANSWER, "an answer to a watch that was not asked for");
	} else if (f->created) {
		watch_on_created(w, s, f, (size_t)f->watch_id - 1);
	} else if (f->n_events) {
		watch_on_events(w, s, f, (size_t)f->watch_id - 1);
	}
}

/* ---- hints from calls */

static void watch_endpoint_failed(struct etcd_watch *w, size_t index)
{
	uint64_t now_ns = clk_boot_ns();

	if (!w->cur || w->cur->endpoint != index || w->next || w->waiter.waiting)
		return;
	if (now_ns - MAX2(w->hint_ns, w->cur->connected_ns) < HINT_MS_MIN * NS_PER_MS)
		return;
	w->hint_ns = now_ns;
	w->endpoint = endpoint_after(w->e, index);
	watch_arm(w->timer, 0);
}

void watch_endpoint_failed_all(struct etcd *e, size_t index)
{
	struct etcd_watch *w;

	TAILQ_FOREACH(w, &e->watches, link)
		watch_endpoint_failed(w, index);
}

/* ---- life */

static int bytes_dup(struct bytes b, struct bytes *ret_b)
{
	uint8_t *p = malloc(b.len + 1);

	if (!p)
		return -ENOMEM;
	if (b.len)
		memcpy(p, b.p, b.len);
	*ret_b = (struct bytes){ .p = p, .len = b.len };
	return 0;
}

static int watch_copy_ranges(struct etcd_watch *w, const struct etcd_watch_conf *conf)
{
	w->ranges = calloc(conf->n_ranges, sizeof *w->ranges);
	if (!w->ranges)
		return -ENOMEM;
	w->n_ranges = conf->n_ranges;
	for (size_t i = 0; i < conf->n_ranges; i++) {
		struct etcd_watch_range *r = &w->ranges[i].r;

		r->prefix = conf->ranges[i].prefix;
		if (bytes_dup(conf->ranges[i].key, &r->key) < 0 ||
			bytes_dup(conf->ranges[i].range_end, &r->range_end) < 0)
			return -ENOMEM;
		w->ranges[i].revision = MAX2(conf->from_revision - 1, (int64_t)0);
	}
	return 0;
}

static int watch_init(struct etcd_watch *w, const struct etcd_watch_conf *conf)
{
	_cleanup_(buf_deinit) struct buf body = { .max = ETCD_REQUEST_MAX };
	int r = watch_copy_ranges(w, conf);

	if (r < 0)
		return r;
	r = watch_body(w, &body); /* only to see whether it can be said */
	if (r < 0)
		return r;
	w->timer = evtimer_new(w->e->base, on_timer, w);
	w->grace = evtimer_new(w->e->base, on_grace, w);
	w->notify = evtimer_new(w->e->base, on_notify, w);
	if (!w->timer || !w->grace || !w->notify)
		return -ENOMEM;
	watch_arm(w->timer, 0);
	return 0;
}

int etcd_watch_new(struct etcd *e, const struct etcd_watch_conf *conf, const struct etcd_watch_ops *ops, void *ctx,
	struct etcd_watch **ret_watch)
{
	struct etcd_watch *w;
	int r;

	if (!conf->n_ranges || conf->n_ranges > ETCD_RANGES_MAX || conf->from_revision < 0)
		return -EINVAL;
	w = calloc(1, sizeof *w);
	if (!w)
		return -ENOMEM;
	w->e = e;
	w->ops = *ops;
	w->ctx = ctx;
	w->prev_kv = conf->prev_kv;
	w->renew_ms = conf->renew_ms ? conf->renew_ms : RENEW_MS_DEFAULT;
	w->endpoint = e->endpoint;
	w->want_reset = conf->from_revision == 0;
	w->reset_reason = "start";
	w->base_revision = w->revision = MAX2(conf->from_revision - 1, (int64_t)0);
	w->waiter.fn = on_token;
	w->status = (struct etcd_watch_status){ .since_ns = clk_boot_ns(), .endpoint = "" };
	TAILQ_INSERT_TAIL(&e->watches, w, link);
	r = watch_init(w, conf);
	if (r < 0) {
		etcd_watch_free(w);
		return r;
	}
	*ret_watch = w;
	return 0;
}

void etcd_watch_free(struct etcd_watch *w)
{
	struct etcd_call *read;

	if (!w)
		return;
	must(!w->dead);
	w->dead = true;
	TAILQ_REMOVE(&w->e->watches, w, link);
	read = TAKE(w->read);
	if (read)
		etcd_call_cancel(read);
	if (w->grace)
		watch_stop_check(w);
	auth_unwait(w->e, &w->waiter);
	wstream_close(TAKE(w->cur));
	wstream_close(TAKE(w->next));
	view_deinit(&w->view);
	for (size_t i = 0; i < w->n_ranges; i++) {
		free((void *)w->ranges[i].r.key.p);
		free((void *)w->ranges[i].r.range_end.p);
	}
	free(w->ranges);
	if (w->timer)
		event_free(w->timer);
	if (w->grace)
		event_free(w->grace);
	if (w->notify)
		event_free(w->notify);
	if (!w->busy)
		free(w);
}

void watch_free_all(struct etcd *e)
{
	while (!TAILQ_EMPTY(&e->watches))
		etcd_watch_free(TAILQ_FIRST(&e->watches));
}

void etcd_watch_get_status(const struct etcd_watch *w, struct etcd_watch_status *ret_status)
{
	*ret_status = w->status;
	ret_status->reason = w->reason;
	ret_status->revision = w->revision;
}
