/*
 * What the writing thread does while nothing waits: the mark, the next segment, the reserve; and retention.
 */
#include "node/lt_int.h"

#include <errno.h>

#include "base/clk.h"

/* ------------------------------------------------------------------------------------------------------------- mark */

/* Lazily: at most every LT_MARK_NS while busy, and when the thread falls idle. It may lag, it never leads (R11). */
void lt_maybe_mark(struct logthread *lt, bool idle)
{
	struct lt_writer *w = &lt->w;
	uint64_t now = clk_boot_ns();
	leash_seq seq;
	int r;

	if (!idle && now - w->marked_ns < LT_MARK_NS)
		return;
	(void)pthread_mutex_lock(&lt->lock);
	seq = lt->mark;
	(void)pthread_mutex_unlock(&lt->lock);
	seq = MIN2(seq, rlog_durable(w->log));
	if (seq <= w->marked)
		return;
	w->marked_ns = now;
	lt_op_begin(lt);
	r = rlog_mark(w->log, seq);
	lt_op_end(lt);
	if (r == 0)
		w->marked = seq;
	else if (r < 0)
		lt_fail(lt, "writing the mark", r);
	/* RLOG_E_FULL, RLOG_E_DAMAGED: the old mark stands; it may lag */
}

/* ------------------------------------------------------------------------------------------------------ room ahead */

uint64_t lt_room(struct logthread *lt)
{
	struct rlog_segment_info info;
	size_t n = rlog_segments(lt->w.log);

	if (!lt->w.spare_full && !lt->w.full && !rlog_reserve_spent(lt->w.log))
		return UINT64_MAX;
	if (n == 0 || rlog_segment_info(lt->w.log, n - 1, &info) != 0 || info.finished)
		return 0;
	return info.bytes > info.used_bytes ? info.bytes - info.used_bytes : 0;
}

static void post_space(struct logthread *lt, bool full)
{
	struct lt_done *d = calloc(1, sizeof *d);

	must(d);
	d->kind = LT_D_SPACE;
	d->full = full;
	lt_post(lt, d);
}

static void tell_full(struct logthread *lt, bool full)
{
	if (lt->w.spare_full == full)
		return;
	lt->w.spare_full = full;
	post_space(lt, full);
	(void)pthread_mutex_lock(&lt->lock);
	lt->stats.full = full;
	(void)pthread_mutex_unlock(&lt->lock);
	lt_post_seq(lt, LT_D_DURABLE, rlog_durable(lt->w.log)); /* brings the new room */
}

/* A piece of the next segment. True: there is more to do at once. */
static bool prepare(struct logthread *lt)
{
	bool ready = false;
	int r;

	lt_op_begin(lt);
	r = rlog_prepare(lt->w.log, LT_PREPARE_BYTES, &ready);
	lt_op_end(lt);
	if (r < 0)
		lt_fail(lt, "preparing a segment", r);
	if (r == RLOG_E_FULL)
		tell_full(lt, true);
	if (r == 0 && ready) {
		lt->w.full = false;
		if (!rlog_reserve_spent(lt->w.log))
			tell_full(lt, false);
	}
	return r == 0 && !ready;
}

static void fill_reserve(struct logthread *lt)
{
	uint64_t now = clk_boot_ns();
	int r;

	if (!rlog_reserve_spent(lt->w.log) || now < lt->w.reserve_ns)
		return;
	lt->w.reserve_ns = now + LT_RESERVE_NS;
	lt_op_begin(lt);
	r = rlog_reserve_fill(lt->w.log);
	lt_op_end(lt);
	if (r < 0)
		lt_fail(lt, "filling the reserve", r);
}

static void note_sizes(struct logthread *lt)
{
	size_t n = rlog_segments(lt->w.log);
	struct rlog_segment_info info;
	uint64_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		if (rlog_segment_info(lt->w.log, i, &info) == 0)
			bytes += info.bytes;
	(void)pthread_mutex_lock(&lt->lock);
	lt->stats.bytes = bytes;
	lt->stats.segments = n;
	(void)pthread_mutex_unlock(&lt->lock);
}

