/*
 * The writing thread.
 *
 *  1. All commands that have queued up are taken at once.
 *  2. Appends in a row are one group: rlog_append(), rlog_sync(), one completion. Everything else goes one by one.
 *  3. A step of a repair, if one is under way (lt_rebuild.c).
 *  4. Nothing waits: one piece of idle work (lt_idle.c), then look again.
 *
 * No room: an append reports where the log ends; the appends behind it, which the loop gave before it knew, do not
 * continue there and are dropped. Metadata and cuts are kept and tried again.
 */
#include "node/lt_int.h"

#include <errno.h>
#include <time.h>

#include "base/clk.h"

/* ------------------------------------------------------------------------------------------------------------ append */

static void count_group(struct logthread *lt, size_t n)
{
	(void)pthread_mutex_lock(&lt->lock);
	lt->stats.groups += n > 0;
	lt->stats.group_records += n;
	lt->stats.full = lt->w.full || lt->w.spare_full;
	(void)pthread_mutex_unlock(&lt->lock);
}

static bool sync_log(struct logthread *lt)
{
	int r;

	lt_op_begin(lt);
	r = rlog_sync(lt->w.log);
	lt_op_end(lt);
	if (r != 0)
		lt_fail(lt, "syncing the log", r);
	return r == 0;
}

/* What @r of rlog_append() means for the records that are not in. */
static void append_refused(struct logthread *lt, int r)
{
	if (r == -EIO) {
		lt_fail(lt, "writing the log", r);
		return;
	}
	if (!lt->w.full && r != RLOG_E_FULL)
		lt_problem(lt, "the log takes no records (%s): asking for them again",
			r == RLOG_E_DAMAGED ? "it is damaged" :
			r == RLOG_E_CHAIN   ? "the chain does not close" :
			r == RLOG_E_ORDER   ? "not the next in order" :
						strerror(r < 0 ? -r : EIO));
	lt->w.full = true;
}

static void write_group(struct logthread *lt, size_t n)
{
	struct lt_writer *w = &lt->w;
	size_t done = 0;
	int r;

	lt_op_begin(lt);
	r = rlog_append(w->log, w->recs, n, &done);
	lt_op_end(lt);
	if (r != 0)
		append_refused(lt, r);
	else
		w->full = false;
	if (w->failed)
		return;
	if (done > 0) {
		w->last_append_ns = clk_boot_ns();
		if (!sync_log(lt))
			return;
		lt_post_seq(lt, LT_D_DURABLE, rlog_durable(w->log));
	}
	count_group(lt, done);
	if (r != 0)
		lt_post_seq(lt, LT_D_FULL, rlog_end(w->log));
}

/* True when the command's records continue the group of @n, or the log's end. While the disk is full, others were
 * given before the loop knew. */
static bool continues(const struct logthread *lt, const struct lt_cmd *c, size_t n)
{
	leash_seq end = n ? lt->w.recs[n - 1].h.seq : rlog_end(lt->w.log);

	return !lt->w.full || c->recs[0]->h.seq == end + 1;
}

struct rlog_rec lt_rec_of(const struct drv_rec *rec)
{
	return (struct rlog_rec){ .h = rec->h, .header = rec->bytes,
		.body = { rec->bytes + REC_HEADER_BYTES, rec->body_bytes }, .ident = rec->ident };
}

static size_t add_to_group(struct logthread *lt, const struct lt_cmd *c, size_t n)
{
	for (size_t i = 0; i < c->n; i++)
		lt->w.recs[n++] = lt_rec_of(c->recs[i]);
	return n;
}

/* Takes the appends at the front of @q. */
static void do_appends(struct logthread *lt, struct lt_cmd **q)
{
	struct lt_cmd *done = NULL;
	size_t n = 0;

	while (*q && (*q)->kind == LT_APPEND && n + (*q)->n <= LT_GROUP_MAX) {
		struct lt_cmd *c = *q;

		*q = c->next;
		if (continues(lt, c, n))
			n = add_to_group(lt, c, n);
		c->next = done;
		done = c;
	}
	if (n > 0)
		write_group(lt, n);
	while (done) {
		struct lt_cmd *c = done;

		done = c->next;
		lt_cmd_free(c);
	}
}

/* ------------------------------------------------------------------------------------------------------------- cuts */

