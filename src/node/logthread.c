#include "node/lt_int.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clk.h"

/* --------------------------------------------------------------------------------------------------- to the loop */

void lt_post(struct logthread *lt, struct lt_done *d)
{
	bool first;

	d->next = NULL;
	(void)pthread_mutex_lock(&lt->lock);
	first = !lt->done;
	*lt->done_tail = d;
	lt->done_tail = &d->next;
	(void)pthread_mutex_unlock(&lt->lock);
	if (first)
		lt_wake_loop(lt);
}

static struct lt_done *done_new(enum lt_done_kind kind)
{
	struct lt_done *d = calloc(1, sizeof *d);

	must(d); /* the state machine would wait for ever */
	d->kind = kind;
	return d;
}

void lt_post_seq(struct logthread *lt, enum lt_done_kind kind, leash_seq seq)
{
	struct lt_done *d = done_new(kind);

	d->seq = seq;
	d->chain = rlog_chain(lt->w.log);
	d->room_bytes = lt->w.room_told = lt_room(lt);
	d->incarnation = lt->w.meta.incarnation;
	__atomic_store_n(&lt->durable, rlog_durable(lt->w.log), __ATOMIC_RELEASE);
	lt_post(lt, d);
}

leash_seq lt_damage_first(const struct logthread *lt, size_t *ret_i)
{
	leash_seq first = 0;

	for (size_t i = 0; i < lt->n_damage; i++) {
		if (first && lt->damage[i].first >= first)
			continue;
		first = lt->damage[i].first;
		*ret_i = i;
	}
	return first;
}

void lt_damage_forget(struct logthread *lt, leash_seq first, leash_seq last)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&lt->lock);
	for (size_t i = 0; i < lt->n_damage; i++)
		if (lt->damage[i].first < first || lt->damage[i].first > last)
			lt->damage[n++] = lt->damage[i];
	lt->n_damage = n;
	(void)pthread_mutex_unlock(&lt->lock);
}

/* Where to note @found: where it is noted already, a free place, or that of the highest one that lies behind it. */
static struct rlog_damage *damage_place(struct logthread *lt, const struct rlog_damage *found)
{
	struct rlog_damage *highest = NULL;

	for (size_t i = 0; i < lt->n_damage; i++) {
		if (lt->damage[i].first == found->first)
			return &lt->damage[i];
		if (!highest || lt->damage[i].first > highest->first)
			highest = &lt->damage[i];
	}
	if (lt->n_damage < LT_DAMAGE_MAX)
		return &lt->damage[lt->n_damage++];
	return highest->first > found->first ? highest : NULL;
}

void lt_damaged(struct logthread *lt, const struct rlog_damage *found)
{
	struct lt_done *d = done_new(LT_D_DAMAGE);
	struct rlog_damage *place;

	d->damage = *found;
	(void)pthread_mutex_lock(&lt->lock);
	place = damage_place(lt, found);
	if (place)
		*place = *found;
	(void)pthread_mutex_unlock(&lt->lock);
	lt_post(lt, d);
}

static void post_text(struct logthread *lt, enum lt_done_kind kind, const char *fmt, va_list ap) _printf_(3, 0);
static void post_text(struct logthread *lt, enum lt_done_kind kind, const char *fmt, va_list ap)
{
	struct lt_done *d = done_new(kind);

	(void)vsnprintf(d->text, sizeof d->text, fmt, ap);
	lt_post(lt, d);
}

void lt_problem(struct logthread *lt, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	post_text(lt, LT_D_PROBLEM, fmt, ap);
	va_end(ap);
}

static void post_failed(struct logthread *lt, const char *fmt, ...) _printf_(2, 3);
static void post_failed(struct logthread *lt, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	post_text(lt, LT_D_FAILED, fmt, ap);
	va_end(ap);
}

void lt_fail(struct logthread *lt, const char *what, int r)
{
	if (lt->w.failed)
		return;
	lt->w.failed = true;
	post_failed(lt, "%s failed: %s", what, r < 0 ? strerror(-r) : "the log refuses it");
}

static void dispatch(struct logthread *lt, struct lt_done *d)
{
	const struct logthread_ops *o = &lt->ops;

	switch (d->kind) {
	case LT_D_DURABLE:
		o->durable(o->ctx, d->seq);
		o->room(o->ctx, d->room_bytes);
		break;
	case LT_D_CUT:
		o->cut_done(o->ctx, d->seq, d->chain);
		o->room(o->ctx, d->room_bytes);
		break;
	case LT_D_META: o->meta_done(o->ctx, d->ticket); break;
	case LT_D_FULL:
		o->disk_full(o->ctx, d->seq, d->chain);
		o->room(o->ctx, d->room_bytes);
		break;
	case LT_D_TRIMMED: o->trimmed(o->ctx, d->seq, d->chain); break;
	case LT_D_INCARNATION: o->incarnation(o->ctx, d->incarnation, d->seq, d->chain); break;
	case LT_D_DAMAGE: o->damage(o->ctx, &d->damage); break;
	case LT_D_REBUILD: o->rebuild(o->ctx, d->outcome, d->seq, &d->taken); break;
	case LT_D_PROBLEM: o->problem(o->ctx, d->text); break;
	case LT_D_SPACE: o->space(o->ctx, d->full); break;
	case LT_D_FAILED: o->failed(o->ctx, d->text); break;
	case LT_D_READ:
		if (d->read->fn)
			d->read->fn(d->read->ctx, d->read->error, d->read->recs, d->read->n);
		break;
	}
}