uint64_t lt_idle(struct logthread *lt)
{
	bool more = lt_rebuild_step(lt);

	lt_maybe_mark(lt, clk_boot_ns() - lt->w.marked_ns >= LT_MARK_NS);
	fill_reserve(lt);
	if (!lt->w.failed && !(rlog_reserve_spent(lt->w.log) && lt->w.spare_full) && prepare(lt))
		return 0;
	/* Room may be back before anybody noticed that there was none for the next segment: the loop must hear of it, or it
	 * would refuse appends for ever. */
	if (lt->w.room_told != UINT64_MAX && lt_room(lt) == UINT64_MAX)
		lt_post_seq(lt, LT_D_DURABLE, rlog_durable(lt->w.log));
	note_sizes(lt);
	if (more)
		return 0;
	if (lt->w.stuck_meta || lt->w.stuck_cut)
		return LT_AGAIN_NS;
	return LT_MARK_NS;
}

/* --------------------------------------------------------------------------------------------------------- retention */

/* Log time now (R14): the newest record's and what has passed since. A stepped wall clock must not empty a log. */
static uint64_t log_time_now(struct logthread *lt)
{
	struct rlog_state s;

	rlog_state_get(lt->w.log, &s);
	return s.log_time_ns + (clk_boot_ns() - lt->w.last_append_ns);
}

/* From which record on the log is kept. At most LT_RETAIN_SEGMENTS go in one turn. */
static leash_seq keep_from(struct logthread *lt, const struct lt_cmd *c)
{
	size_t n = rlog_segments(lt->w.log);
	struct rlog_segment_info info;
	uint64_t bytes = 0, now = log_time_now(lt);
	leash_seq keep = 0;

	for (size_t i = 0; i < n; i++)
		if (rlog_segment_info(lt->w.log, i, &info) == 0)
			bytes += info.bytes;
	for (size_t i = 0; i < MIN2(n, (size_t)LT_RETAIN_SEGMENTS); i++) {
		bool big, old;

		if (rlog_segment_info(lt->w.log, i, &info) != 0 || !info.finished || info.last >= c->seq)
			break;
		big = c->retention_bytes && bytes > c->retention_bytes;
		old = c->retention_time_ns && now > info.last_log_time_ns &&
		      now - info.last_log_time_ns > c->retention_time_ns;
		if (!big && !old)
			break;
		bytes -= info.bytes;
		keep = info.last + 1;
	}
	return keep;
}

static void post_trimmed(struct logthread *lt)
{
	struct lt_done *d = calloc(1, sizeof *d);
	struct rlog_state s;

	must(d);
	rlog_state_get(lt->w.log, &s);
	d->kind = LT_D_TRIMMED;
	d->seq = s.start;
	d->chain = s.base;
	lt_post(lt, d);
}

void lt_do_refresh(struct logthread *lt)
{
	unsigned rotten = 0;
	int r;

	lt_op_begin(lt);
	r = rlog_refresh(lt->w.log, &rotten);
	lt_op_end(lt);
	if (r == -EIO)
		lt_fail(lt, "writing the metadata or the mark anew", r);
	else if (r < 0)
		lt_problem(lt, "there is no memory or descriptor to look at metadata and mark on disk: trying again");
	if (r == RLOG_E_FULL)
		lt_problem(lt, "the metadata or the mark on disk is damaged, and there is no room to write it anew: trying again");
	if (rotten & RLOG_ROTTEN_META)
		lt_problem(lt, "the metadata on disk was damaged: written anew from memory, the old bytes are kept in damaged/");
	if (rotten & RLOG_ROTTEN_MARK)
		lt_problem(lt, "the mark on disk was damaged: written anew from memory, the old bytes are kept in damaged/");
}

void lt_do_retain(struct logthread *lt, const struct lt_cmd *c)
{
	leash_seq start = rlog_start(lt->w.log), keep;
	int r;

	if (!c->retention_bytes && !c->retention_time_ns)
		return;
	keep = keep_from(lt, c);
	if (keep <= start)
		return;
	lt_op_begin(lt);
	lt_retain_begin(lt);
	r = rlog_retain(lt->w.log, keep);
	lt_retain_end(lt);
	lt_op_end(lt);
	if (r < 0)
		lt_fail(lt, "removing old segments", r);
	else if (rlog_start(lt->w.log) > start)
		post_trimmed(lt);
}
