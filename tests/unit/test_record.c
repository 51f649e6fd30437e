#include <check.h>
#include <errno.h>

#include "wire/record.h"

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static bool bytes_are(struct bytes b, const char *s)
{
	return b.len == strlen(s) && (b.len == 0 || memcmp(b.p, s, b.len) == 0);
}

static struct bytes all_of(const struct buf *b)
{
	return (struct bytes){ buf_head(b), buf_len(b) };
}

static const struct rec_header sample = {
	.body_bytes = 60,
	.epoch = 7,
	.seq = 42,
	.log_time_ns = 1000,
	.real_time_ns = 2000,
	.body_hash = 0x1122334455667788,
};

/* Bodies of every kind, and what may not be encoded. */
static const struct {
	const char *name;
	struct rec_body b; /* kind, flags, n, birth */
	const char *producer, *id;
	leash_id session;
	int result;
} bodies[] = {
	{ "none", { .id_kind = REC_ID_NONE }, "", "", 0, 0 },
	{ "opaque", { .id_kind = REC_ID_OPAQUE }, "pay", "7", 0, 0 },
	{ "auto", { .id_kind = REC_ID_AUTO }, "pay", "", 0, 0 },
	{ "seq", { .id_kind = REC_ID_SEQ, .n = 9 }, "pay", "", 0, 0 },
	{ "session", { .id_kind = REC_ID_SESSION, .n = 2 }, "", "", 0xabc, 0 },
	{ "session opens", { .id_kind = REC_ID_SESSION, .n = 1, .flags = REC_F_OPEN, .birth = 5 }, "", "", 1, 0 },
	{ "none with producer", { .id_kind = REC_ID_NONE }, "pay", "", 0, -EINVAL },
	{ "none with n", { .id_kind = REC_ID_NONE, .n = 1 }, "", "", 0, -EINVAL },
	{ "opaque, no id", { .id_kind = REC_ID_OPAQUE }, "pay", "", 0, -EINVAL },
	{ "opaque, no producer", { .id_kind = REC_ID_OPAQUE }, "", "7", 0, -EINVAL },
	{ "opaque with n", { .id_kind = REC_ID_OPAQUE, .n = 1 }, "pay", "7", 0, -EINVAL },
	{ "opaque opens", { .id_kind = REC_ID_OPAQUE, .flags = REC_F_OPEN }, "pay", "7", 0, -EINVAL },
	{ "opaque with session", { .id_kind = REC_ID_OPAQUE }, "pay", "7", 3, -EINVAL },
	{ "opaque with birth", { .id_kind = REC_ID_OPAQUE, .birth = 1 }, "pay", "7", 0, -EINVAL },
	{ "auto, no producer", { .id_kind = REC_ID_AUTO }, "", "", 0, -EINVAL },
	{ "seq 0", { .id_kind = REC_ID_SEQ, .n = 0 }, "pay", "", 0, -EINVAL },
	{ "seq with id", { .id_kind = REC_ID_SEQ, .n = 1 }, "pay", "7", 0, -EINVAL },
	{ "no session", { .id_kind = REC_ID_SESSION, .n = 1 }, "", "", 0, -EINVAL },
	{ "session 0", { .id_kind = REC_ID_SESSION, .n = 0 }, "", "", 1, -EINVAL },
	{ "opens late", { .id_kind = REC_ID_SESSION, .n = 2, .flags = REC_F_OPEN }, "", "", 1, -EINVAL },
	{ "unknown flag", { .id_kind = REC_ID_SESSION, .n = 1, .flags = 2 }, "", "", 1, -EINVAL },
};

static int encode_sample(struct buf *out, size_t i)
{
	struct bytes pairs[] = { str("f"), str("hello"), str(""), str("") };
	struct rec_body b = bodies[i].b;

	b.producer = str(bodies[i].producer);
	b.id = str(bodies[i].id);
	return rec_body_encode(out, &b, bodies[i].session, pairs, 2);
}

/* Seals a body made by hand: writes the checksum. */
static void reseal(uint8_t *p, size_t len)
{
	struct enc e = enc_of(p + len - 8, 8);

	enc_u64le(&e, hash_64(p, len - 8, 0));
}

