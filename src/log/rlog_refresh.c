/*
 * The small files of an open log, looked at past the page cache: what is not as it was written is written anew from memory,
 * and what was there goes to damaged/ first. While the log is open memory is right; after a restart there is nothing but them.
 */
#include "log/rlog_int.h"

#include <errno.h>
#include <string.h>

/* 0 also when there is nothing to keep, or it cannot be read at all, or there are too many of the kind. */
static int keep(struct rlog *l, const char *name)
{
	char dir[PATH_MAX];
	int r = rlog_evidence_dir(l, rlog_end(l), dir);

	if (r == -EEXIST)
		return 0;
	if (r == 0)
		r = rlog_file_copy(l->ops, l->conf.dir, name, dir, name);
	if (r == 0 || r == -ENOENT || r == -EIO)
		r = l->ops->sync_dir(l->ops->ctx, dir);
	return r;
}

static int outcome(struct rlog *l, int r)
{
	return rlog_is_full(r) ? RLOG_E_FULL : r == -EIO ? rlog_latch(l, r) : r;
}

static int refresh_meta(struct rlog *l, unsigned *rotten)
{
	int r = rlog_meta_check(l->ops, l->conf.dir, &l->meta);

	if (r != RLOG_E_DAMAGED)
		return r;
	r = keep(l, "meta");
	if (r == 0)
		r = rlog_meta_store(l->ops, l->conf.dir, &l->meta);
	if (r == 0)
		*rotten |= RLOG_ROTTEN_META;
	return outcome(l, r);
}

/* The file may have been put in the place of the one that is open. While a cut is under way, memory may be ahead on purpose. */
static int refresh_mark(struct rlog *l, unsigned *rotten)
{
	bool swapped = false;
	int r;

	if (l->mark_unknown || l->marks.intent != RLOG_INTENT_NONE)
		return 0;
	r = rlog_marks_check(l->ops, l->conf.dir, &l->marks);
	if (r != RLOG_E_DAMAGED)
		return r;
	r = keep(l, "mark");
	if (r == 0)
		r = rlog_marks_remake(l->ops, l->conf.dir, &l->marks, &l->mark_file, &swapped);
	if (r == 0)
		*rotten |= RLOG_ROTTEN_MARK;
	return outcome(l, r < 0 && swapped ? -EIO : r);
}

int rlog_refresh(struct rlog *l, unsigned *ret_rotten)
{
	int r, m;

	*ret_rotten = 0;
	if (l->failed)
		return -EIO;
	r = refresh_meta(l, ret_rotten);
	if (l->failed)
		return r;
	m = refresh_mark(l, ret_rotten);
	return l->failed || r == 0 ? m : r;
}
