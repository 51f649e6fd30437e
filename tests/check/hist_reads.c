/* The rules about reads: what they show is in the log, and nothing that their endpoint had shown before is left out. */
#include "tests/check/hist_int.h"

#include <inttypes.h>

static leash_seq last_shown(const struct read *r)
{
	return r->length ? r->n : r->n ? r->first + r->n - 1 : 0;
}

static bool check_bounds(struct hist *h, const struct read *r)
{
	leash_seq from = MAX2(r->from, hist_start(h));

	if (r->length || r->n == 0)
		return true;
	if (r->first < r->from || last_shown(r) > r->to || r->n > r->count)
		return hist_broken(h, HIST_READ_ORDER, "a read of %s at %" PRIu64 " ns shows %" PRIu64 " to %" PRIu64
			", for which it did not ask", hist_client_of(h, r->conn), r->asked_ns, r->first, last_shown(r));
	return r->first <= from || hist_broken(h, HIST_READ_GAP, "a read of %s at %" PRIu64 " ns begins at %" PRIu64
		", although %" PRIu64 " was asked for and is kept", hist_client_of(h, r->conn), r->asked_ns, r->first, from);
}

/* Every log reaches as far as any reader saw; and has there what the reader saw. */
static bool check_content(struct hist *h, const struct read *r)
{
	leash_seq last = last_shown(r);

	for (size_t i = 0; i < h->logs.n; i++)
		if (h->logs.v[i].end < last && (!r->length || h->logs.v[i].start == 1))
			return hist_broken(h, HIST_MISSING, "a read of %s at %" PRIu64 " ns shows %" PRIu64
				", but the log %s ends at %" PRIu64, hist_client_of(h, r->conn), r->asked_ns, last,
				hist_name(h, h->logs.v[i].name), h->logs.v[i].end);
	for (uint64_t i = 0; !r->length && i < r->n; i++)
		if (!hash128_eq(h->shown.v[r->shown + i], h->places.v[r->first + i].value))
			return hist_broken(h, HIST_LOGS_DIFFER, "a read of %s at %" PRIu64 " ns shows another record at %" PRIu64
				" than the log has", hist_client_of(h, r->conn), r->asked_ns, r->first + i);
	return true;
}

bool hist_check_reads(struct hist *h)
{
	for (size_t i = 0; i < h->reads.n; i++)
		if (!check_bounds(h, &h->reads.v[i]) || !check_content(h, &h->reads.v[i]))
			return false;
	return true;
}

/* ------------------------------------------------------------------------------------------------------------ stale */

/* Something said by an endpoint: at a time it knew a position; or from a time on it must not hide what lies behind one. */
struct claim {
	uint64_t at_ns;
	leash_seq pos;
	uint32_t endpoint, attempt, read; /* one of the last two is NONE */
	bool hides; /* the read shows all up to .pos and no more */
};

typedef VEC(struct claim) claims;

/* The end of the log as the read saw it; UINT64_MAX: it did not see the end, since it was full, or retention moves bounds. */
static leash_seq end_seen(const struct hist *h, const struct read *r)
{
	leash_seq start = hist_start(h);

	if (r->length)
		return start == 1 ? r->n : UINT64_MAX;
	if (r->n == r->count || last_shown(r) == r->to)
		return UINT64_MAX;
	return r->n ? last_shown(r) : r->to < start ? UINT64_MAX : MAX2(r->from, start) - 1;
}

static void claim(claims *c, const struct hist *h, uint32_t conn, struct claim what)
{
	what.endpoint = h->conns.v[conn].endpoint;
	*vec_add(c) = what;
}

static void collect(const struct hist *h, claims *c)
{
	for (uint32_t i = 0; i < h->attempts.n; i++) {
		const struct attempt *a = &h->attempts.v[i];

		if (a->pos)
			claim(c, h, a->conn, (struct claim){ .at_ns = a->answered_ns, .pos = a->pos, .attempt = i, .read = NONE });
	}
	for (uint32_t i = 0; i < h->reads.n; i++) {
		const struct read *r = &h->reads.v[i];
		leash_seq end = end_seen(h, r);

		if (r->answered_ns == NOT_YET)
			continue;
		if (last_shown(r))
			claim(c, h, r->conn,
				(struct claim){ .at_ns = r->answered_ns, .pos = last_shown(r), .attempt = NONE, .read = i });
		if (end != UINT64_MAX && (r->length || end + 1 <= r->to))
			claim(c, h, r->conn,
				(struct claim){ .at_ns = r->asked_ns, .pos = end, .attempt = NONE, .read = i, .hides = true });
	}
}

/* At one time, reads that begin come first: before and after are strict. */
static int by_endpoint_and_time(const void *one, const void *other)
{
	const struct claim *a = one, *b = other;

	if (a->endpoint != b->endpoint)
		return a->endpoint < b->endpoint ? -1 : 1;
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns ? -1 : 1;
	return (int)b->hides - (int)a->hides;
}

static bool hidden(struct hist *h, const struct claim *c, const struct claim *before)
{
	const struct read *r = &h->reads.v[c->read];
	const char *endpoint = hist_name(h, h->endpoints.v[c->endpoint]);
	const char *by = hist_client_of(h, r->conn);

	if (before->attempt == NONE)
		return hist_broken(h, HIST_STALE, "a read of %s at %" PRIu64 " ns saw the end of the log at %" PRIu64 ", but %s had read %"
			PRIu64 " at %" PRIu64 " ns from the same endpoint %s", by, r->asked_ns, c->pos,
			hist_client_of(h, h->reads.v[before->read].conn), before->pos, before->at_ns, endpoint);
	return hist_broken(h, HIST_STALE, "a read of %s at %" PRIu64 " ns saw the end of the log at %" PRIu64
		", but %s had been answered with %" PRIu64 " at %" PRIu64 " ns (%s) by the same endpoint %s", by, r->asked_ns, c->pos,
		hist_name(h, h->ops.v[h->attempts.v[before->attempt].op].name), before->pos, before->at_ns,
		hist_client_of(h, h->attempts.v[before->attempt].conn), endpoint);
}

bool hist_check_stale(struct hist *h)
{
	claims c = { 0 };
	const struct claim *highest = NULL;
	bool good = true;

	collect(h, &c);
	if (c.n)
		qsort(c.v, c.n, sizeof *c.v, by_endpoint_and_time);
	for (size_t i = 0; good && i < c.n; i++) {
		if (highest && highest->endpoint != c.v[i].endpoint)
			highest = NULL;
		if (c.v[i].hides)
			good = !highest || highest->pos <= c.v[i].pos || hidden(h, &c.v[i], highest);
		else if (!highest || c.v[i].pos > highest->pos)
			highest = &c.v[i];
	}
	free(c.v);
	return good;
}
