#include "node/driver.h"

struct drv_rec *drv_rec_new(const struct rec_header *h, const struct rec_ident *ident, struct bytes body)
{
	struct drv_rec *rec = malloc(sizeof *rec + REC_HEADER_BYTES + body.len);

	if (!rec)
		return NULL;
	must(body.len <= REC_BODY_BYTES_MAX);
	rec->refs = 1;
	rec->body_bytes = (uint32_t)body.len;
	rec->h = *h;
	rec->ident = *ident;
	rec_header_encode(h, rec->bytes);
	memcpy(rec->bytes + REC_HEADER_BYTES, body.p, body.len);
	return rec;
}

struct drv_rec *drv_rec_ref(struct drv_rec *rec)
{
	(void)__atomic_add_fetch(&rec->refs, 1, __ATOMIC_RELAXED); /* whoever has a reference may make another */
	return rec;
}

void drv_rec_unref(struct drv_rec *rec)
{
	if (rec && __atomic_sub_fetch(&rec->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(rec);
}
