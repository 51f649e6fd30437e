#include "node/drv_int.h"

#define CACHE_CAP_MIN 1024

static struct drv_cached *slot(const struct drv_cache *c, leash_seq seq)
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
	c->upto += drv_rec_size(rec);
	c->end++;
	*slot(c, c->end) = (struct drv_cached){ .rec = rec, .slab = rec->slab, .upto = c->upto };
}

uint64_t cache_upto(const struct drv_cache *c, leash_seq seq)
{
	must(seq + 1 >= c->first && seq <= c->end);
	return seq >= c->first ? slot(c, seq)->upto : c->before;
}

void cache_cut(struct drv_cache *c, leash_seq seq)
{
	for (; c->end > seq && c->end >= c->first; c->end--)
		drv_slab_unref(slot(c, c->end)->slab, 1);
	c->upto = cache_upto(c, c->end);
	if (c->end > seq) /* it was empty already, and began later */
		cache_reset(c, seq);
}

/* The records themselves are not looked at: these are the oldest, and long out of the processor's caches. */
void cache_evict(struct drv_cache *c, uint64_t bytes_max, leash_seq floor)
{
	struct drv_slab *slab = NULL;
	uint32_t n = 0;

	for (; c->first <= c->end && c->first <= floor && c->upto - c->before > bytes_max; c->first++) {
		const struct drv_cached *e = slot(c, c->first);

		if (e->slab != slab) {
			drv_slab_unref(slab, n);
			slab = e->slab;
			n = 0;
		}
		n++;
		c->before = e->upto;
	}
	drv_slab_unref(slab, n);
}

struct drv_rec *cache_get(const struct drv_cache *c, leash_seq seq)
{
	return seq >= c->first && seq <= c->end ? slot(c, seq)->rec : NULL;
}
