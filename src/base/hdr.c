#include "base/hdr.h"

#include <inttypes.h>
#include <math.h>

#define TICKS_PER_HALF 5 /* lines that hdr_print() gives to each halving of what is left */

static unsigned bucket_of(uint64_t value)
{
	return 64 - HDR_SUB_BITS - (unsigned)__builtin_clzll(value | ((1u << HDR_SUB_BITS) - 1));
}

static size_t index_of(uint64_t value)
{
	unsigned bucket = bucket_of(value);

	return (size_t)bucket * HDR_SUB_HALF + (size_t)(value >> bucket);
}

/* The greatest value that is counted at @index. */
static uint64_t highest_at(size_t index)
{
	unsigned bucket = index < 2 * HDR_SUB_HALF ? 0 : (unsigned)(index / HDR_SUB_HALF) - 1;
	uint64_t sub = index - (size_t)bucket * HDR_SUB_HALF;

	return ((sub + 1) << bucket) - 1;
}

void hdr_record(struct hdr *h, uint64_t value)
{
	value = MIN2(value, HDR_VALUE_MAX);
	h->counts[index_of(value)]++;
	h->min = h->total == 0 ? value : MIN2(h->min, value);
	h->max = MAX2(h->max, value);
	h->sum += (double)value;
	h->total++;
}

void hdr_add(struct hdr *h, const struct hdr *other)
{
	if (other->total == 0)
		return;
	for (size_t i = 0; i < HDR_COUNTS; i++)
		h->counts[i] += other->counts[i];
	h->min = h->total == 0 ? other->min : MIN2(h->min, other->min);
	h->max = MAX2(h->max, other->max);
	h->sum += other->sum;
	h->total += other->total;
}

/* Where the @rank-th value (from 1) is counted, and how many are counted up to there. */
static uint64_t value_at(const struct hdr *h, uint64_t rank, uint64_t *ret_upto)
{
	uint64_t seen = 0;
	size_t i = 0;

	for (; i < HDR_COUNTS - 1; i++) {
		seen += h->counts[i];
		if (seen >= rank)
			break;
	}
	if (i == HDR_COUNTS - 1)
		seen = h->total;
	*ret_upto = seen;
	return MIN2(highest_at(i), h->max);
}

uint64_t hdr_percentile(const struct hdr *h, double percent)
{
	double wanted = ceil(MIN2(MAX2(percent, 0.0), 100.0) / 100 * (double)h->total - 1e-6);
	uint64_t upto;

	if (h->total == 0)
		return 0;
	return value_at(h, MAX2((uint64_t)wanted, (uint64_t)1), &upto);
}

double hdr_mean(const struct hdr *h)
{
	return h->total ? h->sum / (double)h->total : 0;
}

int hdr_print(const struct hdr *h, double unit, struct buf *out)
{
	double percent = 0;
	int r = buf_printf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");

	while (r == 0 && h->total > 0) {
		uint64_t upto, rank = MAX2((uint64_t)ceil(percent / 100 * (double)h->total - 1e-6), (uint64_t)1);
		uint64_t value = value_at(h, rank, &upto);

		if (upto >= h->total) {
			r = buf_printf(out, "%12.3f %2.12f %10" PRIu64 "\n", (double)h->max / unit, 1.0, h->total);
			break;
		}
		r = buf_printf(out, "%12.3f %2.12f %10" PRIu64 " %14.2f\n", (double)value / unit, percent / 100, upto,
			1 / (1 - percent / 100));
		percent += 100 / (TICKS_PER_HALF * exp2(floor(log2(100 / (100 - percent))) + 1));
	}
	if (r == 0)
		r = buf_printf(out, "#[Mean    = %12.3f, Max        = %12.3f]\n#[Total   = %12" PRIu64 "]\n",
			hdr_mean(h) / unit, (double)h->max / unit, h->total);
	return r;
}
