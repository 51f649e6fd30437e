#include "base/cur.h"

#include "unit.h"

START_TEST(fields_come_back_as_written)
{
	uint8_t b[64];
	struct enc e = enc_of(b, sizeof b);
	struct cur c;
	struct bytes body;

	enc_u8(&e, 0x12);
	enc_u16le(&e, 0x3456);
	enc_u32le(&e, 0x789abcde);
	enc_u64le(&e, UINT64_C(0xfedcba9876543210));
	enc_bytes(&e, "body", 4);
	ck_assert_uint_eq(enc_len(&e), 1 + 2 + 4 + 8 + 4);
	ck_assert_mem_eq(b,
		"\x12\x56\x34\xde\xbc\x9a\x78\x10\x32\x54\x76\x98\xba\xdc\xfe"
		"body",
		19);

	c = cur_of(b, enc_len(&e));
	ck_assert_uint_eq(cur_u8(&c), 0x12);
	ck_assert_uint_eq(cur_u16le(&c), 0x3456);
	ck_assert_uint_eq(cur_u32le(&c), 0x789abcde);
	ck_assert_uint_eq(cur_u64le(&c), UINT64_C(0xfedcba9876543210));
	ck_assert(!cur_end(&c));
	body = cur_bytes(&c, 4);
	ck_assert_mem_eq(body.p, "body", 4);
	ck_assert(cur_end(&c));
}
END_TEST

START_TEST(short_input_is_bad_at_every_length)
{
	uint8_t b[15] = { 1, 2, 3 };

	for (size_t n = 0; n < sizeof b; n++) {
		struct cur c = cur_of(b, n);

		(void)cur_u8(&c);
		(void)cur_u16le(&c);
		(void)cur_u32le(&c);
		(void)cur_u64le(&c);
		ck_assert(!cur_ok(&c));
		ck_assert(!cur_end(&c));
		ck_assert_uint_eq(cur_left(&c), 0);
	}
}
END_TEST

START_TEST(first_error_sticks)
{
	struct cur c = cur_of("abcdef", 6);
	struct bytes none = cur_bytes(&c, 7);

	ck_assert_ptr_null(none.p);
	ck_assert_uint_eq(none.len, 0);
	ck_assert_uint_eq(cur_u8(&c), 0);
	ck_assert(!cur_ok(&c));
	c = cur_of("abcdef", 6);
	(void)cur_bytes(&c, SIZE_MAX);
	ck_assert(!cur_ok(&c));
}
END_TEST

START_TEST(writer_stays_inside)
{
	uint8_t b[8] = { 0 };
	struct enc e = enc_of(b, 7);

	enc_u32le(&e, 1);
	enc_u32le(&e, 0xffffffff);
	enc_u8(&e, 0xff); /* would fit, but the error sticks */
	ck_assert_uint_eq(enc_len(&e), 0);
	ck_assert_mem_eq(b, "\1\0\0\0\0\0\0\0", 8);
}
END_TEST

UNIT_MAIN("cur", tcase_add_test(tc, fields_come_back_as_written);
	  tcase_add_test(tc, short_input_is_bad_at_every_length); tcase_add_test(tc, first_error_sticks);
	  tcase_add_test(tc, writer_stays_inside))
