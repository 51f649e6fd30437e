#include "gateway/bodies.h"

#include <errno.h>

struct bodies_chunk {
	struct buf buf; /* never consumed, so that nothing in it moves */
	uint32_t n_bodies;
	struct bodies_chunk *next; /* spare */
};

static void chunk_free(struct bodies_chunk *c)
{
	buf_deinit(&c->buf);
	free(c);
}

/* One that takes a single body of any size, or one that bodies share. */
static struct bodies_chunk *chunk_new(bool single)
{
	struct bodies_chunk *c = calloc(1, sizeof *c);

	if (!c || single)
		return c;
	c->buf.max = BODIES_CHUNK_BYTES;
	if (!buf_reserve(&c->buf, BODIES_CHUNK_BYTES)) {
		free(c);
		return NULL;
	}
	return c;
}

static void chunk_put(struct bodies *s, struct bodies_chunk *c)
{
	c->buf.start = c->buf.end = 0;
	if (c == s->current)
		return;
	if (c->buf.max == 0 || s->n_spare >= BODIES_SPARE_MAX) {
		chunk_free(c);
		return;
	}
	c->next = s->spare;
	s->spare = c;
	s->n_spare++;
}

/* The next one that bodies share; what is in the former one stays there. */
static bool chunk_next(struct bodies *s)
{
	struct bodies_chunk *c = s->spare, *former = s->current;

	if (c) {
		s->spare = c->next;
		s->n_spare--;
	} else {
		c = chunk_new(false);
	}
	if (!c)
		return false;
	s->current = c;
	if (former && former->n_bodies == 0)
		chunk_put(s, former);
	return true;
}

void bodies_trim(struct bodies *s)
{
	struct bodies_chunk *c;

	while ((c = s->spare)) {
		s->spare = c->next;
		chunk_free(c);
	}
	s->n_spare = 0;
}

void bodies_deinit(struct bodies *s)
{
	bodies_trim(s);
	if (s->current) {
		must(s->current->n_bodies == 0);
		chunk_free(s->current);
	}
	*s = (struct bodies)BODIES_NULL;
}

static int make_in(struct bodies_chunk *c, const struct rec_body *b, leash_id session, const struct bytes *pairs,
	uint32_t n_pairs, struct body *ret_body)
{
	size_t at = c->buf.end;
	int r = rec_body_encode(&c->buf, b, session, pairs, n_pairs);

	if (r < 0)
		return r;
	c->n_bodies++;
	*ret_body = (struct body){ .p = c->buf.data + at, .bytes = (uint32_t)(c->buf.end - at), .in = c };
	return 0;
}

int bodies_make(struct bodies *s, const struct rec_body *b, leash_id session, const struct bytes *pairs, uint32_t n_pairs,
	struct body *ret_body)
{
	struct bodies_chunk *single;
	int r = -ENOBUFS;

	if (s->current)
		r = make_in(s->current, b, session, pairs, n_pairs, ret_body);
	if (r != -ENOBUFS)
		return r;
	if (!chunk_next(s))
		return -ENOMEM;
	r = make_in(s->current, b, session, pairs, n_pairs, ret_body);
	if (r != -ENOBUFS)
		return r;
	single = chunk_new(true);
	if (!single)
		return -ENOMEM;
	r = make_in(single, b, session, pairs, n_pairs, ret_body);
	if (r < 0)
		chunk_free(single);
	return r;
}

void bodies_free(struct bodies *s, struct body *body)
{
	struct bodies_chunk *c = body->in;

	if (!body->p)
		return;
	*body = (struct body){ 0 };
	must(c->n_bodies > 0);
	if (--c->n_bodies == 0)
		chunk_put(s, c);
}
