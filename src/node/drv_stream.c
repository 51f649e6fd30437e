/*
 * Streams: each follower gets the records from some position on, from the cache while they are in it, else from the
 * log. A stream that cannot go on (output full, fetch under way or failed) waits; the state machine starts it anew when
 * the follower makes no progress.
 */
#include "node/drv_int.h"

static struct drv_stream *find(struct drv *d, const char *node)
{
	for (uint32_t i = 0; i < REP_NODES_MAX; i++)
		if (strcmp(d->streams[i].node, node) == 0)
			return &d->streams[i];
	return NULL;
}

void stream_start(struct drv *d, const char *node, leash_seq seq)
{
	struct drv_stream *s = find(d, node);

	if (!s) {
		s = find(d, "");
		must(s); /* the state machine knows no more than REP_NODES_MAX */
		memcpy(s->node, node, strlen(node) + 1);
	}
	s->active = true;
	s->blocked = false;
	s->stale |= s->fetching; /* it was for another position */
	s->next = seq;
}

void stream_stop(struct drv *d, const char *node)
{
	struct drv_stream *s = find(d, node);

	if (!s)
		return;
	s->active = false;
	s->stale |= s->fetching;
}

/* The log was cut: what is being read from it may not be in it any more. */
void stream_cut(struct drv *d)
{
	for (uint32_t i = 0; i < REP_NODES_MAX; i++)
		d->streams[i].stale |= d->streams[i].fetching;
}

leash_seq stream_lowest(const struct drv *d)
{
	leash_seq low = UINT64_MAX;

	for (uint32_t i = 0; i < REP_NODES_MAX; i++)
		if (d->streams[i].active)
			low = MIN2(low, d->streams[i].next);
	return low;
}

static bool send_batch(struct drv *d, struct drv_stream *s, struct drv_rec *const *recs, size_t n)
{
	struct rep_msg head;

	rep_fill_records(d->rep, s->node, &head);
	head.n_recs = (uint32_t)n;
	if (!d->io.send_records(d->io.ctx, s->node, &head, recs, n)) {
		s->blocked = true;
		return false;
	}
	s->next += n;
	return true;
}

/* One message from the cache. */
static void send_cached(struct drv *d, struct drv_stream *s, leash_seq limit)
{
	struct drv_rec *recs[DRV_APPEND_MAX];
	uint64_t bytes = 0;
	size_t n = 0;

	for (leash_seq seq = s->next; seq <= limit && n < ARRAY_SIZE(recs); seq++) {
		struct drv_rec *rec = cache_get(&d->cache, seq);

		if (!rec || (n > 0 && bytes + drv_rec_size(rec) > d->conf.batch_bytes))
			break;
		bytes += drv_rec_size(rec);
		recs[n++] = rec;
	}
	(void)send_batch(d, s, recs, n); /* false: blocked, which the caller's loop looks at */
}

static void pump(struct drv *d, struct drv_stream *s)
{
	leash_seq limit = MIN2(rep_stream_limit(d->rep), d->end);

	while (s->active && !s->blocked && !s->fetching && s->next <= limit) {
		if (cache_get(&d->cache, s->next)) {
			send_cached(d, s, limit);
			continue;
		}
		s->fetching = true;
		d->io.fetch(d->io.ctx, s->node, s->next,
			MIN2(MIN2(limit, d->cache.first - 1), s->next + DRV_APPEND_MAX - 1), d->conf.batch_bytes);
	}
}

void stream_pump_all(struct drv *d)
{
	for (uint32_t i = 0; i < REP_NODES_MAX; i++)
		pump(d, &d->streams[i]);
}

static bool consecutive_from(struct drv_rec *const *recs, size_t n, leash_seq seq)
{
	for (size_t i = 0; i < n; i++)
		if (recs[i]->h.seq != seq + i)
			return false;
	return true;
}

void drv_fetched(struct drv *d, const char *node, struct drv_rec *const *recs, size_t n, uint64_t now_ns)
{
	struct drv_stream *s = find(d, node);
	leash_seq limit = MIN2(rep_stream_limit(d->rep), d->end);
	bool stale;

	d->now_ns = MAX2(d->now_ns, now_ns);
	if (!s || !s->fetching)
		return;
	stale = s->stale;
	s->fetching = s->stale = false;
	if (!s->active || stale)
		return; /* the next pump asks for what is wanted now */
	n = limit >= s->next ? MIN2(n, (size_t)(limit - s->next + 1)) : 0;
	if (n == 0 || !consecutive_from(recs, n, s->next)) {
		s->active = false; /* not to be had; the state machine starts the stream again, or a fresh copy */
		return;
	}
	(void)send_batch(d, s, recs, n);
}

void drv_writable(struct drv *d, const char *node, uint64_t now_ns)
{
	struct drv_stream *s = find(d, node);

	d->now_ns = MAX2(d->now_ns, now_ns);
	if (s)
		s->blocked = false;
}
