#include "base/units.h"

#include "unit.h"

struct row {
	const char *text;
	const char *unit;
	uint64_t want;
	bool bad;
};

START_TEST(numbers)
{
	static const struct row rows[] = {
		{ "0", NULL, 0 },
		{ "007", NULL, 7 },
		{ "18446744073709551615", NULL, UINT64_MAX },
		{ "18446744073709551616", NULL, 0, true },
		{ "99999999999999999999999", NULL, 0, true },
		{ "", NULL, 0, true },
		{ "-1", NULL, 0, true },
		{ "+1", NULL, 0, true },
		{ " 1", NULL, 0, true },
		{ "1 ", NULL, 0, true },
		{ "1.5", NULL, 0, true },
		{ "0x10", NULL, 0, true },
		{ "1K", NULL, 0, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = 12345;

		ck_assert_msg(units_number(rows[i].text, &n) == !rows[i].bad, "\"%s\"", rows[i].text);
		ck_assert_uint_eq(n, rows[i].bad ? 12345 : rows[i].want);
	}
}
END_TEST

START_TEST(sizes)
{
	static const struct row rows[] = {
		{ "4096", NULL, 4096 },
		{ "1K", NULL, 1024 },
		{ "64M", NULL, 64 << 20 },
		{ "64m", NULL, 64 << 20 },
		{ "3G", NULL, UINT64_C(3) << 30 },
		{ "2T", NULL, UINT64_C(2) << 40 },
		{ "16777215T", NULL, UINT64_C(16777215) << 40 },
		{ "16777216T", NULL, 0, true },
		{ "", NULL, 0, true },
		{ "M", NULL, 0, true },
		{ "64 M", NULL, 0, true },
		{ "64MB", NULL, 0, true },
		{ "64X", NULL, 0, true },
		{ "-64M", NULL, 0, true },
		{ "64\x0d", NULL, 0, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = 12345;

		ck_assert_msg(units_size(rows[i].text, &n) == !rows[i].bad, "\"%s\"", rows[i].text);
		ck_assert_uint_eq(n, rows[i].bad ? 12345 : rows[i].want);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct row rows[] = {
		{ "30", "s", 30000 },
		{ "30", "ms", 30 },
		{ "30", "m", 1800000 },
		{ "2", "h", 7200000 },
		{ "250ms", "s", 250 },
		{ "250ms", "h", 250 },
		{ "10s", "ms", 10000 },
		{ "1m", "ms", 60000 },
		{ "1h", "ms", 3600000 },
		{ "0", "s", 0 },
		{ "18446744073709551615ms", "s", UINT64_MAX },
		{ "18446744073709551615", "s", 0, true },
		{ "5124095576031h", "s", 0, true },
		{ "", "s", 0, true },
		{ "s", "s", 0, true },
		{ "10 s", "s", 0, true },
		{ "10d", "s", 0, true },
		{ "10sec", "s", 0, true },
		{ "-10s", "s", 0, true },
		{ "1.5s", "s", 0, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = 12345;

		ck_assert_msg(units_duration(rows[i].text, rows[i].unit, &n) == !rows[i].bad, "\"%s\"",
			rows[i].text);
		ck_assert_uint_eq(n, rows[i].bad ? 12345 : rows[i].want);
	}
}
END_TEST

START_TEST(booleans)
{
	bool b = false;

	ck_assert(units_bool("yes", &b) && b);
	ck_assert(units_bool("off", &b) && !b);
	ck_assert(units_bool("1", &b) && b);
	ck_assert(units_bool("false", &b) && !b);
	ck_assert(!units_bool("", &b));
	ck_assert(!units_bool("Yes", &b));
	ck_assert(!units_bool("yes ", &b));
	ck_assert(!units_bool("2", &b));
}
END_TEST

START_TEST(addresses)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{ "127.0.0.1:8081", "127.0.0.1", 8081 },
		{ ":8080", "", 8080 },
		{ "localhost:0", "localhost", 0 },
		{ "db-1.example.org:65535", "db-1.example.org", 65535 },
		{ "[::1]:2379", "::1", 2379 },
		{ "[::]:1", "::", 1 },
		{ "[fe80::1%eth0]:1", "fe80::1%eth0", 1 },
	};
	static const char *const bad[] = {
		"",
		":",
		"host",
		"host:",
		"host:x",
		"host:-1",
		"host:65536",
		"host: 80",
		"::1:80",
		"[::1]",
		"[::1:80",
		"::1]:80",
		"[]:80",
		"[host]:80",
		"[127.0.0.1]:80",
		"300.1.1.1:80",
		"1.2.3:80",
		"-x:80",
		"a b:80",
		"a/b:80",
		"http://a:80",
		"[fe80::1%]:80",
		"host:80:90",
		"\xc3\xa4:80",
	};
	char text[LEASH_ADDR_MAX + 16];
	struct units_addr a;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		ck_assert_msg(units_addr(good[i].text, &a), "\"%s\"", good[i].text);
		ck_assert_str_eq(a.host, good[i].host);
		ck_assert_uint_eq(a.port, good[i].port);
		ck_assert_str_eq(units_addr_format(&a, text), good[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!units_addr(bad[i], &a), "\"%s\" was taken", bad[i]);
}
END_TEST

START_TEST(long_addresses_are_refused_not_cut)
{
	char text[2 * LEASH_ADDR_MAX];
	struct units_addr a;

	for (size_t n = 1; n + 4 < sizeof text; n++) {
		memset(text, 'h', n);
		memcpy(text + n, ":80", 4);
		ck_assert_int_eq(units_addr(text, &a), n <= LEASH_ADDR_MAX - 8);
	}
}
END_TEST

static void list_is(const char *text, const char *want)
{
	char got[200] = "";
	struct bytes item;

	while (units_list_next(&text, &item)) {
		strncat(got, (const char *)item.p, item.len);
		strcat(got, "|");
	}
	ck_assert_str_eq(got, want);
}

START_TEST(lists)
{
	list_is("a", "a|");
	list_is("a,b", "a|b|");
	list_is(" a ,\tb c , d", "a|b c|d|");
	list_is("a,,b", "a||b|");
	list_is("a,", "a||");
	list_is("", "|");
}
END_TEST

START_TEST(formats_are_exact)
{
	char text[UNITS_TEXT];

	ck_assert_str_eq(units_size_format(64 << 20, text), "64M");
	ck_assert_str_eq(units_size_format(1025, text), "1025");
	ck_assert_str_eq(units_size_format(0, text), "0");
	ck_assert_str_eq(units_size_format(UINT64_MAX, text), "18446744073709551615");
	ck_assert_str_eq(units_duration_format(1500, text), "1500ms");
	ck_assert_str_eq(units_duration_format(90000, text), "90s");
	ck_assert_str_eq(units_duration_format(7200000, text), "2h");
	ck_assert_str_eq(units_duration_format(600000, text), "10m");
	ck_assert_str_eq(units_duration_format(0, text), "0");
}
END_TEST

UNIT_MAIN("units", tcase_add_test(tc, numbers); tcase_add_test(tc, sizes); tcase_add_test(tc, durations);
	  tcase_add_test(tc, booleans); tcase_add_test(tc, addresses);
	  tcase_add_test(tc, long_addresses_are_refused_not_cut); tcase_add_test(tc, lists);
	  tcase_add_test(tc, formats_are_exact))
