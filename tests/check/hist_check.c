/* The rules about appends and logs. Each function checks one, and stops at the first contradiction. */
#include "tests/check/hist_int.h"

#include <inttypes.h>

const char *hist_rule_name(enum hist_rule rule)
{
	static const char *const names[] = { "holds", "log-gap", "logs-differ", "twice", "foreign", "altered", "refused",
		"missing", "misplaced", "real-time", "connection-order", "client-order", "read-gap", "read-order", "stale" };

	return names[rule];
}

static const char *op_name(const struct hist *h, uint32_t op)
{
	return hist_name(h, h->ops.v[op].name);
}

/* NULL: no log has it. */
static const struct place *logged(const struct hist *h, leash_seq pos)
{
	return pos < h->places.n && h->places.v[pos].logged ? &h->places.v[pos] : NULL;
}

/* What stands there, by a log or by a reader. */
static const struct place *content(const struct hist *h, leash_seq pos)
{
	return pos < h->places.n && (h->places.v[pos].logged || h->places.v[pos].shown) ? &h->places.v[pos] : NULL;
}

/* ------------------------------------------------------------------------------------------------------ what is there */

/* So far that an id is not known any more. */
static bool apart(const struct hist *h, leash_seq one, leash_seq other)
{
	return h->window && MAX2(one, other) - MIN2(one, other) > h->window;
}

/* Which operation stands where: twice, foreign. */
static bool resolve(struct hist *h)
{
	for (leash_seq pos = 1; pos < h->places.n; pos++) {
		struct place *p = &h->places.v[pos];
		struct op *o;

		if (!p->logged)
			continue;
		p->op = hist_find(h, p->id);
		if (p->op == NONE) {
			uint32_t by_value = hist_find(h, p->value);

			p->op = by_value != NONE ? by_value : hist_op_new(h, p->id, p->name);
		}
		o = &h->ops.v[p->op];
		if (o->pos && !apart(h, o->pos, pos))
			return hist_broken(h, HIST_TWICE, "%s is in the log at %" PRIu64 " and at %" PRIu64, op_name(h, p->op),
				o->pos, pos);
		o->again = o->pos != 0;
		o->pos = pos;
		if (o->first == NONE && !h->foreign)
			return hist_broken(h, HIST_FOREIGN, "%s is in the log at %" PRIu64 ", but nobody appended it",
				op_name(h, p->op), pos);
	}
	return true;
}

/* Some attempt with that value, which may have taken effect. */
static bool check_origin(struct hist *h, leash_seq pos)
{
	const struct place *p = &h->places.v[pos];
	const struct op *o = &h->ops.v[p->op];
	uint32_t same = NONE;

	for (uint32_t i = o->first; i != NONE; i = h->attempts.v[i].next) {
		const struct attempt *a = &h->attempts.v[i];

		if (!hash128_eq(a->value, p->value))
			continue;
		if (a->outcome == OUT_OK || a->outcome == OUT_UNKNOWN)
			return true;
		same = i;
	}
	if (same == NONE)
		return hist_broken(h, HIST_ALTERED, "%s is in the log at %" PRIu64 " with a value that nobody appended",
			op_name(h, p->op), pos);
	return hist_broken(h, HIST_REFUSED, "%s was refused at %" PRIu64 " ns (%s), but is in the log at %" PRIu64,
		op_name(h, p->op), h->attempts.v[same].answered_ns, hist_client_of(h, h->attempts.v[same].conn), pos);
}

