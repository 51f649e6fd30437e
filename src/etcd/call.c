/*
 * One call: to an endpoint, in good weather. In bad:
 *  - no connection: the next endpoint, for every kind of call, as nothing was sent.
 *  - sent, and no answer or one of the unknown class: the next endpoint if the call is repeatable, else the end.
 *  - the token is refused (so nothing was done): a new token, once, and again to the same endpoint.
 *  - another cluster, or no etcd, answers: as with no answer.
 *  - time is up, at any point: the end. The call's own timer covers waiting for a token too.
 * Each endpoint gets one attempt. A repeatable call gives an attempt half of the time that is left, and the last one
 * all of it; any other call shares out the time to connect only, since once it is sent it must stay.
 */
#include "etcd/client.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>

#include "base/clk.h"

#define ATTEMPT_MS_MIN 20

struct etcd_call {
	TAILQ_ENTRY(etcd_call) link;
	struct etcd *e;
	struct call_spec spec;
	struct buf body;
	struct event *timer;
	uint64_t deadline_ns;
	size_t endpoint; /* of the attempt under way */
	size_t n_tried;  /* endpoints that failed */
	bool in_doubt;   /* some attempt may have been carried out */
	bool reauthed;
	uint64_t auth_generation;
	struct auth_waiter waiter;
	struct http_req *req;
	etcd_fn fn;
	void *ctx;
};

static void call_go(struct etcd_call *c);

/* ---- the end */

static void call_free(struct etcd_call *c)
{
	if (c->req)
		(void)http_cancel(c->req); /* who cares whether it was sent has asked before */
	auth_unwait(c->e, &c->waiter);
	if (c->timer)
		event_free(c->timer);
	if (c->body.data)
		explicit_bzero(c->body.data, c->body.cap); /* it may hold a password */
	buf_deinit(&c->body);
	TAILQ_REMOVE(&c->e->calls, c, link);
	c->e->n_calls--;
	free(c);
}

static void call_finish(struct etcd_call *c, const struct etcd_answer *a)
{
	struct etcd *e = c->e;
	etcd_fn fn = c->fn;
	void *ctx = c->ctx;

	call_free(c);
	e->callbacks++;
	fn(ctx, a);
	e->callbacks--;
}

static void call_fail(struct etcd_call *c, enum etcd_result result, const char *reason)
{
	struct etcd_answer a = {
		.result = result,
		.reason = reason,
		.endpoint = c->e->endpoints[c->endpoint].url,
	};

	call_finish(c, &a);
}

/* No answer that tells. */
static void call_give_up(struct etcd_call *c, const char *reason)
{
	call_fail(c, c->in_doubt ? ETCD_UNKNOWN : ETCD_NOT_SENT, reason);
}

static void on_deadline(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct etcd_call *c = ctx;
	struct http_req *req = TAKE(c->req);
	bool issued = req && http_cancel(req);

	c->in_doubt = c->in_doubt || issued;
	if (req)
		endpoint_failed(c->e, c->endpoint, true);
	call_give_up(c, issued ? "no answer within the time allowed" :
		req ? "no connection within the time allowed" : "no token within the time allowed");
}

void etcd_call_cancel(struct etcd_call *c)
{
	call_fail(c, ETCD_CANCELLED, "cancelled");
}

/* ---- answers */

/* True: another attempt is under way. */
static bool call_elsewhere(struct etcd_call *c)
{
	if (c->spec.endpoint != ETCD_ENDPOINT_ANY || ++c->n_tried >= c->e->n_endpoints)
		return false;
	if (clk_boot_ns() >= c->deadline_ns)
		return false;
	c->endpoint = endpoint_after(c->e, c->endpoint);
	call_go(c);
	return true;
}

static bool call_wants_elsewhere(const struct etcd_call *c, enum etcd_result result)
{
	return (c->spec.flags & CALL_REPEATABLE) &&
		(result == ETCD_UNKNOWN || result == ETCD_BAD_ANSWER || result == ETCD_FOREIGN);
}

static void call_no_answer(struct etcd_call *c, const struct http_result *res)
{
	char reason[JSON_TEXT_MAX];

	if (res->issued)
		c->in_doubt = true;
	endpoint_failed(c->e, c->endpoint, true);
	(void)snprintf(reason, sizeof reason, "%s", res->reason);
	if ((!res->issued || (c->spec.flags & CALL_REPEATABLE)) && call_elsewhere(c))
		return;
	if (res->too_large)
		call_fail(c, ETCD_BAD_ANSWER, reason);
	else
		call_give_up(c, reason);
}

