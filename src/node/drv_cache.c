#include "node/drv_int.h"

#define CACHE_CAP_MIN 1024

static struct drv_rec **slot(const struct drv_cache *c, leash_seq seq)
{
	return &c->ring[seq & (c->cap - 1)];
}

void cache_deinit(struct drv_cache *c)
{
	cache_reset(c, 0);
	free(c->ring);
	c->ring = NULL;
	c->cap = 0;
}

void cache_reset(struct drv_cache *c, leash_seq end)
{
	cache_evict(c, 0, c->end);
	c->first = end + 1;
	c->end = end;
}

static void grow(struct drv_cache *c)
{
	struct drv_cache bigger = { .cap = c->cap ? 2 * c->cap : CACHE_CAP_MIN };

	bigger.ring = calloc(bigger.cap, sizeof *bigger.ring);
	must(bigger.ring); /* the record has a number already; without memory for it this process cannot go on */
	for (leash_seq s = c->first; s <= c->end; s++)
		*slot(&bigger, s) = *slot(c, s);
	free(c->ring);
	c->ring = bigger.ring;
	c->cap = bigger.cap;
}

void cache_push(struct drv_cache *c, struct drv_rec *rec)
{
	must(rec->h.seq == c->end + 1);
	if (c->end + 1 - c->first == c->cap)
		grow(c);
	c->end++;
	*slot(c, c->end) = rec;
	c->bytes += drv_rec_size(rec);
}

void cache_cut(struct drv_cache *c, leash_seq seq)
{
	while (c->end > seq && c->end >= c->first) {
		struct drv_rec *rec = *slot(c, c->end);

		c->bytes -= drv_rec_size(rec);
		drv_rec_unref(rec);
		c->end--;
	}
	if (c->end > seq) /* it was empty already, and began later */
		cache_reset(c, seq);
}

void cache_evict(struct drv_cache *c, uint64_t bytes_max, leash_seq floor)
{
	while (c->first <= c->end && c->first <= floor && c->bytes > bytes_max) {
		struct drv_rec *rec = *slot(c, c->first);

		c->bytes -= drv_rec_size(rec);
		drv_rec_unref(rec);
		c->first++;
	}
}

struct drv_rec *cache_get(const struct drv_cache *c, leash_seq seq)
{
	return seq >= c->first && seq <= c->end ? *slot(c, seq) : NULL;
}