static int cut(struct logthread *lt, const struct lt_cmd *c)
{
	struct rlog *log = lt->w.log;

	if (c->kind == LT_RESET)
		return rlog_reset(log, c->seq, c->chain);
	return c->seq < rlog_end(log) ? rlog_truncate(log, c->seq) : 0;
}

void lt_do_cut(struct logthread *lt, struct lt_cmd *c)
{
	int r;

	lt_rebuild_drop(lt);
	lt_op_begin(lt);
	lt_cut_begin(lt);
	r = cut(lt, c);
	lt_cut_end(lt);
	lt_op_end(lt);
	if (r == RLOG_E_FULL) {
		if (!lt->w.full)
			lt_problem(lt, "no room on disk to keep what is cut off: trying again");
		lt->w.full = true;
		lt->w.stuck_cut = c;
		return;
	}
	if (r != 0) {
		lt_fail(lt, "cutting the log", r);
	} else {
		lt_damage_forget(lt, c->kind == LT_RESET ? 0 : c->seq + 1, UINT64_MAX);
		lt->w.marked = MIN2(lt->w.marked, c->kind == LT_RESET ? 0 : c->seq);
		lt_post_seq(lt, LT_D_CUT, rlog_end(lt->w.log));
	}
	lt_cmd_free(c);
}

/* --------------------------------------------------------------------------------------------------------- metadata */

static int write_meta(struct logthread *lt, const struct rlog_meta *m)
{
	int r;

	lt_op_begin(lt);
	r = rlog_meta_write(lt->w.log, m);
	if (r == 0 && m->cluster != lt->w.meta.cluster)
		r = rlog_set_seed(lt->w.log, m->cluster);
	lt_op_end(lt);
	if (r == 0)
		lt->w.meta = *m;
	return r;
}

static struct lt_done *meta_done(uint64_t ticket)
{
	struct lt_done *d = calloc(1, sizeof *d);

	must(d);
	d->kind = LT_D_META;
	d->ticket = ticket;
	return d;
}

/* Older metadata that waits for room must never be written over newer: it may promise less (R4, R9). */
static void forget_stuck_meta(struct logthread *lt)
{
	lt_cmd_free(TAKE(lt->w.stuck_meta));
}

void lt_do_meta(struct logthread *lt, struct lt_cmd *c)
{
	struct rlog_meta m = c->meta;
	int r;

	forget_stuck_meta(lt);
	memcpy(m.engine, lt->w.meta.engine, sizeof m.engine);
	memcpy(m.node, lt->w.meta.node, sizeof m.node);
	m.incarnation = lt->w.meta.incarnation;
	if (m.min_insync == 0)
		m.min_insync = lt->w.meta.min_insync;
	if (m.dedup_window == 0)
		m.dedup_window = lt->w.meta.dedup_window;
	r = write_meta(lt, &m);
	if (r == RLOG_E_FULL) {
		lt_problem(lt, "no room on disk for the node's metadata: trying again");
		lt->w.stuck_meta = c;
		return;
	}
	if (r != 0)
		lt_fail(lt, "writing the metadata", r);
	else
		lt_post(lt, meta_done(c->ticket));
	lt_cmd_free(c);
}

/* What was found while running goes into the log's own account, unless retention has removed it. The lowest is enough:
 * nothing behind it is kept. */
static int add_damage(struct logthread *lt)
{
	leash_seq start = rlog_start(lt->w.log);
	struct rlog_damage d = { 0 };
	size_t i;

	(void)pthread_mutex_lock(&lt->lock);
	if (lt_damage_first(lt, &i))
		d = lt->damage[i];
	lt->n_damage = 0;
	(void)pthread_mutex_unlock(&lt->lock);
	if (d.first == 0 || d.first > rlog_end(lt->w.log) || (d.last && d.last < start))
		return 0;
	d.first = MAX2(d.first, start);
	return rlog_damage_add(lt->w.log, &d);
}

