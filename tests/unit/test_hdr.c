#include "base/hdr.h"

#include <math.h>

#include "unit.h"

/* The oracle: all values, sorted. */
static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

static void near(uint64_t got, uint64_t want)
{
	ck_assert_msg(got >= want && (double)got <= (double)want * 1.0079 + 1, "%llu for %llu", (unsigned long long)got,
		(unsigned long long)want);
}

START_TEST(empty)
{
	struct hdr h = { 0 };

	ck_assert_uint_eq(hdr_percentile(&h, 50), 0);
	ck_assert(hdr_mean(&h) == 0);
}
END_TEST

START_TEST(every_value_is_told_apart_within_a_percent)
{
	for (uint64_t v = 0; v < HDR_VALUE_MAX; v = v * 9 / 8 + 1) {
		struct hdr h = { 0 };

		hdr_record(&h, v);
		hdr_record(&h, HDR_VALUE_MAX);
		near(hdr_percentile(&h, 50), v);
		ck_assert_uint_eq(h.min, v);
		ck_assert_uint_eq(hdr_percentile(&h, 100), HDR_VALUE_MAX);
	}
}
END_TEST

START_TEST(what_is_too_large_counts_as_the_largest)
{
	struct hdr h = { 0 };

	hdr_record(&h, UINT64_MAX);
	ck_assert_uint_eq(h.max, HDR_VALUE_MAX);
	ck_assert_uint_eq(hdr_percentile(&h, 50), HDR_VALUE_MAX);
}
END_TEST

START_TEST(percentiles_are_those_of_the_sorted_values)
{
	static const double percents[] = { 0, 1, 25, 50, 90, 99, 99.9, 99.99, 100 };
	static struct hdr h, part[2];
	static uint64_t values[10000];
	uint64_t seed = 7;
	double sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		values[i] = next(&seed) % (UINT64_C(1) << (next(&seed) % 40));
		sum += (double)values[i];
		hdr_record(&h, values[i]);
		hdr_record(&part[i % 3 == 0], values[i]);
	}
	qsort(values, ARRAY_SIZE(values), sizeof *values, by_value);
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		size_t rank = (size_t)ceil(percents[i] / 100 * (double)ARRAY_SIZE(values) - 1e-6);

		near(hdr_percentile(&h, percents[i]), values[rank ? rank - 1 : 0]);
	}
	ck_assert(fabs(hdr_mean(&h) - sum / (double)ARRAY_SIZE(values)) < 1);
	hdr_add(&part[0], &part[1]);
	ck_assert_mem_eq(part[0].counts, h.counts, sizeof h.counts);
	ck_assert(part[0].total == h.total && part[0].max == h.max && part[0].min == h.min);
}
END_TEST

START_TEST(the_largest_values_are_printed_to_the_end)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct hdr h = { 0 };

	hdr_record(&h, 1);
	hdr_record(&h, HDR_VALUE_MAX);
	ck_assert_int_eq(hdr_print(&h, 1, &out), 0);
	ck_assert_uint_lt(buf_len(&out), 10000);
}
END_TEST

START_TEST(printed_as_hdrhistogram_does)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct hdr h = { 0 };

	for (uint64_t i = 1; i <= 4; i++)
		hdr_record(&h, i * 10);
	ck_assert_int_eq(hdr_print(&h, 10, &out), 0);
	ck_assert_int_eq(buf_put(&out, "", 1), 0);
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "       1.000 0.000000000000          1           1.00\n"));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "       4.000 1.000000000000          4\n"
		"#[Mean    =        2.500, Max        =        4.000]\n#[Total   =            4]\n"));
}
END_TEST

UNIT_MAIN("hdr", tcase_add_test(tc, empty); tcase_add_test(tc, every_value_is_told_apart_within_a_percent);
	tcase_add_test(tc, what_is_too_large_counts_as_the_largest);
	tcase_add_test(tc, percentiles_are_those_of_the_sorted_values); tcase_add_test(tc, the_largest_values_are_printed_to_the_end);
	tcase_add_test(tc, printed_as_hdrhistogram_does))
