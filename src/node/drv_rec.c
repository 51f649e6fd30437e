#include "node/driver.h"

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_BYTES 0           /* each record by itself: the sanitizer sees who uses one that is gone */
#else
#define SLAB_BYTES (64 * 1024) /* of an arena's slab; below the size at which malloc() begins to ask the kernel each time */
#endif
#define ALIGN      sizeof(uint64_t)

/* Records side by side, freed together: with the last reference to any of them. */
struct drv_slab {
	uint32_t refs; /* atomic; an arena that goes on filling it has one */
	size_t used, bytes;
	uint8_t room[];
};

_Static_assert(offsetof(struct drv_slab, room) % ALIGN == 0, "records in a slab are aligned");

static struct drv_slab *slab_new(size_t bytes)
{
	struct drv_slab *s = malloc(sizeof *s + bytes);

	if (!s)
		return NULL;
	s->refs = 0;
	s->used = 0;
	s->bytes = bytes;
	return s;
}

void drv_slab_unref(struct drv_slab *s, uint32_t n)
{
	if (n && __atomic_sub_fetch(&s->refs, n, __ATOMIC_ACQ_REL) == 0)
		free(s);
}

static void slab_ref(struct drv_slab *s, uint32_t n)
{
	(void)__atomic_add_fetch(&s->refs, n, __ATOMIC_RELAXED); /* whoever has a reference may make another */
}

void drv_arena_deinit(struct drv_arena *a)
{
	if (a->slab)
		drv_slab_unref(TAKE(a->slab), 1);
}

/* Where @size bytes are free; NULL: no memory. What would waste much of a slab gets one of its own. */
static struct drv_slab *slab_for(struct drv_arena *a, size_t size)
{
	struct drv_slab *s;

	if (!a || size > SLAB_BYTES / 8)
		return slab_new(size);
	if (a->slab && a->slab->bytes - a->slab->used >= size)
		return a->slab;
	s = slab_new(SLAB_BYTES);
	if (!s)
		return NULL;
	drv_arena_deinit(a);
	slab_ref(s, 1);
	a->slab = s;
	return s;
}

struct drv_rec *drv_rec_alloc(struct drv_arena *a, size_t body_bytes)
{
	size_t size = sizeof(struct drv_rec) + REC_HEADER_BYTES + body_bytes;
	struct drv_slab *s;
	struct drv_rec *rec;

	must(body_bytes <= REC_BODY_BYTES_MAX);
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	s = slab_for(a, size);
	if (!s)
		return NULL;
	rec = (struct drv_rec *)(s->room + s->used);
	s->used += size;
	slab_ref(s, 1);
	rec->slab = s;
	rec->body_bytes = (uint32_t)body_bytes;
	return rec;
}

struct drv_rec *drv_rec_new(const struct rec_header *h, const struct rec_ident *ident, struct bytes body)
{
	struct drv_rec *rec = drv_rec_alloc(NULL, body.len);

	if (!rec)
		return NULL;
	rec->h = *h;
	rec->ident = *ident;
	rec_header_encode(h, rec->bytes);
	memcpy(rec->bytes + REC_HEADER_BYTES, body.p, body.len);
	return rec;
}

struct drv_rec *drv_rec_ref(struct drv_rec *rec)
{
	slab_ref(rec->slab, 1);
	return rec;
}

void drv_rec_unref(struct drv_rec *rec)
{
	if (rec)
		drv_slab_unref(rec->slab, 1);
}

/* How many of the first records lie in one slab. */
static size_t run_of(struct drv_rec *const *recs, size_t n)
{
	size_t i = 1;

	while (i < n && recs[i]->slab == recs[0]->slab)
		i++;
	return i;
}

void drv_recs_ref(struct drv_rec *const *recs, size_t n)
{
	for (size_t i = 0, run; i < n; i += run) {
		run = run_of(recs + i, n - i);
		slab_ref(recs[i]->slab, (uint32_t)run);
	}
}

void drv_recs_unref(struct drv_rec *const *recs, size_t n)
{
	for (size_t i = 0, run; i < n; i += run) {
		run = run_of(recs + i, n - i);
		drv_slab_unref(recs[i]->slab, (uint32_t)run);
	}
}