static bool check_origins(struct hist *h)
{
	for (leash_seq pos = 1; pos < h->places.n; pos++) {
		const struct place *p = &h->places.v[pos];

		if (p->logged && h->ops.v[p->op].first != NONE && !check_origin(h, pos))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------------- what was said */

/* What was told or shown is in every log. Retention may have removed it, but not what comes behind it. */
static const struct log *lacking(const struct hist *h, leash_seq pos)
{
	for (size_t i = 0; i < h->logs.n; i++)
		if (h->logs.v[i].end < pos)
			return &h->logs.v[i];
	return NULL;
}

static bool check_missing(struct hist *h, uint32_t attempt)
{
	const struct attempt *a = &h->attempts.v[attempt];
	const struct log *l = lacking(h, a->pos);

	return !l || hist_broken(h, HIST_MISSING, "%s was answered with %" PRIu64 " at %" PRIu64 " ns (%s), but the log %s ends at %"
		PRIu64, op_name(h, a->op), a->pos, a->answered_ns, hist_client_of(h, a->conn), hist_name(h, l->name), l->end);
}

static bool check_place(struct hist *h, uint32_t attempt)
{
	const struct attempt *a = &h->attempts.v[attempt];
	const struct place *p = logged(h, a->pos);
	struct op *o = &h->ops.v[a->op];

	if (o->pos == 0 && !p)
		o->pos = a->pos; /* removed by retention, or there are no logs */
	if (o->pos == a->pos || (p ? o->again && p->op == a->op : apart(h, o->pos, a->pos)))
		return true;
	return hist_broken(h, HIST_MISPLACED, "%s was answered with %" PRIu64 " at %" PRIu64 " ns (%s), but %s %s%s%" PRIu64,
		op_name(h, a->op), a->pos, a->answered_ns, hist_client_of(h, a->conn),
		o->pos ? "it is" : op_name(h, p->op), o->pos ? "" : "is ", o->pos ? "at " : "there, at ", o->pos ? o->pos : a->pos);
}

/* The value: an acknowledged one is what stands there, one in conflict is not. */
static bool check_value(struct hist *h, uint32_t attempt)
{
	const struct attempt *a = &h->attempts.v[attempt];
	const struct place *p = content(h, a->pos);

	if (!p || hash128_eq(p->value, a->value) == (a->outcome == OUT_OK))
		return true;
	if (a->outcome == OUT_CONFLICT)
		return hist_broken(h, HIST_MISPLACED, "%s was told a conflict with %" PRIu64 " at %" PRIu64
			" ns (%s), which has the very same value", op_name(h, a->op), a->pos, a->answered_ns, hist_client_of(h, a->conn));
	return hist_broken(h, HIST_ALTERED, "%s was acknowledged at %" PRIu64 " ns (%s), but another value is at %" PRIu64,
		op_name(h, a->op), a->answered_ns, hist_client_of(h, a->conn), a->pos);
}

static bool check_answers(struct hist *h)
{
	for (uint32_t i = 0; i < h->attempts.n; i++)
		if (h->attempts.v[i].pos && (!check_missing(h, i) || !check_place(h, i) || !check_value(h, i)))
			return false;
	return true;
}

/* Where no log tells who stands there any more: no two of them. */
static bool check_owners(struct hist *h)
{
	leash_seq start = hist_start(h);

	for (uint32_t k = 0; k < h->ops.n; k++) {
		leash_seq pos = h->ops.v[k].pos;
		struct place *p;

		if (pos == 0 || logged(h, pos) || (h->logs.n && pos >= start))
			continue;
		p = hist_place(h, pos);
		if (p->op != NONE && p->op != k)
			return hist_broken(h, HIST_MISPLACED, "%s and %s were both answered with %" PRIu64, op_name(h, p->op),
				op_name(h, k), pos);
		p->op = k;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------------- order in time */

/* Who first knew, and when, that the log reached a position. */
struct known {
	uint64_t at_ns;
	uint32_t attempt, read; /* one of them is NONE */
};

static void learn(struct known *k, uint64_t at_ns, uint32_t attempt, uint32_t read)
{
	if (at_ns < k->at_ns)
		*k = (struct known){ at_ns, attempt, read };
}

static void learn_all(const struct hist *h, struct known *known, leash_seq end)
{
	for (leash_seq pos = 0; pos <= end; pos++)
		known[pos] = (struct known){ NOT_YET, NONE, NONE };
	for (uint32_t i = 0; i < h->attempts.n; i++)
		if (h->attempts.v[i].pos)
			learn(&known[h->attempts.v[i].pos], h->attempts.v[i].answered_ns, i, NONE);
	for (uint32_t i = 0; i < h->reads.n; i++) {
		const struct read *r = &h->reads.v[i];
		leash_seq last = r->length ? r->n : r->first + r->n - 1;

		if (r->answered_ns != NOT_YET && r->n && last <= end)
			learn(&known[last], r->answered_ns, NONE, i);
	}
}

static bool too_late(struct hist *h, leash_seq pos, uint32_t op, leash_seq later, const struct known *k)
{
	const struct op *o = &h->ops.v[op];
	const char *by = hist_client_of(h, h->attempts.v[o->first].conn);

	if (k->read != NONE)
		return hist_broken(h, HIST_REAL_TIME, "%s is at %" PRIu64 ", but was first sent at %" PRIu64
			" ns (%s), after %s had read up to %" PRIu64 " at %" PRIu64 " ns", op_name(h, op), pos, o->invoked_ns, by,
			hist_client_of(h, h->reads.v[k->read].conn), later, k->at_ns);
	return hist_broken(h, HIST_REAL_TIME, "%s is at %" PRIu64 ", but was first sent at %" PRIu64
		" ns (%s), after %s had been answered with %" PRIu64 " at %" PRIu64 " ns (%s)", op_name(h, op), pos, o->invoked_ns, by,
		op_name(h, h->attempts.v[k->attempt].op), later, k->at_ns, hist_client_of(h, h->attempts.v[k->attempt].conn));
}

/* From the end back: nothing may have been sent after what lies behind it was known. */
static bool check_real_time(struct hist *h)
{
	leash_seq end = h->places.n ? h->places.n - 1 : 0, later = 0;
	struct known *known, earliest = { NOT_YET, NONE, NONE };
	bool good = true;

	for (uint32_t i = 0; i < h->attempts.n; i++)
		end = MAX2(end, h->attempts.v[i].pos);
	known = malloc((end + 1) * sizeof *known);
	must(known);
	learn_all(h, known, end);
	for (leash_seq pos = end; good && pos > 0; pos--) {
		uint32_t op = pos < h->places.n ? h->places.v[pos].op : NONE;

		if (known[pos].at_ns < earliest.at_ns) {
			earliest = known[pos];
			later = pos;
		}
		if (op != NONE && h->ops.v[op].first != NONE && earliest.at_ns < h->ops.v[op].invoked_ns)
			good = too_late(h, pos, op, later, &earliest);
	}
	free(known);
	return good;
}

/* ------------------------------------------------------------------------------------------------- order of sending */

static bool out_of_order(struct hist *h, enum hist_rule rule, uint32_t conn, uint32_t op, uint32_t before)
{
	return hist_broken(h, rule, "%s sent %s at %" PRIu64 " ns and then %s at %" PRIu64 " ns, but the first is at %" PRIu64
		", the second at %" PRIu64, hist_client_of(h, conn), op_name(h, before), h->ops.v[before].invoked_ns,
		op_name(h, op), h->ops.v[op].invoked_ns, h->ops.v[before].pos, h->ops.v[op].pos);
}

static bool check_connections(struct hist *h)
{
	for (uint32_t i = 0; i < h->attempts.n; i++) {
		const struct attempt *a = &h->attempts.v[i];
		const struct op *o = &h->ops.v[a->op];
		struct conn *c = &h->conns.v[a->conn];

		if (o->pos == 0 || o->first != o->last)
			continue; /* sent again, it has another place in the order, too */
		if (o->pos <= c->highest)
			return out_of_order(h, HIST_CONNECTION_ORDER, a->conn, a->op, c->highest_op);
		c->highest = o->pos;
		c->highest_op = a->op;
	}
	return true;
}

static bool check_clients(struct hist *h)
{
	for (uint32_t i = 0; i < h->attempts.n; i++) {
		const struct attempt *a = &h->attempts.v[i];
		const struct op *o = &h->ops.v[a->op];
		struct client *c = &h->clients.v[h->conns.v[a->conn].client];

		if (o->pos == 0 || o->again || o->first != i || !(c->flags & HIST_IN_ORDER))
			continue;
		if (o->pos <= c->highest)
			return out_of_order(h, HIST_CLIENT_ORDER, a->conn, a->op, c->highest_op);
		c->highest = o->pos;
		c->highest_op = a->op;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------------------ the whole */

static void count(struct hist *h)
{
	struct hist_verdict *v = &h->verdict;

	for (uint32_t k = 0; k < h->ops.n; k++)
		v->operations += h->ops.v[k].first != NONE;
	v->attempts = h->attempts.n;
	for (uint32_t i = 0; i < h->attempts.n; i++)
		switch (h->attempts.v[i].outcome) {
		case OUT_UNKNOWN:
			v->unknown++;
			break;
		case OUT_OK:
		case OUT_CONFLICT:
			v->acknowledged++;
			break;
		case OUT_REFUSED:
			v->refused++;
			break;
		}
	for (uint32_t i = 0; i < h->reads.n; i++)
		v->reads += h->reads.v[i].answered_ns != NOT_YET;
	v->shown = h->shown.n;
	v->logs = h->logs.n;
	for (leash_seq pos = 1; pos < h->places.n; pos++)
		v->records += h->places.v[pos].logged;
}

bool hist_check(struct hist *h, struct hist_verdict *ret_verdict)
{
	bool good = h->verdict.broken == HIST_HOLDS && resolve(h) && check_origins(h) && check_answers(h) && check_owners(h) &&
		hist_check_reads(h) && check_real_time(h) && check_connections(h) && check_clients(h) && hist_check_stale(h);

	count(h);
	must(good == (h->verdict.broken == HIST_HOLDS));
	*ret_verdict = h->verdict;
	return good;
}
