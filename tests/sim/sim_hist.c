/*
 * The history of what clients saw, for the checker that knows nothing of nodes and epochs (tests/check/hist.h). It takes
 * no part in the run: no randomness, no timer, no disk time; a seed does the same with it and without.
 *
 * A message with an id of its own travels alone, each time on a connection of its own. A gateway's session is a client that
 * sends in order, on one connection at a time. An endpoint is the life of a node's log: what a process showed before damage
 * was set aside, or before its log was opened again, it need not show afterwards (HACKING, What exactly is checked).
 */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cur.h"

void simhist_new(struct sim *s)
{
	if (s->opts.no_history)
		return;
	s->hist = hist_new();
	hist_window(s->hist, s->opts.dedup_window);
	s->hist_clients = hist_client(s->hist, "a client", 0);
	s->hist_readers = hist_client(s->hist, "a reader", 0);
}

/* ----------------------------------------------------------------------------------------------------------- texts */

static void hex(char *to, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*to++ = "0123456789abcdef"[from[i] >> 4];
		*to++ = "0123456789abcdef"[from[i] & 15];
	}
	*to = '\0';
}

/* What a record is called: from its bytes, be it a client's own or one out of a log. "": it has no id. */
void simhist_id(const struct rec_body *b, char ret[SIM_ID_TEXT])
{
	char text[2 * REC_AUTO_ID_BYTES + 1] = "";
	int n = (int)MIN2(b->producer.len, (size_t)15);

	ret[0] = '\0';
	switch (b->id_kind) {
	case REC_ID_NONE: return;
	case REC_ID_OPAQUE:
		(void)snprintf(ret, SIM_ID_TEXT, "%.*s/%.*s", n, (const char *)b->producer.p, (int)MIN2(b->id.len, (size_t)15),
			(const char *)b->id.p);
		return;
	case REC_ID_AUTO:
		hex(text, b->id.p, MIN2(b->id.len, (size_t)REC_AUTO_ID_BYTES));
		(void)snprintf(ret, SIM_ID_TEXT, "%.*s/auto %s", n, (const char *)b->producer.p, text);
		return;
	case REC_ID_SEQ: (void)snprintf(ret, SIM_ID_TEXT, "%.*s#%" PRIu64, n, (const char *)b->producer.p, b->n); return;
	case REC_ID_SESSION:
		hex(text, b->producer.p, MIN2(b->producer.len, sizeof(leash_id)));
		(void)snprintf(ret, SIM_ID_TEXT, "session %s/%" PRIu64, text, b->n);
		return;
	}
}

/* All of the body, in one word. */
void simhist_value(struct bytes body, char ret[SIM_VALUE_TEXT])
{
	uint64_t hash = hash_64(body.p, body.len, 0);

	hex(ret, (const uint8_t *)&hash, sizeof hash);
}

/* --------------------------------------------------------------------------------------------------------- attempts */

void simhist_new_life(struct simnode *n)
{
	n->hist_life++;
}

static uint32_t conn(struct sim *s, uint32_t client, const struct simnode *n, uint32_t life)
{
	char endpoint[32];

	(void)snprintf(endpoint, sizeof endpoint, "%s life %u", n->name, life);
	return hist_conn(s->hist, client, endpoint);
}

static uint32_t send_on(struct sim *s, uint32_t c, const struct op *o)
{
	uint32_t attempt;

	must(hist_append(s->hist, c, s->now_ns, o->hist_id, o->hist_value, &attempt) == 0);
	return attempt;
}

uint32_t simhist_sent(struct sim *s, int op, int node)
{
	return s->hist ? send_on(s, conn(s, s->hist_clients, &s->nodes[node], s->nodes[node].hist_life), &s->ops[op]) : SIM_NONE;
}

uint32_t simhist_session_sent(struct sim *s, struct session *g, int op)
{
	char name[48];

	if (!s->hist)
		return SIM_NONE;
	if (!g->hist_known) {
		(void)snprintf(name, sizeof name, "the gateway's session %016" PRIx64, g->id);
		g->hist_client = hist_client(s->hist, name, HIST_IN_ORDER);
		g->hist_known = true;
	}
	if (!g->hist_linked) {
		g->hist_conn = conn(s, g->hist_client, &s->nodes[g->node], s->nodes[g->node].hist_life);
		g->hist_linked = true;
	}
	return send_on(s, g->hist_conn, &s->ops[op]);
}

void simhist_answered(struct sim *s, uint32_t attempt, leash_seq seq, bool conflict)
{
	if (attempt == SIM_NONE)
		return;
	if (conflict)
		must(hist_conflict(s->hist, attempt, s->now_ns, seq) == 0);
	else
		must(hist_ok(s->hist, attempt, s->now_ns, seq) == 0);
}

void simhist_refused(struct sim *s, uint32_t attempt)
{
	if (attempt != SIM_NONE)
		must(hist_refused(s->hist, attempt, s->now_ns) == 0);
}

/* ------------------------------------------------------------------------------------------------------------ reads */

/* Records @first (ascending) that were shown of @from..; @more: others are there that were not shown. */
void simhist_read(struct sim *s, const struct simread *r, struct drv_rec *const *recs, size_t count, bool more)
{
	struct simnode *n = r->n;
	leash_seq from = r->from;
	uint32_t read;

	/* A read that was overtaken by the end of its endpoint failed; one that was cut short at once says nothing. */
	if (!s->hist || r->life != n->hist_life || (count == 0 && more))
		return;
	if (r->reverse && more)
		from = recs[count - 1]->h.seq; /* it came no further down than that, but began at the end */
	read = hist_read(s->hist, conn(s, s->hist_readers, n, r->life), r->asked_ns, from, 0,
		more && !r->reverse ? count : 0);
	for (size_t i = 0; i < count; i++) {
		const struct drv_rec *rec = recs[r->reverse ? count - 1 - i : i];
		char value[SIM_VALUE_TEXT];

		simhist_value((struct bytes){ rec->bytes + REC_HEADER_BYTES, rec->body_bytes }, value);
		must(hist_shows(s->hist, read, rec->h.seq, value) == 0);
	}
	must(hist_end(s->hist, read, s->now_ns) == 0);
}

/* ---------------------------------------------------------------------------------------------------------- the end */

static void feed_log(struct sim *s, struct simnode *n)
{
	uint32_t log = hist_log(s->hist, n->name);
	struct rlog_reader *reader = NULL;

	for (leash_seq seq = n->acc.start; seq <= n->acc.end; seq++) {
		char id[SIM_ID_TEXT], value[SIM_VALUE_TEXT];
		struct rlog_view v;
		struct rec_body b;

		if (!simlog_view(n, seq, &reader, &v) || rec_body_decode(v.body, &b) != 0)
			sim_refuted(s, "history: record %" PRIu64 " of %s cannot be read at rest", seq, n->name);
		simhist_id(&b, id);
		simhist_value(v.body, value);
		must(hist_record(s->hist, log, seq, id, value) == 0);
	}
	rlog_reader_close(reader);
}

void simhist_rest(struct sim *s)
{
	struct hist_verdict v;

	if (!s->hist)
		return;
	for (int i = 0; i < s->n; i++)
		feed_log(s, &s->nodes[i]);
	if (!hist_check(s->hist, &v))
		sim_refuted(s, "history: %s: %s", hist_rule_name(v.broken), v.text);
}