static void done_free(struct lt_done *d)
{
	lt_read_free(d->read);
	free(d);
}

static struct lt_done *take_done(struct logthread *lt)
{
	struct lt_done *all;

	(void)pthread_mutex_lock(&lt->lock);
	all = lt->done;
	lt->done = NULL;
	lt->done_tail = &lt->done;
	(void)pthread_mutex_unlock(&lt->lock);
	return all;
}

void lt_tell_loop(struct logthread *lt)
{
	struct lt_done *d;

	for (d = take_done(lt); d;) {
		struct lt_done *next = d->next;

		dispatch(lt, d);
		done_free(d);
		d = next;
	}
}

/* --------------------------------------------------------------------------------------------------- to the thread */

void lt_cmd_free(struct lt_cmd *c)
{
	if (!c)
		return;
	drv_recs_unref(c->recs, c->n);
	free(c);
}

static struct lt_cmd *cmd_new(enum lt_cmd_kind kind, size_t n)
{
	struct lt_cmd *c = calloc(1, sizeof *c + n * sizeof c->recs[0]);

	must(c); /* the state machine relies on it being done */
	c->kind = kind;
	return c;
}

static void give(struct logthread *lt, struct lt_cmd *c)
{
	(void)pthread_mutex_lock(&lt->lock);
	*lt->cmds.tail = c;
	lt->cmds.tail = &c->next;
	(void)pthread_mutex_unlock(&lt->lock);
	lt_wake_writer(lt);
}

static void give_records(struct logthread *lt, enum lt_cmd_kind kind, struct drv_rec *const *recs, size_t n)
{
	struct lt_cmd *c = cmd_new(kind, n);

	must(n >= 1 && n <= LT_GROUP_MAX);
	drv_recs_ref(recs, n);
	memcpy(c->recs, recs, n * sizeof(struct drv_rec *));
	c->n = n;
	give(lt, c);
}

void logthread_append(struct logthread *lt, struct drv_rec *const *recs, size_t n)
{
	give_records(lt, LT_APPEND, recs, n);
}

void logthread_rebuild(struct logthread *lt, leash_seq seq)
{
	struct lt_cmd *c = cmd_new(LT_REBUILD, 0);

	c->seq = seq;
	give(lt, c);
}

void logthread_rebuild_put(struct logthread *lt, struct drv_rec *const *recs, size_t n)
{
	give_records(lt, LT_REBUILD, recs, n);
}

void logthread_truncate(struct logthread *lt, leash_seq seq)
{
	struct lt_cmd *c = cmd_new(LT_TRUNCATE, 0);

	c->seq = seq;
	(void)pthread_mutex_lock(&lt->lock);
	lt->mark = MIN2(lt->mark, seq);
	(void)pthread_mutex_unlock(&lt->lock);
	give(lt, c);
}

void logthread_reset(struct logthread *lt, leash_seq start, struct leash_chain base)
{
	struct lt_cmd *c = cmd_new(LT_RESET, 0);

	c->seq = start;
	c->chain = base;
	(void)pthread_mutex_lock(&lt->lock);
	lt->mark = 0;
	(void)pthread_mutex_unlock(&lt->lock);
	give(lt, c);
}

void logthread_meta(struct logthread *lt, uint64_t ticket, const struct rep_meta *m, uint32_t min_insync,
	uint64_t dedup_window)
{
	struct lt_cmd *c = cmd_new(LT_META, 0);

	c->ticket = ticket;
	c->meta = (struct rlog_meta){ .cluster = m->cluster, .promise = m->promise, .promise_run = m->promise_run,
		.log_epoch = m->log_epoch, .log_matched = m->log_matched, .insync_version = m->insync_version,
		.etcd_revision = m->etcd_revision, .recovery = m->recovery, .min_insync = min_insync,
		.dedup_window = dedup_window };
	give(lt, c);
}

void logthread_set_aside(struct logthread *lt, leash_id new_incarnation)
{
	struct lt_cmd *c = cmd_new(LT_SET_ASIDE, 0);
	leash_seq first;
	size_t i;

	c->incarnation = new_incarnation;
	(void)pthread_mutex_lock(&lt->lock);
	first = lt_damage_first(lt, &i);
	if (first)
		lt->mark = MIN2(lt->mark, first - 1);
	(void)pthread_mutex_unlock(&lt->lock);
	give(lt, c);
}

void logthread_set_scrub_rate(struct logthread *lt, uint64_t bytes_per_s)
{
	(void)pthread_mutex_lock(&lt->lock);
	lt->scrub_rate = bytes_per_s;
	(void)pthread_mutex_unlock(&lt->lock);
	lt_wake_scrub(lt);
}

