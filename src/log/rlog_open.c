/*
 * Opening.
 *
 *  1. The directory (made when absent) is locked and its names synced: what an earlier life renamed may not be durable.
 *  2. meta says whose it is. None, and nothing else either: a new directory. None, but a log: damage that needs an
 *     operator. Another node's or engine's: nothing is touched.
 *  3. mark, and what its intent leaves to be done.
 *  4. The segments (rlog_load.c). 5. The reserve, unless there is damage.
 */
#include "log/rlog_int.h"

#include <errno.h>
#include <stdio.h>

#include "base/ids.h"

/* Syncs the directory that holds @dir. */
static int parent_sync(const struct rlog_ops *ops, const char *dir)
{
	_cleanup_(freep) char *parent = strdup(dir);
	char *slash;

	if (!parent)
		return -ENOMEM;
	while ((slash = strrchr(parent, '/')) != NULL && slash[1] == '\0' && slash != parent)
		*slash = '\0'; /* trailing ones */
	if (!slash)
		return ops->sync_dir(ops->ctx, ".");
	slash[slash == parent] = '\0';
	return ops->sync_dir(ops->ctx, parent);
}

static int dir_open(struct rlog *l)
{
	int r = l->ops->mkdir(l->ops->ctx, l->conf.dir);

	if (r == 0)
		r = parent_sync(l->ops, l->conf.dir);
	if (r < 0 && r != -EEXIST)
		return r;
	r = l->ops->lock(l->ops->ctx, l->conf.dir, &l->lock_fd);
	if (r == -EWOULDBLOCK)
		return RLOG_E_LOCKED;
	if (r < 0)
		return r;
	return l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

static int has_file(const struct rlog *l, const char *name, bool *ret_there)
{
	char path[PATH_MAX];
	uint64_t bytes;
	int r = rlog_path(path, l->conf.dir, name);

	if (r == 0)
		r = l->ops->size(l->ops->ctx, path, &bytes);
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_there = r == 0;
	return 0;
}

static int has_segments(const struct rlog *l, bool *ret_there)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	size_t n;
	int r = rlog_names(l->ops, l->conf.dir, "seg", &firsts, &n);

	if (r == 0)
		*ret_there = n > 0;
	return r;
}

static int meta_create(struct rlog *l, const char *engine, const char *node, leash_id incarnation)
{
	struct rlog_meta m = { .incarnation = incarnation };
	bool mark = false, segments = false;
	int r = has_file(l, "mark", &mark);

	if (r == 0)
		r = has_segments(l, &segments);
	if (r < 0)
		return r;
	if (mark || segments)
		return RLOG_E_DAMAGED;
	(void)snprintf(m.engine, sizeof m.engine, "%s", engine);
	(void)snprintf(m.node, sizeof m.node, "%s", node);
	r = rlog_meta_store(l->ops, l->conf.dir, &m);
	if (r < 0)
		return r;
	l->meta = m;
	l->created = true;
	return 0;
}

static int meta_open(struct rlog *l, const char *engine, const char *node, leash_id incarnation)
{
	int r = rlog_meta_load(l->ops, l->conf.dir, &l->meta);

	if (r == -ENOENT)
		return meta_create(l, engine, node, incarnation);
	if (r == 0 && (strcmp(l->meta.engine, engine) != 0 || strcmp(l->meta.node, node) != 0))
		return RLOG_E_FOREIGN;
	return r;
}

/* No mark: a directory whose making was interrupted, or one that lost it. */
static int mark_missing(struct rlog *l)
{
	bool segments = false;
	int r = has_segments(l, &segments);

	if (r < 0)
		return r;
	l->mark_unknown = segments || l->meta.cluster != 0;
	return l->mark_unknown ? rlog_marks_lost(l->ops, l->conf.dir) : rlog_marks_create(l->ops, l->conf.dir);
}

static int mark_open(struct rlog *l)
{
	int r = rlog_marks_load(l->ops, l->conf.dir, true, &l->marks);

	if (r == RLOG_E_DAMAGED) {
		l->mark_unknown = true;
		r = 0;
	}
	if (r == -ENOENT)
		r = mark_missing(l);
	return r < 0 ? r : rlog_file_open(l->ops, l->conf.dir, "mark", RLOG_OPEN_WRITE, &l->mark_file);
}