START_TEST(header_has_the_documented_bytes)
{
	static const uint8_t start[48] = { 'L', 'R', 'C', '1', 60, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0,
		0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0, 0xd0, 7, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
		0x22, 0x11 };
	struct rec_header h = sample;
	uint8_t out[REC_HEADER_BYTES], chained[64] = { 0 };
	struct hash128 chain;

	rec_header_seal(&h, (struct leash_chain){ 1, 2 });
	rec_header_encode(&h, out);
	ck_assert_mem_eq(out, start, sizeof start);

	chained[0] = 1;
	chained[8] = 2;
	memcpy(chained + 16, start, sizeof start);
	chain = hash_128(chained, sizeof chained, 0);
	ck_assert(chain.lo == h.chain.lo && chain.hi == h.chain.hi);
	ck_assert_mem_eq(out + 48, &chain, 16);
	ck_assert_mem_eq(out + 64, "\0\0\0\0\0\0\0\0", 8);
	struct cur c = cur_of(out + 72, 8);
	ck_assert_uint_eq(cur_u64le(&c), hash_64(out, 72, 0));
}
END_TEST

START_TEST(header_round_trip_and_chain)
{
	struct leash_chain prev = { 1, 2 };
	struct rec_header h = sample, back, next;
	uint8_t out[REC_HEADER_BYTES], again[REC_HEADER_BYTES];

	rec_header_seal(&h, prev);
	rec_header_encode(&h, out);
	ck_assert_int_eq(rec_header_decode((struct bytes){ out, sizeof out }, &back), 0);
	rec_header_encode(&back, again); /* every field is in it; the struct has padding */
	ck_assert_mem_eq(out, again, sizeof out);
	ck_assert(rec_chain_follows(&back, prev));
	ck_assert(!rec_chain_follows(&back, (struct leash_chain){ 1, 3 }));
	ck_assert(!rec_chain_follows(&back, (struct leash_chain){ 0, 2 }));

	next = h;
	next.body_hash ^= 1;
	ck_assert(!rec_chain_follows(&next, prev)); /* through the hash the chain covers the body */
	next = h;
	next.seq++;
	rec_header_seal(&next, h.chain);
	ck_assert(rec_chain_follows(&next, h.chain));
	ck_assert(!leash_chain_eq(next.chain, h.chain));
}
END_TEST

START_TEST(header_errors)
{
	struct rec_header h = sample, back = { .seq = 99 };
	uint8_t out[REC_HEADER_BYTES], bad[REC_HEADER_BYTES];

	rec_header_seal(&h, (struct leash_chain){ 0, 0 });
	rec_header_encode(&h, out);
	for (size_t n = 0; n < sizeof out; n++)
		ck_assert_int_eq(rec_header_decode((struct bytes){ out, n }, &back), REC_E_SHORT);
	for (size_t bit = 0; bit < 8 * sizeof out; bit++) {
		memcpy(bad, out, sizeof bad);
		bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(rec_header_decode((struct bytes){ bad, sizeof bad }, &back),
			bit < 32 ? REC_E_MAGIC : REC_E_CHECKSUM);
	}
	ck_assert_uint_eq(back.seq, 99); /* set on success only */
}
END_TEST

START_TEST(header_senseless_fields)
{
	struct rec_header h[5], back;
	uint8_t out[REC_HEADER_BYTES];

	for (size_t i = 0; i < 5; i++)
		h[i] = sample;
	h[0].seq = 0;
	h[1].epoch = 0;
	h[2].body_bytes = REC_BODY_BYTES_MIN - 1;
	h[3].body_bytes = REC_BODY_BYTES_MAX + 1;
	for (size_t i = 0; i < 4; i++) {
		rec_header_encode(&h[i], out);
		ck_assert_int_eq(rec_header_decode((struct bytes){ out, sizeof out }, &back), REC_E_MALFORMED);
	}
	rec_header_encode(&h[4], out);
	out[64] = 1; /* reserved */
	struct enc e = enc_of(out + 72, 8);
	enc_u64le(&e, hash_64(out, 72, 0));
	ck_assert_int_eq(rec_header_decode((struct bytes){ out, sizeof out }, &back), REC_E_MALFORMED);
}
END_TEST

