/*
 * Readers: ask any node for a range, and see only what is committed, the same everywhere; and what one life of a node
 * showed once it does not hide again.
 */
#include "tests/sim/sim_int.h"

#include <inttypes.h>

static void on_read(void *ctx, enum peer_status_code status, struct drv_rec *const *recs, size_t count, bool more)
{
	struct simread *p = ctx;
	struct simnode *n = p->n;
	struct sim *s = n->s;

	s->stats.reads += status == PEER_ST_OK;
	if (status == PEER_ST_OK && count == 0 && !p->reverse && p->from <= n->reader_high)
		sim_broken(s, "%s shows nothing at %" PRIu64 ", but showed %" PRIu64 " before", n->name, p->from, n->reader_high);
	for (size_t i = 0; i < count; i++) {
		const struct drv_rec *r = recs[i];

		simcheck_record(s, n->i, r->h.seq, &r->h, (struct bytes){ r->bytes + REC_HEADER_BYTES, r->body_bytes });
		n->reader_high = MAX2(n->reader_high, r->h.seq);
	}
	if (status == PEER_ST_OK)
		simhist_read(s, p, recs, count, more);
	p->n = NULL; /* free */
}

/* R14: what a primary that serves still knows of ids. */
static void check_window(struct sim *s, struct simnode *n)
{
	const struct rep_status *st = sim_status(s, n->name);

	if (st->role == REP_ROLE_PRIMARY && st->serving && st->dedup_keep_from > 1 &&
		st->dedup_keep_from + s->opts.dedup_window > st->commit + 1)
		sim_broken(s, "%s has forgotten the ids before %" PRIu64 ", but only %" PRIu64 " records are committed", n->name,
			st->dedup_keep_from, st->commit);
}

void simreader_peek(struct sim *s)
{
	static struct simread peeks[256];
	static size_t next;
	struct simnode *n = simnode_enter(s, (int)sim_below(s, (uint64_t)s->n));
	struct simread *p = &peeks[next++ % ARRAY_SIZE(peeks)];
	leash_seq end;
	uint32_t count;

	if (!n || n->paused)
		return;
	check_window(s, n);
	if (rep_commit(simnode_rep(n)) > rep_log_end(simnode_rep(n)))
		sim_broken(s, "%s offers records up to %" PRIu64 " to readers, but its log ends at %" PRIu64, n->name,
			rep_commit(simnode_rep(n)), rep_log_end(simnode_rep(n)));
	end = rep_commit(simnode_rep(n));
	*p = (struct simread){ .n = n, .from = 1 + sim_below(s, end + 2), .asked_ns = s->now_ns, .life = n->hist_life };
	p->reverse = sim_chance(s, 0.2);
	if (sim_chance(s, 0.5) && n->reader_high)
		p->from = n->reader_high;
	count = 1 + (uint32_t)sim_below(s, 20);
	node_read(n->node, p->from, UINT64_MAX, p->reverse, count, 1 + sim_below(s, 4000), on_read, p, NULL);
}