/* What an interrupted life left half-made. */
static int leftovers_remove(struct rlog *l)
{
	static const char *const names[] = { "spare", "meta.tmp", "mark.tmp", "reserve.tmp" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		r = rlog_file_unlink(l->ops, l->conf.dir, names[i]);
	return r;
}

static int reserve_open(struct rlog *l)
{
	bool there = false;
	int r = has_file(l, "reserve", &there);

	if (r < 0)
		return r;
	l->reserve_spent = !there && l->conf.reserve_bytes > 0;
	return l->reserve_spent && l->n_damage == 0 ? rlog_reserve_fill(l) : 0;
}

static int conf_take(struct rlog *l, const struct rlog_conf *conf)
{
	uint64_t bytes = conf->segment_bytes - conf->segment_bytes % RLOG_DIRECT_ALIGN;

	if (conf->record_bytes_max > REC_BODY_BYTES_MAX || bytes > RLOG_SEG_MAX ||
		bytes < RLOG_SEG_HEADER + RLOG_LEAD_BYTES + (uint64_t)conf->record_bytes_max)
		return -EINVAL;
	l->conf = *conf;
	l->conf.segment_bytes = bytes;
	l->conf.dir = strdup(conf->dir);
	return l->conf.dir ? 0 : -ENOMEM;
}

static void closep_log(struct rlog **l)
{
	rlog_close(*l);
}

int rlog_open(const struct rlog_conf *conf, const struct rlog_ops *ops, const char *engine, const char *node,
	leash_id new_incarnation, struct rlog **ret_log, struct rlog_state *ret_state)
{
	_cleanup_(closep_log) struct rlog *l = calloc(1, sizeof *l);
	int r;

	if (!l)
		return -ENOMEM;
	l->ops = ops;
	l->lock_fd = -1;
	l->mark_file = l->active = l->spare.file = l->spare.direct = l->late.file = (struct rlog_file)RLOG_FILE_NULL;
	if (!name_valid(engine) || !name_valid(node))
		return -EINVAL;
	r = conf_take(l, conf);
	if (r == 0)
		r = dir_open(l);
	if (r == 0)
		r = meta_open(l, engine, node, new_incarnation);
	if (l->conf.digest_seed == 0)
		l->conf.digest_seed = l->meta.cluster;
	if (r == 0)
		r = leftovers_remove(l);
	if (r == 0)
		r = rlog_rebuild_redo(l);
	if (r == 0)
		r = mark_open(l);
	if (r == 0 && !l->mark_unknown)
		r = rlog_intent_redo(l);
	if (r == 0)
		r = rlog_load(l);
	if (r == 0)
		r = reserve_open(l);
	if (r != 0)
		return r;
	rlog_state_get(l, ret_state);
	*ret_log = TAKE(l);
	return 0;
}

void rlog_close(struct rlog *l)
{
	if (!l)
		return;
	rlog_spare_close(l);
	rlog_late_drop(l);
	rlog_file_close(&l->active);
	rlog_file_close(&l->mark_file);
	if (l->lock_fd >= 0)
		l->ops->close(l->ops->ctx, l->lock_fd);
	buf_deinit(&l->entries);
	free(l->segs);
	free(l->history);
	free(l->damage);
	free(l->stage);
	free(l->iov);
	free((char *)(uintptr_t)l->conf.dir);
	free(l);
}

void rlog_state_get(const struct rlog *l, struct rlog_state *ret_state)
{
	const struct rlog_seg *seg = rlog_active(l);

	*ret_state = (struct rlog_state){
		.meta = l->meta,
		.start = rlog_start(l),
		.end = l->n_damage > 0 ? l->durable : rlog_end(l),
		.mark = l->marks.mark,
		.base = l->n_segs ? l->segs[0].base : (struct leash_chain){ 0 },
		.chain = rlog_chain(l),
		.log_time_ns = seg ? seg->last_log_time_ns : 0,
		.history = l->history,
		.n_history = l->n_history,
		.torn_from = l->torn_from,
		.damaged = l->n_damage > 0,
		.created = l->created,
	};
}

int rlog_set_seed(struct rlog *l, leash_id seed)
{
	_cleanup_(buf_deinit) struct buf entries = BUF_NULL;
	leash_id old = l->conf.digest_seed;
	int r;

	if (seed == old)
		return 0;
	r = rlog_late_finish(l);
	if (r < 0)
		return r;
	l->conf.digest_seed = seed;
	if (buf_len(&l->entries) == 0)
		return 0;
	r = rlog_entries_rebuild(l, l->n_segs - 1, &entries);
	if (r != 0) {
		l->conf.digest_seed = old;
		return r;
	}
	buf_deinit(&l->entries);
	l->entries = entries;
	entries = (struct buf)BUF_NULL;
	return 0;
}

int rlog_meta_write(struct rlog *l, const struct rlog_meta *meta)
{
	int r;

	if (l->failed)
		return -EIO;
	must(strcmp(meta->engine, l->meta.engine) == 0 && strcmp(meta->node, l->meta.node) == 0);
	r = rlog_meta_store(l->ops, l->conf.dir, meta);
	if (rlog_is_full(r) && !l->reserve_spent) {
		rlog_reserve_spend(l);
		r = rlog_meta_store(l->ops, l->conf.dir, meta);
	}
	if (r < 0)
		return rlog_is_full(r) ? RLOG_E_FULL : rlog_latch(l, r);
	l->meta = *meta;
	return 0;
}

size_t rlog_segments(const struct rlog *l)
{
	return l->n_segs;
}

int rlog_segment_info(const struct rlog *l, size_t i, struct rlog_segment_info *ret_info)
{
	const struct rlog_seg *seg;

	if (i >= l->n_segs)
		return -EINVAL;
	seg = &l->segs[i];
	*ret_info = (struct rlog_segment_info){ .first = seg->first, .last = seg->last, .bytes = seg->bytes,
		.used_bytes = seg->used_bytes, .last_log_time_ns = seg->last_log_time_ns,
		.last_real_time_ns = seg->last_real_time_ns, .finished = i + 1 < l->n_segs };
	return 0;
}