void logthread_mark(struct logthread *lt, leash_seq seq)
{
	(void)pthread_mutex_lock(&lt->lock);
	lt->mark = MAX2(lt->mark, seq);
	(void)pthread_mutex_unlock(&lt->lock);
}

void logthread_retain(struct logthread *lt, leash_seq keep_from)
{
	struct lt_cmd *c = cmd_new(LT_RETAIN, 0);

	c->seq = keep_from;
	c->retention_bytes = lt->conf.retention_bytes;
	c->retention_time_ns = lt->conf.retention_time_ns;
	give(lt, c);
}

void lt_refresh(struct logthread *lt)
{
	give(lt, cmd_new(LT_REFRESH, 0));
}

void logthread_set_retention(struct logthread *lt, uint64_t retention_bytes, uint64_t retention_time_ns)
{
	lt->conf.retention_bytes = retention_bytes;
	lt->conf.retention_time_ns = retention_time_ns;
}

/* ----------------------------------------------------------------------------------------------------------- numbers */

void lt_op_begin(struct logthread *lt)
{
	__atomic_store_n(&lt->op_began_ns, clk_boot_ns(), __ATOMIC_RELAXED);
}

void lt_op_end(struct logthread *lt)
{
	__atomic_store_n(&lt->op_began_ns, 0, __ATOMIC_RELAXED);
	lt_moved(lt);
}

void lt_moved(struct logthread *lt)
{
	(void)__atomic_add_fetch(&lt->moves, 1, __ATOMIC_RELAXED);
}

uint64_t logthread_moves(const struct logthread *lt)
{
	return __atomic_load_n(&lt->moves, __ATOMIC_RELAXED);
}

void lt_cut_begin(struct logthread *lt)
{
	(void)__atomic_add_fetch(&lt->cuts, 1, __ATOMIC_SEQ_CST);
}

void lt_retain_begin(struct logthread *lt)
{
	__atomic_store_n(&lt->start, 0, __ATOMIC_SEQ_CST);
}

void lt_retain_end(struct logthread *lt)
{
	__atomic_store_n(&lt->start, rlog_start(lt->w.log), __ATOMIC_SEQ_CST);
}

leash_seq lt_start(const struct logthread *lt)
{
	return __atomic_load_n(&lt->start, __ATOMIC_SEQ_CST);
}

void lt_cut_end(struct logthread *lt)
{
	lt_retain_end(lt);
	__atomic_store_n(&lt->durable, rlog_durable(lt->w.log), __ATOMIC_RELEASE);
	(void)__atomic_add_fetch(&lt->cuts, 1, __ATOMIC_SEQ_CST);
}

uint64_t lt_cuts(const struct logthread *lt)
{
	return __atomic_load_n(&lt->cuts, __ATOMIC_SEQ_CST);
}

uint64_t logthread_stuck_ns(const struct logthread *lt)
{
	uint64_t began = __atomic_load_n(&lt->op_began_ns, __ATOMIC_RELAXED), now = clk_boot_ns();

	return began && now > began ? now - began : 0;
}

void logthread_stats(struct logthread *lt, struct logthread_stats *ret_stats)
{
	(void)pthread_mutex_lock(&lt->lock);
	*ret_stats = lt->stats;
	(void)pthread_mutex_unlock(&lt->lock);
}

/* -------------------------------------------------------------------------------------------------------------- life */

static void free_memory(struct logthread *lt)
{
	struct lt_done *d = lt->done;

	while (d) {
		struct lt_done *next = d->next;

		done_free(d);
		d = next;
	}
	while (lt->cmds.head) {
		struct lt_cmd *c = lt->cmds.head;

		lt->cmds.head = c->next;
		lt_cmd_free(c);
	}
	while (lt->reads) {
		struct logthread_read *r = lt->reads;

		lt->reads = r->next;
		lt_read_free(r);
	}
	lt_cmd_free(lt->w.stuck_meta);
	lt_cmd_free(lt->w.stuck_cut);
	free(lt);
}

int logthread_new(const struct logthread_conf *conf, struct rlog *log, const struct rlog_meta *meta,
	struct event_base *base, const struct logthread_ops *ops, struct logthread **ret_lt)
{
	struct logthread *lt = calloc(1, sizeof *lt);
	int r;

	if (!lt)
		return -ENOMEM;
	lt->conf = *conf;
	lt->ops = *ops;
	lt->wake_fd = -1;
	lt->cmds.tail = &lt->cmds.head;
	lt->done_tail = &lt->done;
	lt->reads_tail = &lt->reads;
	lt->w.log = log;
	lt->w.meta = *meta;
	lt->w.last_append_ns = clk_boot_ns();
	lt->scrub_rate = conf->scrub_rate;
	lt->durable = rlog_durable(log);
	lt->start = rlog_start(log);
	r = lt_threads_start(lt, base);
	if (r < 0) {
		free_memory(lt);
		return r;
	}
	*ret_lt = lt;
	return 0;
}

void logthread_free(struct logthread *lt)
{
	if (!lt)
		return;
	lt_threads_stop(lt);
	rlog_close(lt->w.log);
	free_memory(lt);
}
