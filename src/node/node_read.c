#include "node/node_int.h"

#include "base/clk.h"

struct node_read {
	struct node_read *prev, *next;
	struct node *n;
	struct logthread_read *lt;
	leash_seq from, to;
	bool reverse;
	node_read_fn fn;
	void *ctx;
};

static void unlink_read(struct node_read *r)
{
	*(r->prev ? &r->prev->next : &r->n->reads) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->n->n_reads--;
}

static void read_done(struct node *n, node_read_fn fn, void *ctx, enum peer_status_code status,
	struct drv_rec *const *recs, size_t count, leash_seq range)
{
	n->counters.reads++;
	n->counters.read_records += count;
	fn(ctx, status, recs, count, count < range);
}

static void on_lt_read(void *ctx, int error, struct drv_rec *const *recs, size_t count)
{
	struct node_read *r = ctx;
	struct node *n = r->n;
	enum peer_status_code status = PEER_ST_OK;

	if (error == RLOG_E_GONE)
		status = PEER_ST_GONE;
	else if (error == RLOG_E_DAMAGED)
		status = PEER_ST_DAMAGED;
	else if (error != 0)
		status = PEER_ST_HOLD;
	unlink_read(r);
	read_done(n, r->fn, r->ctx, status, recs, count, r->to - r->from + 1);
	free(r);
	node_kick(n);
}

/* All of it from the cache, or as much as is there. False: the first one is not. */
static bool from_cache(struct node *n, leash_seq from, leash_seq to, bool reverse, uint32_t count_max, size_t bytes_max,
	node_read_fn fn, void *ctx)
{
	struct drv_rec *recs[NODE_READ_COUNT_MAX];
	size_t count = 0, bytes = 0;

	while (count < count_max && count <= to - from && (count == 0 || bytes < bytes_max)) {
		struct drv_rec *rec = drv_cached(n->drv, reverse ? to - count : from + count);

		if (!rec)
			break;
		bytes += REC_HEADER_BYTES + rec->body_bytes;
		recs[count++] = rec;
	}
	if (count == 0)
		return false;
	read_done(n, fn, ctx, PEER_ST_OK, recs, count, to - from + 1);
	for (size_t i = 0; i < count; i++)
		drv_rec_unref(recs[i]);
	return true;
}

static struct node_read *from_log(struct node *n, leash_seq from, leash_seq to, bool reverse, uint32_t count_max,
	size_t bytes_max, node_read_fn fn, void *ctx)
{
	struct node_read *r = n->n_reads < NODE_READS_MAX ? calloc(1, sizeof *r) : NULL;
	leash_seq last;

	if (!r)
		return NULL;
	*r = (struct node_read){ .next = n->reads, .n = n, .from = from, .to = to, .reverse = reverse, .fn = fn,
		.ctx = ctx };
	/* A follower's committed records may not have reached its own disk yet: those are in the cache. */
	last = MIN2(to, drv_cached_from(n->drv) - 1);
	must(from <= last); /* the first one asked for was not in the cache */
	if (logthread_read(n->lt, from, last, reverse, count_max, bytes_max, on_lt_read, r, &r->lt) < 0) {
		free(r);
		return NULL;
	}
	if (n->reads)
		n->reads->prev = r;
	n->reads = r;
	n->n_reads++;
	return r;
}

/* R5a: what readers may see here; false: nothing. */
static bool serving(struct node *n)
{
	struct rep_msg head;

	rep_fill_records(drv_rep(n->drv), "", &head);
	return head.flags & REP_F_SERVING;
}

void node_read(struct node *n, leash_seq from, leash_seq to, bool reverse, uint32_t count_max, size_t bytes_max,
	node_read_fn fn, void *ctx, struct node_read **ret_read)
{
	enum peer_status_code status = PEER_ST_OK;
	struct node_read *r = NULL;

	must(count_max >= 1 && count_max <= NODE_READ_COUNT_MAX);
	if (ret_read)
		*ret_read = NULL;
	from = MAX2(from, (leash_seq)1);
	to = MIN2(to, rep_commit(drv_rep(n->drv)));
	if (n->dead || !serving(n))
		status = PEER_ST_NOT_SERVING;
	else if (from > to)
		status = PEER_ST_OK;
	else if (from < n->log_start && (!reverse || to < n->log_start))
		status = PEER_ST_GONE;
	else if (from_cache(n, MAX2(from, n->log_start), to, reverse, count_max, bytes_max, fn, ctx))
		return;
	else if ((r = from_log(n, MAX2(from, n->log_start), to, reverse, count_max, bytes_max, fn, ctx)) == NULL)
		status = PEER_ST_HOLD;
	if (!r)
		read_done(n, fn, ctx, status, NULL, 0, 0);
	else if (ret_read)
		*ret_read = r;
}

void node_read_cancel(struct node_read *r)
{
	logthread_read_cancel(r->lt);
	unlink_read(r);
	free(r);
}

void node_reads_free(struct node *n)
{
	while (n->reads) {
		struct node_read *r = n->reads;

		unlink_read(r);
		free(r);
	}
}
