#include "base/util.h"

#include <fcntl.h>
#include <signal.h>

#include "base/clk.h"
#include "unit.h"

static int freed;

static void count_free(int *p)
{
	if (*p)
		freed++;
}

static int handed_over(void)
{
	_cleanup_(count_free) int kept = 1;
	_cleanup_(count_free) int given = 2;

	(void)kept;
	return TAKE(given);
}

START_TEST(take_disarms_cleanup)
{
	ck_assert_int_eq(handed_over(), 2);
	ck_assert_int_eq(freed, 1);
}
END_TEST

START_TEST(descriptors_close_once)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), other = fd;

	ck_assert_int_ge(fd, 0);
	closep(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fcntl(other, F_GETFD), -1);
	closep(&fd);
	ck_assert_int_eq(close_fd(-1), -1);
	other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = TAKE_FD(other);
	ck_assert_int_eq(other, -1);
	ck_assert_int_eq(close_fd(fd), -1);
}
END_TEST

START_TEST(must_stays_in_the_release)
{
	must(1 + 1 == 3);
}
END_TEST

struct outer {
	int before, member;
};

START_TEST(container_of_finds_the_outer)
{
	struct outer o;

	ck_assert_ptr_eq(container_of(&o.member, struct outer, member), &o);
}
END_TEST

START_TEST(clocks_do_not_go_back)
{
	uint64_t boot = clk_boot_ns(), mono = clk_mono_ns();

	for (int i = 0; i < 10000; i++) {
		uint64_t b = clk_boot_ns(), m = clk_mono_ns();

		ck_assert(b >= boot && m >= mono);
		boot = b;
		mono = m;
	}
	ck_assert_uint_gt(clk_real_ns(),
		UINT64_C(1600000000) * NS_PER_S); /* later than 2020: seconds are not taken for ns */
}
END_TEST

UNIT_MAIN("util", tcase_add_test(tc, take_disarms_cleanup); tcase_add_test(tc, descriptors_close_once);
	  tcase_add_test_raise_signal(tc, must_stays_in_the_release, SIGABRT);
	  tcase_add_test(tc, container_of_finds_the_outer); tcase_add_test(tc, clocks_do_not_go_back))
