#include "base/clk.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts); /* cannot fail for these ids on Linux */
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t clk_boot_ns(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

uint64_t clk_real_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t clk_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}
