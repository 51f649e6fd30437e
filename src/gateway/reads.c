/* Reads of an upstream: asked of the primary, again of the next one, until their time is over. */
#include <errno.h>
#include <utlist.h>

#include "base/clk.h"
#include "gateway/upstream_int.h"

#define RETRY_NS UINT64_C(20000000) /* after a refusal that does not say when */

static void unlist(struct upstream *u, struct upread *r)
{
	if (r->conn) {
		HASH_DEL(u->sent, r);
		u->n_sent--;
		r->conn = 0;
	} else {
		DL_DELETE(u->waiting, r);
	}
}

/* Takes it out; the caller completes @ret_op. */
static struct front_op *finish(struct upstream *u, struct upread *r)
{
	struct front_op *op = r->op;

	unlist(u, r);
	free(r);
	op->backend = NULL;
	return op;
}

static void fail(struct upstream *u, struct upread *r, enum peer_status_code status)
{
	bool stream = r->stream;
	struct front_op *op = finish(u, r);

	if (stream)
		front_stream_done(op, status, NULL);
	else
		front_read_done(op, status, NULL, 0, false);
}

static void take(struct upstream *u, struct front_op *op, const struct front_read *read, uint64_t now_ns)
{
	struct upread *r = calloc(1, sizeof *r);

	if (!r) {
		if (read)
			front_read_done(op, PEER_ST_NOT_SERVING, NULL, 0, false);
		else
			front_stream_done(op, PEER_ST_NOT_SERVING, NULL);
		return;
	}
	r->op = op;
	r->stream = !read;
	if (read)
		r->r = *read;
	r->arrived_ns = now_ns;
	r->token = ++u->read_token;
	op->backend = r;
	DL_APPEND(u->waiting, r);
	u->dirty = true;
}

void upstream_read(struct upstream *u, struct front_op *op, const struct front_read *r, uint64_t now_ns)
{
	take(u, op, r, now_ns);
}

void upstream_stream(struct upstream *u, struct front_op *op, uint64_t now_ns)
{
	take(u, op, NULL, now_ns);
}

void reads_cancel(struct upstream *u, struct upread *r)
{
	unlist(u, r);
	free(r);
}

/* They go back before those that came later. */
void reads_requeue(struct upstream *u)
{
	struct upread *r, *next, *back = NULL;

	HASH_ITER(hh, u->sent, r, next)
	{
		unlist(u, r);
		DL_APPEND(back, r);
	}
	DL_CONCAT(back, u->waiting);
	u->waiting = back;
}

void reads_give_up(struct upstream *u)
{
	reads_requeue(u);
	while (u->waiting)
		fail(u, u->waiting, PEER_ST_NOT_SERVING);
}

/* --------------------------------------------------------------------------------------------------------- asking */

static int ask(struct buf *out, const struct upread *r)
{
	struct peer_info info = { .token = r->token, .what = PEER_INFO_STREAM };
	struct peer_read read = {
		.token = r->token,
		.from = r->r.from,
		.to = r->r.to,
		.count_max = MIN2(r->r.count_max, FRONT_CHUNK_RECORDS),
		.bytes_max = r->r.bytes_max,
		.reverse = r->r.reverse,
	};

	return r->stream ? peer_info_encode(out, &info) : peer_read_encode(out, &read);
}

static void expire(struct upstream *u, uint64_t now_ns)
{
	struct upread *r, *next;

	DL_FOREACH_SAFE(u->waiting, r, next)
	{
		if (now_ns >= r->arrived_ns + u->hold_timeout_ns)
			fail(u, r, PEER_ST_NOT_SERVING);
	}
	HASH_ITER(hh, u->sent, r, next)
	{
		if (now_ns < r->arrived_ns + u->hold_timeout_ns)
			break;
		fail(u, r, PEER_ST_NOT_SERVING);
	}
}

void reads_pump(struct upstream *u, uint64_t now_ns)
{
	struct upread *r;

	expire(u, now_ns);
	if (!u->primary || !u->primary->serving || now_ns < u->read_retry_ns)
		return;
	u->read_retry_ns = 0;
	while ((r = u->waiting) && u->n_sent < UPSTREAM_READS_MAX) {
		if (ask(link_out(u->primary->link), r) < 0) {
			fail(u, r,
				PEER_ST_INVALID); /* what the front asks for is always in bounds, so: no memory */
			continue;
		}
		DL_DELETE(u->waiting, r);
		r->conn = link_conn(u->primary->link);
		HASH_ADD(hh, u->sent, token, sizeof r->token, r);
		u->n_sent++;
	}
}

uint64_t reads_wakeup_ns(const struct upstream *u)
{
	uint64_t wakeup_ns = UINT64_MAX;

	if (u->waiting)
		wakeup_ns = u->waiting->arrived_ns + u->hold_timeout_ns;
	if (u->sent)
		wakeup_ns = MIN2(wakeup_ns, u->sent->arrived_ns + u->hold_timeout_ns);
	if (u->waiting && u->primary && u->primary->serving && u->read_retry_ns)
		wakeup_ns = MIN2(wakeup_ns, u->read_retry_ns);
	return wakeup_ns;
}

/* -------------------------------------------------------------------------------------------------------- answers */

static struct upread *find(struct upstream *u, const struct node_link *n, uint64_t token, bool stream)
{
	struct upread *r;

	HASH_FIND(hh, u->sent, &token, sizeof token, r);
	return r && r->conn == link_conn(n->link) && r->stream == stream ? r : NULL;
}

/* A node that leads no more, and does not know it yet, must not answer: the book may know better. */
static bool is_primary(const struct upstream *u, const struct node_link *n)
{
	return n == u->primary && n->role == PEER_ROLE_PRIMARY && book_allows(u->slot, n->cluster, n->epoch);
}

static void ask_again(struct upstream *u, struct upread *r)
{
	unlist(u, r);
	DL_PREPEND(u->waiting, r);
	u->read_retry_ns = clk_boot_ns() + RETRY_NS;
}

void reads_records(
	struct upstream *u, struct node_link *n, const struct peer_records *m, const struct peer_view *views)
{
	struct upread *r = find(u, n, m->token, false);

	if (!r)
		return;
	switch (m->status) {
	case PEER_ST_OK:
		if (!is_primary(u, n))
			ask_again(u, r);
		else
			front_read_done(finish(u, r), PEER_ST_OK, views, m->n, m->more);
		return;
	case PEER_ST_GONE:
	case PEER_ST_DAMAGED:
	case PEER_ST_INVALID:
	case PEER_ST_TOO_BIG:
		fail(u, r, m->status);
		return;
	case PEER_ST_KNOWN:
	case PEER_ST_CONFLICT:
	case PEER_ST_NOT_PRIMARY:
	case PEER_ST_HOLD:
	case PEER_ST_OOM:
	case PEER_ST_SESSION_UNKNOWN:
	case PEER_ST_SESSION_ORDER:
	case PEER_ST_OLD:
	case PEER_ST_DEDUP_FULL:
	case PEER_ST_NO_REPLICAS:
	case PEER_ST_INDOUBT:
	case PEER_ST_NOT_SERVING:
		ask_again(u, r);
		return;
	}
}

void reads_info(struct upstream *u, struct node_link *n, const struct peer_info_data *m)
{
	struct upread *r = find(u, n, m->token, true);
	struct front_stream s = { .start = n->log_start, .commit = n->commit, .epoch = n->epoch };

	if (!r)
		return;
	if (!is_primary(u, n) || !stream_json_decode(m->json, &s)) {
		ask_again(u, r);
		return;
	}
	front_stream_done(finish(u, r), PEER_ST_OK, &s);
}
