/*
 * The only place that reads clocks. Durations are CLOCK_BOOTTIME (it counts suspend), never the wall clock.
 */
#ifndef LEASH_BASE_CLK_H
#define LEASH_BASE_CLK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

uint64_t clk_boot_ns(void); /* CLOCK_BOOTTIME, ns: deadlines, suspicion, log time */
uint64_t clk_real_ns(void); /* CLOCK_REALTIME, ns since 1970: information only */
uint64_t clk_mono_ns(void); /* CLOCK_MONOTONIC, ns: sd_notify's MONOTONIC_USEC, measurements */

#endif
