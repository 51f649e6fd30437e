#include "base/decimal.h"

#include <inttypes.h>
#include <stdio.h>

#include "unit.h"

static void same_u64(uint64_t v)
{
	char got[DECIMAL_I64_BYTES + 1], want[32];
	size_t n = decimal_u64(v, got);

	got[n] = '\0';
	(void)snprintf(want, sizeof want, "%" PRIu64, v);
	ck_assert_str_eq(got, want);
}

static void same_i64(int64_t v)
{
	char got[DECIMAL_I64_BYTES + 1], want[32];
	size_t n = decimal_i64(v, got);

	got[n] = '\0';
	(void)snprintf(want, sizeof want, "%" PRId64, v);
	ck_assert_str_eq(got, want);
}

/* All short numbers, and both sides of each number of digits. */
START_TEST(writes_what_printf_writes)
{
	uint64_t power = 1;

	for (uint64_t v = 0; v <= 20000; v++)
		same_u64(v);
	for (int digits = 1; digits <= 20; digits++, power *= 10) {
		for (uint64_t d = 0; d <= 2; d++) {
			same_u64(power + d - 1);
			same_u64(9 * power + d - 1);
			same_i64((int64_t)(power / 2 + d));
			same_i64(-(int64_t)(power / 2 + d));
		}
	}
	same_u64(UINT64_MAX);
	same_i64(INT64_MAX);
	same_i64(INT64_MIN);
	same_i64(-1);
}
END_TEST

UNIT_MAIN("decimal", tcase_add_test(tc, writes_what_printf_writes))