START_TEST(body_round_trip)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct bytes name, value;
	struct rec_body back;
	struct cur pairs;

	ck_assert_int_eq(encode_sample(&out, (size_t)_i), bodies[_i].result);
	if (bodies[_i].result) {
		ck_assert_uint_eq(buf_len(&out), 0);
		return;
	}
	ck_assert_int_eq(rec_body_decode(all_of(&out), &back), 0);
	ck_assert_int_eq(back.id_kind, bodies[_i].b.id_kind);
	ck_assert_uint_eq(back.flags, bodies[_i].b.flags);
	ck_assert_uint_eq(back.n, bodies[_i].b.n);
	ck_assert_uint_eq(back.birth, bodies[_i].b.birth);
	if (bodies[_i].session)
		ck_assert_uint_eq(rec_identify(&back, 1).owner, bodies[_i].session);
	else
		ck_assert(bytes_are(back.producer, bodies[_i].producer));
	if (back.id_kind == REC_ID_AUTO)
		ck_assert_uint_eq(back.id.len, REC_AUTO_ID_BYTES);
	else
		ck_assert(bytes_are(back.id, bodies[_i].id));
	ck_assert_uint_eq(back.n_pairs, 2);
	pairs = cur_of(back.pairs.p, back.pairs.len);
	ck_assert(rec_pair_next(&pairs, &name, &value));
	ck_assert(bytes_are(name, "f") && bytes_are(value, "hello"));
	ck_assert(rec_pair_next(&pairs, &name, &value));
	ck_assert(bytes_are(name, "") && bytes_are(value, ""));
	ck_assert(!rec_pair_next(&pairs, &name, &value));
}
END_TEST

START_TEST(body_damage_is_found)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct rec_header h = sample;
	struct rec_body back;
	uint8_t *p;
	size_t len;

	if (encode_sample(&out, (size_t)_i))
		return;
	p = buf_head(&out);
	len = buf_len(&out);
	h.body_bytes = (uint32_t)len;
	h.body_hash = rec_body_hash(all_of(&out));
	ck_assert(rec_body_matches(&h, all_of(&out)));
	for (size_t n = 0; n < len; n++) {
		ck_assert_int_eq(rec_body_decode((struct bytes){ p, n }, &back),
			n < REC_BODY_BYTES_MIN ? REC_E_SHORT : REC_E_CHECKSUM);
		ck_assert(!rec_body_matches(&h, (struct bytes){ p, n }));
	}
	for (size_t bit = 0; bit < 8 * len; bit++) {
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(rec_body_decode((struct bytes){ p, len }, &back), REC_E_CHECKSUM);
		ck_assert(!rec_body_matches(&h, (struct bytes){ p, len }));
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	h.body_hash ^= 1;
	ck_assert(!rec_body_matches(&h, all_of(&out)));
}
END_TEST

/* Fields that lie under a right checksum: every value of every byte is decoded or refused, never read past the end. */
START_TEST(body_hostile_fields)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct bytes name, value;
	struct rec_body back;
	size_t len, accepted = 0;
	uint8_t *p;

	if (encode_sample(&out, (size_t)_i))
		return;
	len = buf_len(&out);
	p = malloc(len); /* exact, so that the sanitizer sees one byte too many */
	ck_assert_ptr_nonnull(p);
	for (size_t at = 0; at < len - 8; at++) {
		for (unsigned v = 0; v < 256; v++) {
			memcpy(p, buf_head(&out), len);
			p[at] = (uint8_t)v;
			reseal(p, len);
			int r = rec_body_decode((struct bytes){ p, len }, &back);
			ck_assert(r == 0 || r == REC_E_MALFORMED);
			if (r)
				continue;
			accepted++;
			struct cur c = cur_of(back.pairs.p, back.pairs.len);
			uint32_t n = 0;
			while (rec_pair_next(&c, &name, &value))
				n++;
			ck_assert(cur_end(&c));
			ck_assert_uint_eq(n, back.n_pairs);
			(void)rec_identify(&back, 7);
		}
	}
	ck_assert_uint_ge(accepted, len - 8); /* each byte's own value at least */
	free(p);
}
END_TEST

