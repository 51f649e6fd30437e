/* Bodies of a pipeline: whatever is freed in whatever order, the others keep their bytes. */
#include "gateway/bodies.h"

#include <errno.h>

#include "unit.h"

#define KEPT 200

static uint64_t seed;
static uint8_t payload[100000];

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

/* A body that says who it is: its number is in the id, its size in the number of bytes. */
static void make(struct bodies *s, uint64_t n, uint32_t bytes, struct body *ret_body)
{
	struct bytes pairs[2] = { { (const uint8_t *)"field", 5 }, { payload, bytes } };
	struct rec_body b = { .id_kind = REC_ID_SEQ, .producer = { (const uint8_t *)"p", 1 }, .n = n };

	ck_assert_int_eq(bodies_make(s, &b, 0, pairs, 1, ret_body), 0);
}

static void check(const struct body *body, uint64_t n)
{
	struct rec_body b;

	ck_assert_int_eq(rec_body_decode((struct bytes){ body->p, body->bytes }, &b), 0);
	ck_assert_uint_eq(b.n, n);
}

START_TEST(bodies_keep_their_bytes_in_any_order)
{
	struct bodies s = BODIES_NULL;
	struct body kept[KEPT] = { 0 };
	uint64_t numbers[KEPT];

	seed = (uint64_t)_i + 1;
	for (uint64_t n = 1; n <= 20000; n++) {
		uint32_t at = rnd(KEPT), bytes = rnd(100) ? rnd(600) : rnd(sizeof payload);

		if (kept[at].p)
			check(&kept[at], numbers[at]);
		bodies_free(&s, &kept[at]);
		ck_assert_ptr_null(kept[at].p);
		ck_assert_uint_le(s.n_spare, BODIES_SPARE_MAX);
		if (rnd(8) == 0)
			continue;
		make(&s, n, bytes, &kept[at]);
		numbers[at] = n;
		if (rnd(1000) == 0)
			bodies_trim(&s);
	}
	for (uint32_t i = 0; i < KEPT; i++) {
		if (kept[i].p)
			check(&kept[i], numbers[i]);
		bodies_free(&s, &kept[i]);
	}
	bodies_trim(&s);
	ck_assert_uint_eq(s.n_spare, 0);
	bodies_deinit(&s);
}
END_TEST

/* First in, first out: as many chunks as what is kept needs, over and over. */
START_TEST(a_queue_goes_round_in_its_chunks)
{
	struct bodies s = BODIES_NULL;
	struct body kept[100] = { 0 };
	const struct bodies_chunk *seen[8] = { 0 };
	uint32_t n_seen = 0;

	for (uint64_t n = 0; n < 10000; n++) {
		struct body *b = &kept[n % ARRAY_SIZE(kept)];
		uint32_t i = 0;

		bodies_free(&s, b);
		make(&s, n + 1, 500, b);
		while (i < n_seen && seen[i] != b->in)
			i++;
		ck_assert_uint_lt(i, ARRAY_SIZE(seen));
		n_seen = MAX2(n_seen, i + 1);
		seen[i] = b->in;
	}
	ck_assert_uint_le(n_seen, 4);
	for (uint32_t i = 0; i < ARRAY_SIZE(kept); i++)
		bodies_free(&s, &kept[i]);
	bodies_deinit(&s);
}
END_TEST

START_TEST(errors_make_nothing)
{
	struct bodies s = BODIES_NULL;
	struct rec_body b = { .id_kind = REC_ID_SEQ, .n = 1 }; /* no producer */
	struct bytes pairs[2] = { { payload, 1 }, { payload, 1 } };
	struct body body = { 0 };

	ck_assert_int_eq(bodies_make(&s, &b, 0, pairs, 1, &body), -EINVAL);
	make(&s, 1, 10, &body);
	ck_assert_int_eq(bodies_make(&s, &b, 0, pairs, 1, &(struct body){ 0 }), -EINVAL);
	pairs[1].len = REC_BODY_BYTES_MAX;
	b.producer = (struct bytes){ payload, 1 };
	ck_assert_int_eq(bodies_make(&s, &b, 0, pairs, 1, &(struct body){ 0 }), -EMSGSIZE);
	check(&body, 1);
	bodies_free(&s, &body);
	bodies_free(&s, &body);
	bodies_deinit(&s);
}
END_TEST

UNIT_MAIN("bodies", tcase_add_loop_test(tc, bodies_keep_their_bytes_in_any_order, 0, 5);
	tcase_add_test(tc, a_queue_goes_round_in_its_chunks); tcase_add_test(tc, errors_make_nothing))
