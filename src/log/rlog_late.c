/*
 * The digest of the segment that was finished last, written bit by bit.
 *
 * It is a quarter of the segment. Written at once, it would hold up the append that met the segment's end; so its parts
 * follow with the next appends and in idle time, and its header, which makes it one, comes last. Until then its entries
 * are in memory. Whoever is about to change or remove finished segments ends this first.
 */
#include "log/rlog_int.h"

#include <errno.h>

#define STEPS          256 /* so many appends, at most, until it is written */
#define STEP_BYTES_MIN 512

void rlog_late_drop(struct rlog *l)
{
	rlog_file_close(&l->late.file);
	buf_deinit(&l->late.entries);
	free(l->late.stretches);
	l->late = (struct rlog_late){ .file = RLOG_FILE_NULL };
}

/* No room, or no memory: it is made again when it is needed. */
static int give_up(struct rlog *l, int r)
{
	char name[RLOG_NAME_BYTES];
	leash_seq first = l->late.dig.first;

	rlog_late_drop(l);
	if (r == -ENOMEM)
		return 0;
	if (!rlog_is_full(r))
		return rlog_latch(l, r);
	rlog_name(name, first, "dig");
	r = rlog_file_unlink(l->ops, l->conf.dir, name);
	return r < 0 ? rlog_latch(l, r) : 0;
}

int rlog_late_begin(struct rlog *l, size_t i, struct buf *entries)
{
	char name[RLOG_NAME_BYTES];
	int r = rlog_late_finish(l);

	if (r < 0)
		return r;
	r = rlog_digest_of(l, i, entries, &l->late.dig, &l->late.stretches);
	if (r < 0)
		return r == -ENOMEM ? 0 : r;
	l->late.entries = *entries;
	*entries = (struct buf)BUF_NULL;
	rlog_name(name, l->late.dig.first, "dig");
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &l->late.file);
	return r < 0 ? give_up(l, r) : 0;
}

static int write_part(struct rlog *l, uint64_t bytes_max)
{
	struct rlog_late *t = &l->late;
	size_t n = (size_t)MIN2(buf_len(&t->entries) - t->written, bytes_max);
	int r = rlog_file_write(&t->file, (const uint8_t *)buf_head(&t->entries) + t->written, n,
		rlog_dig_entries_at(&t->dig) + t->written);

	t->written += n;
	return r;
}

int rlog_late_step(struct rlog *l)
{
	uint64_t step = MAX2(l->conf.segment_bytes / STEPS, (uint64_t)STEP_BYTES_MIN);
	int r;

	if (l->late.file.fd < 0)
		return 0;
	r = write_part(l, step);
	if (r == 0 && l->late.written == buf_len(&l->late.entries)) {
		r = rlog_dig_write_head(&l->late.file, &l->late.dig, l->late.stretches);
		if (r == 0)
			rlog_late_drop(l);
	}
	return r < 0 ? give_up(l, r) : 0;
}

int rlog_late_finish(struct rlog *l)
{
	int r = 0;

	while (r == 0 && l->late.file.fd >= 0)
		r = rlog_late_step(l);
	return r;
}