static void call_answer(struct etcd_call *c, struct dec_answer *d, const struct http_result *res)
{
	struct etcd_answer *a = &d->a;

	a->endpoint = c->e->endpoints[c->endpoint].url;
	a->sent_ns = res->issued_ns;
	if (a->result == ETCD_OK && !header_accept(c->e, &a->header, !(c->spec.flags & CALL_LOCAL))) {
		a->result = ETCD_FOREIGN;
		a->reason = "another etcd cluster answered";
	}
	if (a->result == ETCD_BAD_ANSWER && res->status != 200)
		(void)snprintf(d->text, sizeof d->text, "HTTP status %ld and no answer of etcd's", res->status);
	if (d->auth_stale && !c->reauthed && !(c->spec.flags & CALL_NO_TOKEN) &&
		auth_reject(c->e, c->auth_generation)) {
		c->reauthed = true;
		call_go(c);
		return;
	}
	if (etcd_in_doubt(a->result))
		c->in_doubt = true;
	if (a->result == ETCD_UNKNOWN || a->result == ETCD_BAD_ANSWER || a->result == ETCD_FOREIGN)
		endpoint_failed(c->e, c->endpoint, false);
	else
		endpoint_worked(c->e, c->endpoint);
	if (call_wants_elsewhere(c, a->result) && call_elsewhere(c))
		return;
	call_finish(c, a);
}

static void on_http_done(void *ctx, const struct http_result *res)
{
	struct etcd_call *c = ctx;
	struct dec_answer d;

	c->req = NULL;
	if (!res->complete) {
		call_no_answer(c, res);
		return;
	}
	dec_answer(c->spec.kind, res->body.p, res->body.len, c->spec.n_success, c->spec.n_failure, &d);
	call_answer(c, &d, res);
	dec_answer_deinit(&d);
}

/* ---- attempts */

static int call_send(struct etcd_call *c)
{
	struct etcd *e = c->e;
	struct endpoint *ep = &e->endpoints[c->endpoint];
	uint64_t now_ns = clk_boot_ns();
	uint64_t left_ms = c->deadline_ns > now_ns ? (c->deadline_ns - now_ns) / NS_PER_MS : 0;
	size_t n_left = c->spec.endpoint == ETCD_ENDPOINT_ANY ? e->n_endpoints - c->n_tried : 1;
	uint32_t share_ms = (uint32_t)MAX2(n_left > 1 ? left_ms / 2 : left_ms, (uint64_t)ATTEMPT_MS_MIN);
	bool repeatable = c->spec.flags & CALL_REPEATABLE;
	_cleanup_(freep) char *url = NULL;
	struct http_spec spec = {
		.fresh = !repeatable || now_ns < ep->fresh_until_ns,
		.connect_timeout_ms = MIN2(e->connect_timeout_ms, share_ms),
		/* The last attempt ends with the call's own timer. */
		.timeout_ms = repeatable && n_left > 1 ? share_ms : 0,
	};

	if (asprintf(&url, "%s%s", ep->url, c->spec.path) < 0) {
		url = NULL;
		return -ENOMEM;
	}
	spec.url = url;
	if (!(c->spec.flags & CALL_GET))
		spec.body = (struct bytes){ .p = buf_head(&c->body), .len = buf_len(&c->body) };
	if (!(c->spec.flags & CALL_NO_TOKEN))
		spec.token = e->auth.token;
	c->auth_generation = e->auth.generation;
	return http_start(e->http, &spec, NULL, on_http_done, c, &c->req);
}

static int call_try(struct etcd_call *c)
{
	int r = c->spec.flags & CALL_NO_TOKEN ? 0 : auth_ensure(c->e, &c->waiter);

	if (r)
		return MIN2(r, 0);
	return call_send(c);
}

/* From the event loop: an attempt that cannot even begin ends the call. */
static void call_go(struct etcd_call *c)
{
	if (call_try(c) < 0)
		call_give_up(c, "out of memory");
}

static void on_token(struct auth_waiter *w, enum etcd_result result, const char *reason)
{
	struct etcd_call *c = container_of(w, struct etcd_call, waiter);

	if (result == ETCD_OK)
		call_go(c);
	else if (result == ETCD_DENIED)
		call_fail(c, result, reason);
	else
		call_give_up(c, reason);
}

int call_start(struct etcd *e, const struct call_spec *spec, struct buf *body, etcd_fn fn, void *ctx,
	struct etcd_call **ret_call)
{
	uint32_t timeout_ms = spec->timeout_ms ? spec->timeout_ms : e->timeout_ms;
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	struct etcd_call *c;
	int r;

	if (e->n_calls >= ETCD_CALLS_MAX || e->closing)
		return -EBUSY;
	if (spec->endpoint != ETCD_ENDPOINT_ANY && spec->endpoint >= e->n_endpoints)
		return -EINVAL;
	c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	*c = (struct etcd_call){ .e = e, .spec = *spec, .fn = fn, .ctx = ctx, .body = *body };
	c->endpoint = spec->endpoint == ETCD_ENDPOINT_ANY ? e->endpoint : spec->endpoint;
	c->deadline_ns = clk_boot_ns() + timeout_ms * NS_PER_MS;
	c->waiter.fn = on_token;
	TAILQ_INSERT_TAIL(&e->calls, c, link);
	e->n_calls++;
	c->timer = evtimer_new(e->base, on_deadline, c);
	r = c->timer && event_add(c->timer, &tv) == 0 ? call_try(c) : -ENOMEM;
	if (r < 0) {
		c->body = (struct buf)BUF_NULL; /* still the caller's */
		call_free(c);
		return r;
	}
	*body = (struct buf)BUF_NULL;
	if (ret_call)
		*ret_call = c;
	return 0;
}

const char *call_token(const struct etcd_answer *a)
{
	return container_of(a, struct dec_answer, a)->token;
}