START_TEST(body_senseless_fields)
{
	static const struct {
		size_t at;
		uint8_t v;
	} lies[] = {
		{ 0, 2 }, { 0, 0 }, { 1, 5 }, { 1, 255 }, { 2, 2 }, { 3, 0x80 }, { 4, 0 }, { 4, 1 }, { 4, 3 }, { 7, 0xff },
		{ 8, 1 }, { 16, 1 }, { 24, 0 }, { 24, 4 }, { 27, 0x80 }, { 28, 0 }, { 31, 0xff },
	};
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct rec_body back;
	uint8_t *p, was;

	ck_assert_int_eq(encode_sample(&out, 1), 0);
	p = buf_head(&out);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		was = p[lies[i].at];
		p[lies[i].at] = lies[i].v;
		reseal(p, buf_len(&out));
		ck_assert_msg(rec_body_decode(all_of(&out), &back) == REC_E_MALFORMED, "byte %zu", lies[i].at);
		p[lies[i].at] = was;
	}
	reseal(p, buf_len(&out));
	ck_assert_int_eq(rec_body_decode(all_of(&out), &back), 0);

	buf_consume(&out, buf_len(&out)); /* a session's id of 0 */
	ck_assert_int_eq(encode_sample(&out, 4), 0);
	p = buf_head(&out);
	ck_assert_ptr_nonnull(p); /* says so to the compiler, too */
	memset(p + 32, 0, 8);
	reseal(p, buf_len(&out));
	ck_assert_int_eq(rec_body_decode(all_of(&out), &back), REC_E_MALFORMED);
}
END_TEST

START_TEST(body_bounds)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct rec_body b = { .id_kind = REC_ID_NONE }, back;
	struct bytes pairs[2] = { str(""), str("") };
	uint8_t x;

	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 0), -EINVAL);
	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 1), 0);
	ck_assert_uint_eq(buf_len(&out), REC_BODY_BYTES_MIN);
	ck_assert_int_eq(rec_body_decode(all_of(&out), &back), 0);

	out.max = 2 * REC_BODY_BYTES_MIN - 1;
	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 1), -ENOBUFS);
	ck_assert_uint_eq(buf_len(&out), REC_BODY_BYTES_MIN);
	out.max = 2 * REC_BODY_BYTES_MIN;
	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 1), 0);

	out.max = 0; /* lengths only: the value is never looked at */
	pairs[1] = (struct bytes){ &x, REC_BODY_BYTES_MAX };
	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 1), -EMSGSIZE);
	pairs[1] = (struct bytes){ &x, SIZE_MAX };
	ck_assert_int_eq(rec_body_encode(&out, &b, 0, pairs, 1), -EMSGSIZE);
}
END_TEST

static struct rec_ident ident_of(enum rec_id_kind kind, const char *producer, const char *id, uint64_t n,
	const char *f1, const char *v1, const char *f2, const char *v2, leash_id seed)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct bytes pairs[] = { str(f1), str(v1), str(f2), str(v2) };
	struct rec_body b = { .id_kind = kind, .n = n, .producer = str(producer), .id = str(id) }, back;
	leash_id session = kind == REC_ID_SESSION ? strtoull(producer, NULL, 16) : 0;

	ck_assert_int_eq(rec_body_encode(&out, &b, session, pairs, 2), 0);
	ck_assert_int_eq(rec_body_decode(all_of(&out), &back), 0);
	return rec_identify(&back, seed);
}

