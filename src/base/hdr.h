/*
 * A histogram of latencies with two significant digits, in the layout of Gil Tene's HdrHistogram (hdrhistogram.org): log-linear,
 * each power of two is divided into equal parts, so that every value is told apart within 1 %. Recording is a few instructions,
 * the size is fixed, and two of them can be added.
 *
 * Values are whole numbers of any unit (here: ns), 0 to HDR_VALUE_MAX; larger ones count as HDR_VALUE_MAX. One thread.
 */
#ifndef LEASH_BASE_HDR_H
#define LEASH_BASE_HDR_H

#include "base/buf.h"

#define HDR_SUB_BITS  8  /* 256 parts, of which the upper half is used but in the first bucket: at least 2 digits */
#define HDR_SUB_HALF  (1u << (HDR_SUB_BITS - 1))
#define HDR_VALUE_BITS 43 /* 2 hours in ns */
#define HDR_VALUE_MAX ((UINT64_C(1) << HDR_VALUE_BITS) - 1)
#define HDR_COUNTS    ((HDR_VALUE_BITS - HDR_SUB_BITS + 2) * HDR_SUB_HALF)

/* All zero is an empty one. */
struct hdr {
	uint64_t total, max, min; /* min: of no meaning while total is 0 */
	double sum;
	uint64_t counts[HDR_COUNTS];
};

void hdr_record(struct hdr *h, uint64_t value);
void hdr_add(struct hdr *h, const struct hdr *other);

/*
 * The value that @percent (0 to 100) of all values do not exceed, rounded up to the end of its part as HdrHistogram does, and
 * never above the greatest one. 0 when empty.
 */
uint64_t hdr_percentile(const struct hdr *h, double percent);
double hdr_mean(const struct hdr *h);

/*
 * Appends the percentile distribution as HdrHistogram prints it (.hgrm; its plotter and gnuplot read it): columns Value,
 * Percentile, TotalCount, 1/(1-Percentile); values are divided by @unit. -ENOMEM, -ENOBUFS.
 */
int hdr_print(const struct hdr *h, double unit, struct buf *out) _must_check_;

#endif
