#include "replica/history.h"

#include <errno.h>

void history_deinit(struct history *h)
{
	free(h->a);
	*h = (struct history){ 0 };
}

/* Out of memory ends the process, as a failed write does: without its epochs a log can neither be led nor followed. */
static void history_reserve(struct history *h, uint32_t n)
{
	uint32_t cap = MAX2(h->cap, 16u);

	if (n <= h->cap)
		return;
	while (cap < n)
		cap *= 2;
	h->a = realloc(h->a, cap * sizeof *h->a);
	must(h->a);
	h->cap = cap;
}

static bool stretches_rise(const struct rep_stretch *a, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (a[i].epoch == 0 || a[i].first == 0)
			return false;
		if (i > 0 && (a[i].epoch <= a[i - 1].epoch || a[i].first <= a[i - 1].first))
			return false;
	}
	return true;
}

int history_set(struct history *h, const struct rep_stretch *a, uint32_t n)
{
	if (n > REP_HISTORY_MAX || !stretches_rise(a, n))
		return -EINVAL;
	history_reserve(h, n);
	if (n)
		memcpy(h->a, a, n * sizeof *a);
	h->n = n;
	return 0;
}

void history_append(struct history *h, leash_epoch epoch, leash_seq seq)
{
	if (h->n && h->a[h->n - 1].epoch == epoch)
		return;
	must(h->n == 0 || (h->a[h->n - 1].epoch < epoch && h->a[h->n - 1].first < seq));
	if (h->n == REP_HISTORY_MAX) {
		memmove(h->a, h->a + 1, (h->n - 1) * sizeof *h->a);
		h->n--;
	}
	history_reserve(h, h->n + 1);
	h->a[h->n++] = (struct rep_stretch){ .epoch = epoch, .first = seq };
}

void history_cut(struct history *h, leash_seq seq)
{
	while (h->n && h->a[h->n - 1].first > seq)
		h->n--;
}

void history_trim(struct history *h, leash_seq start)
{
	uint32_t drop = 0;

	while (drop + 1 < h->n && h->a[drop + 1].first <= start)
		drop++;
	if (drop) {
		memmove(h->a, h->a + drop, (h->n - drop) * sizeof *h->a);
		h->n -= drop;
	}
	if (h->n && h->a[0].first < start)
		h->a[0].first = start;
}

leash_epoch history_last(const struct history *h)
{
	return h->n ? h->a[h->n - 1].epoch : 0;
}

leash_epoch history_at(const struct history *h, leash_seq seq, leash_seq *ret_first)
{
	uint32_t lo = 0, hi = h->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (h->a[mid].first <= seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0) {
		*ret_first = 1;
		return 0;
	}
	*ret_first = h->a[lo - 1].first;
	return h->a[lo - 1].epoch;
}

leash_seq history_match(const struct history_log *own, const struct history_log *lead)
{
	leash_seq s = MIN2(own->end, lead->end), from = MAX2(own->start, lead->start);

	while (s >= from && s > 0) {
		leash_seq own_first, lead_first;
		leash_epoch a = history_at(own->h, s, &own_first), b = history_at(lead->h, s, &lead_first);

		if (a == b && a != 0)
			return s;
		/* From the later beginning of the two stretches up to s the epochs differ everywhere. */
		s = MAX2(own_first, lead_first) - 1;
	}
	return own->start - 1;
}