START_TEST(identity_tells_messages_apart)
{
	const struct rec_ident same = ident_of(REC_ID_OPAQUE, "ab", "c", 0, "f", "v", "g", "w", 5);
	struct rec_ident x;

	x = ident_of(REC_ID_OPAQUE, "ab", "c", 0, "f", "v", "g", "w", 5);
	ck_assert(hash128_eq(x.key, same.key) && x.payload == same.payload && x.owner == 0);
	x = ident_of(REC_ID_OPAQUE, "ab", "c", 0, "g", "w", "f", "v", 5);
	ck_assert(hash128_eq(x.key, same.key) && x.payload != same.payload); /* same id, other payload */
	x = ident_of(REC_ID_OPAQUE, "ab", "c", 0, "f", "vg", "", "w", 5);
	ck_assert(x.payload != same.payload);
	x = ident_of(REC_ID_OPAQUE, "a", "bc", 0, "f", "v", "g", "w", 5);
	ck_assert(!hash128_eq(x.key, same.key));
	x = ident_of(REC_ID_OPAQUE, "c", "ab", 0, "f", "v", "g", "w", 5);
	ck_assert(!hash128_eq(x.key, same.key));
	x = ident_of(REC_ID_OPAQUE, "ab", "c", 0, "f", "v", "g", "w", 6);
	ck_assert(!hash128_eq(x.key, same.key)); /* the cluster seeds it */
}
END_TEST

START_TEST(identity_of_each_kind)
{
	struct rec_ident a, b;

	a = ident_of(REC_ID_NONE, "", "", 0, "f", "v", "g", "w", 5);
	ck_assert(a.kind == REC_ID_NONE && a.owner == 0 && a.payload == 0 && a.key.lo == 0 && a.key.hi == 0);

	a = ident_of(REC_ID_SEQ, "p", "", 8, "f", "v", "g", "w", 5);
	b = ident_of(REC_ID_SEQ, "p", "", 9, "f", "v", "g", "w", 5);
	ck_assert(a.owner != 0 && a.owner == b.owner && a.n == 8 && b.n == 9 && !hash128_eq(a.key, b.key));
	b = ident_of(REC_ID_SEQ, "q", "", 8, "f", "v", "g", "w", 5);
	ck_assert(a.owner != b.owner && !hash128_eq(a.key, b.key));

	a = ident_of(REC_ID_SESSION, "ff01", "", 2, "f", "v", "g", "w", 5);
	ck_assert(a.owner == 0xff01 && a.n == 2 && !a.open && a.birth == 0);
	b = ident_of(REC_ID_SESSION, "ff02", "", 2, "f", "v", "g", "w", 5);
	ck_assert(b.owner == 0xff02 && !hash128_eq(a.key, b.key));

	/* IDMPAUTO: the order of the pairs does not matter, equal pairs do not cancel out, and no false conflict */
	a = ident_of(REC_ID_AUTO, "p", "", 0, "f", "v", "g", "w", 5);
	b = ident_of(REC_ID_AUTO, "p", "", 0, "g", "w", "f", "v", 5);
	ck_assert(hash128_eq(a.key, b.key) && a.payload == b.payload);
	b = ident_of(REC_ID_AUTO, "p", "", 0, "f", "w", "g", "v", 5);
	ck_assert(!hash128_eq(a.key, b.key));
	a = ident_of(REC_ID_AUTO, "p", "", 0, "f", "v", "f", "v", 5);
	b = ident_of(REC_ID_AUTO, "p", "", 0, "g", "w", "g", "w", 5);
	ck_assert(!hash128_eq(a.key, b.key));
}
END_TEST

START_TEST(every_error_has_a_sentence)
{
	for (int e = REC_E_SHORT; e <= REC_E_MALFORMED; e++)
		ck_assert_str_ne(rec_strerror(e), "unknown error");
	ck_assert_str_eq(rec_strerror(0), "unknown error");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("record");
	TCase *t = tcase_create("record");
	SRunner *sr = srunner_create(s);
	int n = (int)ARRAY_SIZE(bodies), failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, header_has_the_documented_bytes);
	tcase_add_test(t, header_round_trip_and_chain);
	tcase_add_test(t, header_errors);
	tcase_add_test(t, header_senseless_fields);
	tcase_add_loop_test(t, body_round_trip, 0, n);
	tcase_add_loop_test(t, body_damage_is_found, 0, n);
	tcase_add_loop_test(t, body_hostile_fields, 0, n);
	tcase_add_test(t, body_senseless_fields);
	tcase_add_test(t, body_bounds);
	tcase_add_test(t, identity_tells_messages_apart);
	tcase_add_test(t, identity_of_each_kind);
	tcase_add_test(t, every_error_has_a_sentence);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