/* R11: the new incarnation is on disk before anything of the log is moved. */
static void do_set_aside(struct logthread *lt, struct lt_cmd *c)
{
	struct rlog_meta m = lt->w.meta;
	int r;

	lt_rebuild_drop(lt);
	forget_stuck_meta(lt);
	m.incarnation = c->incarnation;
	m.log_epoch = m.log_matched = 0; /* it may lack what it had: nothing for `leash recover` to build upon (R9) */
	r = write_meta(lt, &m);
	if (r == 0)
		r = add_damage(lt);
	lt_op_begin(lt);
	lt_cut_begin(lt);
	while (r == 0 && (r = rlog_set_damage_aside(lt->w.log)) == RLOG_E_DAMAGED)
		r = 0; /* there is more of it */
	lt_cut_end(lt);
	lt_op_end(lt);
	if (r == RLOG_E_FULL) {
		lt_problem(lt, "no room on disk to keep the evidence of damage: trying again");
		lt->w.stuck_cut = c;
		return;
	}
	if (r != 0) {
		lt_fail(lt, "setting damage aside", r);
	} else {
		lt_damage_forget(lt, rlog_end(lt->w.log) + 1, UINT64_MAX);
		lt->w.marked = MIN2(lt->w.marked, rlog_end(lt->w.log));
		lt_post_seq(lt, LT_D_INCARNATION, rlog_end(lt->w.log));
	}
	lt_cmd_free(c);
}

/* -------------------------------------------------------------------------------------------------------------- main */

static void do_one(struct logthread *lt, struct lt_cmd *c)
{
	switch (c->kind) {
	case LT_TRUNCATE:
	case LT_RESET: lt_do_cut(lt, c); return;
	case LT_META: lt_do_meta(lt, c); return;
	case LT_SET_ASIDE: do_set_aside(lt, c); return;
	case LT_RETAIN: lt_do_retain(lt, c); break;
	case LT_REBUILD: lt_do_rebuild(lt, c); break;
	case LT_REFRESH: lt_do_refresh(lt); break;
	case LT_APPEND: break;
	}
	lt_cmd_free(c);
}

/* What found no room before. */
static void do_stuck(struct logthread *lt)
{
	struct lt_writer *w = &lt->w;

	if ((!w->stuck_meta && !w->stuck_cut) || clk_boot_ns() < w->again_ns)
		return;
	w->again_ns = clk_boot_ns() + LT_AGAIN_NS;
	if (w->stuck_cut)
		do_one(lt, TAKE(w->stuck_cut));
	if (w->stuck_meta && !w->failed)
		do_one(lt, TAKE(w->stuck_meta));
}

static void do_all(struct logthread *lt, struct lt_cmd *q)
{
	while (q) {
		if (lt->w.failed) {
			struct lt_cmd *c = q;

			q = c->next;
			lt_cmd_free(c);
		} else if (q->kind == LT_APPEND) {
			do_appends(lt, &q);
		} else {
			struct lt_cmd *c = q;

			q = c->next;
			do_one(lt, c);
		}
		if (!lt->w.failed)
			lt_maybe_mark(lt, false);
	}
}

void lt_carry_out(struct logthread *lt, struct lt_cmd *q)
{
	do_all(lt, q);
	if (lt->w.failed)
		return;
	do_stuck(lt);
	(void)lt_rebuild_step(lt);
}

struct lt_cmd *lt_take_cmds(struct logthread *lt)
{
	struct lt_cmd *q = lt->cmds.head;

	lt->cmds.head = NULL;
	lt->cmds.tail = &lt->cmds.head;
	return q;
}

static struct lt_cmd *take_all(struct logthread *lt, uint64_t wait_ns, bool *ret_stop)
{
	struct lt_cmd *q;

	(void)pthread_mutex_lock(&lt->lock);
	if (!lt->cmds.head && !lt->stop && wait_ns > 0) {
		uint64_t at = clk_mono_ns() + wait_ns;
		struct timespec ts = { .tv_sec = (time_t)(at / NS_PER_S), .tv_nsec = (long)(at % NS_PER_S) };

		(void)pthread_cond_timedwait(&lt->cond, &lt->lock, &ts); /* whatever woke us, we look */
	}
	q = lt_take_cmds(lt);
	*ret_stop = lt->stop && !q;
	(void)pthread_mutex_unlock(&lt->lock);
	return q;
}

void *lt_write_main(void *arg)
{
	struct logthread *lt = arg;
	uint64_t wait_ns = 0;
	bool end = false;

	(void)pthread_setname_np(pthread_self(), "log-write"); /* for those who look */
	while (!end) {
		struct lt_cmd *q = take_all(lt, wait_ns, &end);

		lt_moved(lt);
		lt_carry_out(lt, q);
		wait_ns = lt->w.failed ? LT_RESERVE_NS : q ? 0 : lt_idle(lt);
	}
	rlog_rebuild_free(TAKE(lt->w.rebuild));
	if (!lt->w.failed)
		lt_maybe_mark(lt, true);
	return NULL;
}
