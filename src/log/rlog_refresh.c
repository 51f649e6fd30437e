/*
 * The small files of an open log, looked at past the page cache: what is not as it was written is written anew from memory,
 * and what was there goes to damaged/ first. While the log is open memory is right; after a restart there is nothing but them.
 */
#include "log/rlog_int.h"

#include <errno.h>
#include <string.h>

/* 0 also when there is nothing to keep. */
static int keep(struct rlog *l, const char *name)
{
	char dir[PATH_MAX];
	int r = rlog_evidence_dir(l, rlog_end(l), dir);

	if (r == 0)
		r = rlog_file_copy(l->ops, l->conf.dir, name, dir, name);
	if (r == 0 || r == -ENOENT)
		r = l->ops->sync_dir(l->ops->ctx, dir);
	return r;
}

static int outcome(struct rlog *l, int r)
{
	return rlog_is_full(r) ? RLOG_E_FULL : r == -EIO ? rlog_latch(l, r) : r;
}

static int refresh_meta(struct rlog *l)
{
	int r = keep(l, "meta");

	return r == 0 ? rlog_meta_store(l->ops, l->conf.dir, &l->meta) : r;
}

/* The file may have been put in the place of the one that is open. */
static int refresh_mark(struct rlog *l)
{
	struct rlog_file anew;
	int r = keep(l, "mark");

	if (r == 0)
		r = rlog_marks_remake(l->ops, l->conf.dir, &l->marks);
	if (r < 0)
		return r;
	r = rlog_file_open(l->ops, l->conf.dir, "mark", RLOG_OPEN_WRITE, &anew);
	if (r < 0)
		return rlog_latch(l, -EIO); /* what is open is not the log's mark any more */
	rlog_file_close(&l->mark_file);
	l->mark_file = anew;
	return 0;
}

int rlog_refresh(struct rlog *l, unsigned *ret_rotten)
{
	unsigned rotten = 0;
	int r = l->failed ? -EIO : rlog_meta_check(l->ops, l->conf.dir, &l->meta);

	if (r == RLOG_E_DAMAGED) {
		rotten |= RLOG_ROTTEN_META;
		r = outcome(l, refresh_meta(l));
	}
	if (r != 0)
		return r;
	if (!l->mark_unknown)
		r = rlog_marks_check(l->ops, l->conf.dir, &l->marks);
	if (r == RLOG_E_DAMAGED) {
		rotten |= RLOG_ROTTEN_MARK;
		r = outcome(l, refresh_mark(l));
	}
	if (r == 0)
		*ret_rotten = rotten;
	return r;
}
