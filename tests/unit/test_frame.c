#include <check.h>
#include <errno.h>

#include "base/hash.h"
#include "wire/frame.h"

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static struct bytes all_of(const struct buf *b)
{
	return (struct bytes){ buf_head(b), buf_len(b) };
}

static void put_frame(struct buf *out, uint8_t type, const char *payload)
{
	struct enc e;

	ck_assert_int_eq(frame_open(out, strlen(payload) + 10, &e), 0); /* may turn out shorter */
	enc_bytes(&e, payload, strlen(payload));
	frame_close(out, &e, type);
}

/* Makes the header check right again, so that what lies behind it is looked at. */
static void recheck(uint8_t *header)
{
	struct enc e = enc_of(header + 6, 2);

	enc_u16le(&e, (uint16_t)hash_64(header, 6, 0));
}

START_TEST(preface)
{
	static const struct {
		const char *in;
		enum frame_preface answer;
	} cases[] = {
		{ "", FRAME_PREFACE_MORE },
		{ "L", FRAME_PREFACE_MORE },
		{ "LEASH/1", FRAME_PREFACE_MORE },
		{ "LEASH/1\n", FRAME_PREFACE_YES },
		{ "LEASH/1\nxyz", FRAME_PREFACE_YES },
		{ "LEASH/2\n", FRAME_PREFACE_NO },
		{ "LEASH status", FRAME_PREFACE_NO },
		{ "LEASH/1\r\n", FRAME_PREFACE_NO },
		{ "*1\r\n", FRAME_PREFACE_NO },
		{ "PING\r\n", FRAME_PREFACE_NO },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ck_assert_int_eq(frame_preface_check(str(cases[i].in)), cases[i].answer);
}
END_TEST

START_TEST(frame_has_the_documented_bytes)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct cur c, first;

	put_frame(&out, 5, "abc");
	ck_assert_uint_eq(buf_len(&out), 16 + 3);
	ck_assert_mem_eq(buf_head(&out), "\3\0\0\0\5\0", 6);
	c = cur_of(buf_head(&out) + 6, 10);
	ck_assert_uint_eq(cur_u16le(&c), (uint16_t)hash_64(buf_head(&out), 6, 0));
	first = cur_of(buf_head(&out), 8);
	ck_assert_uint_eq(cur_u64le(&c), hash_64("abc", 3, cur_u64le(&first)));
	ck_assert_mem_eq(buf_head(&out) + 16, "abc", 3);
}
END_TEST

START_TEST(frames_one_after_another)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;

	put_frame(&out, 1, "first");
	put_frame(&out, 63, "");
	put_frame(&out, 2, "third");
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), 0);
	ck_assert(f.type == 1 && f.payload.len == 5 && memcmp(f.payload.p, "first", 5) == 0);
	ck_assert_ptr_eq(f.payload.p, buf_head(&out) + 16); /* in place */
	buf_consume(&out, f.bytes);
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), 0);
	ck_assert(f.type == 63 && f.payload.len == 0);
	buf_consume(&out, f.bytes);
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), 0);
	ck_assert(f.type == 2 && f.payload.len == 5);
	buf_consume(&out, f.bytes);
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), FRAME_MORE);
}
END_TEST

START_TEST(frame_cut_anywhere_needs_more)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;

	put_frame(&out, 7, "some payload");
	for (size_t n = 0; n < buf_len(&out); n++)
		ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), n }, 100, &f), FRAME_MORE);
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), 0);
}
END_TEST

START_TEST(frame_flipped_bits_are_found_at_once)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;

	put_frame(&out, 7, "some payload");
	for (size_t bit = 0; bit < 8 * buf_len(&out); bit++) {
		buf_head(&out)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(frame_next(all_of(&out), UINT32_MAX, &f),
			bit < 64 ? FRAME_E_HEADER : FRAME_E_CHECKSUM);
		buf_head(&out)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

START_TEST(frame_hostile_headers)
{
	static const struct {
		const char *six;
		int result;
	} cases[] = {
		{ "\3\0\0\0\0\0", FRAME_E_TYPE },
		{ "\3\0\0\0\100\0", FRAME_E_TYPE },
		{ "\3\0\0\0\377\0", FRAME_E_TYPE },
		{ "\3\0\0\0\5\4", FRAME_E_COVERED },
		{ "\3\0\0\0\5\3", FRAME_E_CHECKSUM }, /* the same bytes, but another header */
		{ "\145\0\0\0\5\0", FRAME_E_TOO_BIG },
		{ "\377\377\377\377\5\0", FRAME_E_TOO_BIG },
		{ "\144\0\0\0\5\0", FRAME_MORE },
		{ "\2\0\0\0\5\0", FRAME_E_CHECKSUM },
	};
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;

	put_frame(&out, 5, "abc");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(buf_head(&out), cases[i].six, 6);
		recheck(buf_head(&out));
		ck_assert_int_eq(frame_next(all_of(&out), 100, &f), cases[i].result);
	}
}
END_TEST

START_TEST(what_is_not_covered_is_not_looked_at)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;
	struct enc e;

	ck_assert_int_eq(frame_open(&out, 8, &e), 0);
	enc_bytes(&e, "headbody", 8);
	frame_close_covered(&out, &e, 5, 4);
	ck_assert_uint_eq(buf_head(&out)[5], 4);
	for (size_t i = 16; i < buf_len(&out); i++) {
		buf_head(&out)[i] ^= 1;
		ck_assert_int_eq(frame_next(all_of(&out), 100, &f), i < 20 ? FRAME_E_CHECKSUM : 0);
		buf_head(&out)[i] ^= 1;
	}
	ck_assert_int_eq(frame_next(all_of(&out), 100, &f), 0);
	ck_assert_uint_eq(f.payload.len, 8);
}
END_TEST

START_TEST(frame_bounds)
{
	_cleanup_(buf_deinit) struct buf out = { .max = 20 };
	struct enc e;

	ck_assert_int_eq(frame_open(&out, 5, &e), -ENOBUFS);
	ck_assert_int_eq(frame_open(&out, UINT32_MAX, &e), -EMSGSIZE);
	ck_assert_int_eq(frame_open(&out, 4, &e), 0);
	enc_u32le(&e, 1);
	ck_assert_uint_eq(buf_len(&out), 0);
	frame_close(&out, &e, 1);
	ck_assert_uint_eq(buf_len(&out), 20);
}
END_TEST

START_TEST(every_error_has_a_sentence)
{
	for (int e = FRAME_MORE; e <= FRAME_E_CHECKSUM; e++)
		ck_assert_str_ne(frame_strerror(e), "unknown error");
	ck_assert_str_eq(frame_strerror(99), "unknown error");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("frame");
	TCase *t = tcase_create("frame");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, preface);
	tcase_add_test(t, frame_has_the_documented_bytes);
	tcase_add_test(t, frames_one_after_another);
	tcase_add_test(t, frame_cut_anywhere_needs_more);
	tcase_add_test(t, frame_flipped_bits_are_found_at_once);
	tcase_add_test(t, frame_hostile_headers);
	tcase_add_test(t, what_is_not_covered_is_not_looked_at);
	tcase_add_test(t, frame_bounds);
	tcase_add_test(t, every_error_has_a_sentence);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
