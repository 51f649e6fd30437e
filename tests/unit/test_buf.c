#include "base/buf.h"

#include <errno.h>

#include "unit.h"

START_TEST(puts_and_consumes_in_order)
{
	struct buf b = BUF_NULL;

	ck_assert_int_eq(buf_put(&b, "hello ", 6), 0);
	ck_assert_int_eq(buf_put(&b, "world", 5), 0);
	buf_consume(&b, 6);
	ck_assert_uint_eq(buf_len(&b), 5);
	ck_assert_mem_eq(buf_head(&b), "world", 5);
	ck_assert_int_eq(buf_printf(&b, "-%d", 42), 0);
	ck_assert_mem_eq(buf_head(&b), "world-42", 8);
	buf_consume(&b, 8);
	ck_assert_uint_eq(buf_len(&b), 0);
	buf_deinit(&b);
	buf_deinit(&b);
}
END_TEST

START_TEST(keeps_its_content_while_it_grows_and_moves)
{
	struct buf b = BUF_NULL;
	uint8_t in = 0, out = 0;

	for (int round = 0; round < 5000; round++) {
		size_t n = (size_t)(round * 7 % 97), drop;
		uint8_t *to = buf_reserve(&b, n + 1);

		ck_assert_ptr_nonnull(to);
		for (size_t i = 0; i <= n; i++)
			to[i] = in++;
		buf_commit(&b, n + 1);
		drop = MIN2((size_t)(round * 11 % 89), buf_len(&b));
		for (size_t i = 0; i < drop; i++)
			ck_assert_uint_eq(buf_head(&b)[i], out++);
		buf_consume(&b, drop);
	}
	while (buf_len(&b)) {
		ck_assert_uint_eq(*buf_head(&b), out++);
		buf_consume(&b, 1);
	}
	ck_assert_uint_eq(in, out);
	buf_deinit(&b);
}
END_TEST

START_TEST(bound_holds_to_the_byte)
{
	struct buf b = { .max = 10 };

	ck_assert_int_eq(buf_put(&b, "0123456789", 10), 0);
	ck_assert_int_eq(buf_put(&b, "x", 1), -ENOBUFS);
	ck_assert_ptr_null(buf_reserve(&b, 1));
	ck_assert_int_eq(buf_printf(&b, "x"), -ENOBUFS);
	ck_assert_uint_eq(buf_len(&b), 10);
	buf_consume(&b, 1);
	ck_assert_int_eq(buf_put(&b, "x", 1), 0);
	ck_assert_mem_eq(buf_head(&b), "123456789x", 10);
	ck_assert_int_eq(buf_put(&b, "", SIZE_MAX), -ENOBUFS);
	buf_deinit(&b);
}
END_TEST

START_TEST(large_emptied_buffer_gives_memory_back)
{
	struct buf b = BUF_NULL;

	ck_assert_ptr_nonnull(buf_reserve(&b, 1 << 20));
	buf_commit(&b, 1 << 20);
	buf_consume(&b, 1 << 20);
	ck_assert_uint_eq(b.cap, 0);
	ck_assert_int_eq(buf_put(&b, "again", 5), 0);
	buf_deinit(&b);
}
END_TEST

START_TEST(large_emptied_buffer_keeps_what_is_asked_for)
{
	struct buf b = { .keep = 1 << 20 };
	uint8_t *to = buf_reserve(&b, 1 << 20);

	ck_assert_ptr_nonnull(to);
	buf_commit(&b, 1 << 20);
	buf_consume(&b, 1 << 20);
	ck_assert_ptr_eq(buf_reserve(&b, 1), to);
	ck_assert_ptr_nonnull(buf_reserve(&b, (1 << 20) + 1));
	buf_commit(&b, 1);
	buf_consume(&b, 1);
	ck_assert_uint_eq(b.cap, 0);
	buf_deinit(&b);
}
END_TEST

START_TEST(what_is_left_is_pulled_to_the_beginning)
{
	struct buf b = BUF_NULL;

	buf_pull(&b);
	ck_assert_int_eq(buf_put(&b, "0123456789", 10), 0);
	buf_consume(&b, 4);
	buf_pull(&b); /* six left, four before them */
	ck_assert_uint_eq(b.start, 4);
	buf_consume(&b, 1);
	buf_pull(&b);
	ck_assert_uint_eq(b.start, 0);
	ck_assert_uint_eq(buf_len(&b), 5);
	ck_assert_mem_eq(buf_head(&b), "56789", 5);
	buf_deinit(&b);
}
END_TEST

START_TEST(refuses_what_no_memory_can_hold)
{
	struct buf b = BUF_NULL;

	ck_assert_int_eq(buf_put(&b, "x", 1), 0);
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
	ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX - 1));
	buf_deinit(&b);
}
END_TEST

UNIT_MAIN("buf", tcase_add_test(tc, puts_and_consumes_in_order);
	  tcase_add_test(tc, keeps_its_content_while_it_grows_and_moves);
	  tcase_add_test(tc, bound_holds_to_the_byte);
	  tcase_add_test(tc, large_emptied_buffer_gives_memory_back);
	  tcase_add_test(tc, large_emptied_buffer_keeps_what_is_asked_for);
	  tcase_add_test(tc, what_is_left_is_pulled_to_the_beginning);
	  tcase_add_test(tc, refuses_what_no_memory_can_hold))
