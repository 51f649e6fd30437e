/*
 * Repair in place by the writing thread: small steps between its groups, until a record is needed that only another node
 * can give. The loop asks for it (repair.h) and hands it over with logthread_rebuild_put().
 */
#include "node/lt_int.h"

#include <errno.h>

#define REBUILD_STEP_BYTES (256 * 1024) /* what a group may have to wait for */

static void post(struct logthread *lt, int outcome, leash_seq need)
{
	struct lt_done *d = calloc(1, sizeof *d);

	must(d);
	d->kind = LT_D_REBUILD;
	d->outcome = outcome;
	d->seq = need;
	if (lt->w.rebuild)
		d->taken = rlog_rebuild_taken(lt->w.rebuild);
	lt_post(lt, d);
}

void lt_rebuild_drop(struct logthread *lt)
{
	if (!lt->w.rebuild)
		return;
	rlog_rebuild_free(TAKE(lt->w.rebuild));
	lt->w.rebuilding = false;
	post(lt, -ECANCELED, 0);
}

static int put_in_place(struct logthread *lt)
{
	struct rlog_rebuilt taken = rlog_rebuild_taken(lt->w.rebuild);
	int r;

	lt_cut_begin(lt);
	r = rlog_rebuild_finish(lt->w.rebuild);
	lt_cut_end(lt);
	if (r == 0)
		lt_damage_forget(lt, taken.segment_first, taken.segment_last);
	return r;
}

/* @r of a step; @need: another node's record is needed. */
static void stepped(struct logthread *lt, int r, leash_seq need)
{
	if (r == RLOG_REBUILD_READY)
		r = put_in_place(lt);
	else if (r == 0 && !need)
		return;
	lt->w.rebuilding = false;
	if (r == 0 && need) {
		post(lt, 0, need);
		return;
	}
	post(lt, r, 0);
	if (r == RLOG_E_GONE)
		lt_damage_forget(lt, rlog_rebuild_taken(lt->w.rebuild).segment_first,
			rlog_rebuild_taken(lt->w.rebuild).segment_last);
	rlog_rebuild_free(TAKE(lt->w.rebuild));
	if (r == -EIO)
		lt_fail(lt, "repairing the log", r);
}

bool lt_rebuild_step(struct logthread *lt)
{
	leash_seq need;
	int r;

	if (!lt->w.rebuilding)
		return false;
	lt_op_begin(lt);
	r = rlog_rebuild_step(lt->w.rebuild, REBUILD_STEP_BYTES, &need);
	stepped(lt, r, need);
	lt_op_end(lt);
	return lt->w.rebuilding;
}

static void begin(struct logthread *lt, leash_seq seq)
{
	int r;

	rlog_rebuild_free(TAKE(lt->w.rebuild));
	r = rlog_rebuild_new(lt->w.log, seq, &lt->w.rebuild);
	lt->w.rebuilding = r == 0;
	if (r != 0)
		post(lt, r, 0);
	if (r == -EIO)
		lt_fail(lt, "repairing the log", r);
}

static void put(struct logthread *lt, const struct lt_cmd *c)
{
	int r;

	for (size_t i = 0; i < c->n; i++)
		lt->w.recs[i] = lt_rec_of(c->recs[i]);
	lt_op_begin(lt);
	r = rlog_rebuild_put(lt->w.rebuild, lt->w.recs, c->n);
	lt->w.rebuilding = true;
	stepped(lt, r, 0);
	lt_op_end(lt);
}

void lt_do_rebuild(struct logthread *lt, const struct lt_cmd *c)
{
	if (c->n == 0)
		begin(lt, c->seq);
	else if (lt->w.rebuild && !lt->w.rebuilding)
		put(lt, c);
	/* else: what it was for has ended meanwhile, and that was told */
}
