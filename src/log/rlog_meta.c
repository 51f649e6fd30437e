#include "log/rlog_meta.h"

#include <errno.h>

#include "base/hash.h"
#include "base/ids.h"

#define META_MAGIC   0x31544d4cu /* "LMT1" */
#define META_VERSION 1
#define META_NAMES   (LEASH_NAME_MAX + 1)
#define MARK_MAGIC   0x314b4d4cu /* "LMK1" */
#define SUM_BYTES    8

/* Puts the checksum into the last 8 bytes of a page, or checks it. */
static void page_seal(uint8_t *page, size_t bytes)
{
	struct enc e = enc_of(page + bytes - SUM_BYTES, SUM_BYTES);

	enc_u64le(&e, hash_64(page, bytes - SUM_BYTES, 0));
}

static bool page_whole(const uint8_t *page, size_t bytes)
{
	struct cur c = cur_of(page + bytes - SUM_BYTES, SUM_BYTES);

	return cur_u64le(&c) == hash_64(page, bytes - SUM_BYTES, 0);
}

/* --------------------------------------------------------------------------------------------------------- meta */

static void meta_encode(const struct rlog_meta *m, uint8_t page[RLOG_META_PAGE])
{
	struct enc e = enc_of(page, RLOG_META_PAGE);
	const uint64_t numbers[] = { m->cluster, m->incarnation, m->promise, m->promise_run, m->log_epoch,
		m->insync_version, m->etcd_revision, m->recovery };

	memset(page, 0, RLOG_META_PAGE);
	enc_u32le(&e, META_MAGIC);
	enc_u32le(&e, META_VERSION);
	enc_bytes(&e, m->engine, META_NAMES);
	enc_bytes(&e, m->node, META_NAMES);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		enc_u64le(&e, numbers[i]);
	enc_u32le(&e, m->min_insync);
	enc_u32le(&e, 0);
	enc_u64le(&e, m->dedup_window);
	enc_u64le(&e, m->log_matched);
	must(enc_len(&e) > 0);
	page_seal(page, RLOG_META_PAGE);
}

static bool meta_decode(const uint8_t page[RLOG_META_PAGE], struct rlog_meta *ret_meta)
{
	struct cur c = cur_of(page, RLOG_META_PAGE);
	struct rlog_meta m = { 0 };
	uint64_t *const numbers[] = { &m.cluster, &m.incarnation, &m.promise, &m.promise_run, &m.log_epoch,
		&m.insync_version, &m.etcd_revision, &m.recovery };

	if (!page_whole(page, RLOG_META_PAGE) || cur_u32le(&c) != META_MAGIC || cur_u32le(&c) != META_VERSION)
		return false;
	memcpy(m.engine, cur_take(&c, META_NAMES), META_NAMES);
	memcpy(m.node, cur_take(&c, META_NAMES), META_NAMES);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		*numbers[i] = cur_u64le(&c);
	m.min_insync = cur_u32le(&c);
	(void)cur_u32le(&c);
	m.dedup_window = cur_u64le(&c);
	m.log_matched = cur_u64le(&c);
	if (m.engine[LEASH_NAME_MAX] != '\0' || m.node[LEASH_NAME_MAX] != '\0' || !name_valid(m.engine) ||
		!name_valid(m.node))
		return false;
	*ret_meta = m;
	return true;
}

enum small_how { SMALL_AS_IS, SMALL_SETTLED, SMALL_UNCACHED };

static int small_open(const struct rlog_ops *ops, const char *dir, const char *name, enum small_how how,
	struct rlog_file *ret_file)
{
	switch (how) {
	case SMALL_AS_IS: return rlog_file_open(ops, dir, name, RLOG_OPEN_READ, ret_file);
	case SMALL_SETTLED: return rlog_file_open_settled(ops, dir, name, ret_file);
	case SMALL_UNCACHED: return rlog_file_open_uncached(ops, dir, name, ret_file);
	}
	return -EINVAL;
}

/* Reads up to @bytes from the start of a small file; what is not there is zero. */
static int small_read(const struct rlog_ops *ops, const char *dir, const char *name, enum small_how how, uint8_t *out,
	size_t bytes)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	const uint8_t *p;
	int r = small_open(ops, dir, name, how, &w.file);

	if (r < 0)
		return r;
	memset(out, 0, bytes);
	for (size_t at = 0; at < bytes; at += RLOG_MARK_SLOT) { /* a slot counts though the file ends behind it */
		r = rlog_win_get(&w, at, RLOG_MARK_SLOT, &p);
		if (r < 0 && r != -EIO) /* an unreadable page is a lost copy, not a lost file */
			return r;
		if (r == 0)
			memcpy(out + at, p, RLOG_MARK_SLOT);
	}
	return 0;
}

int rlog_meta_load(const struct rlog_ops *ops, const char *dir, struct rlog_meta *ret_meta)
{
	uint8_t pages[RLOG_META_BYTES];
	int r = small_read(ops, dir, "meta", SMALL_AS_IS, pages, sizeof pages);

	if (r < 0)
		return r;
	if (meta_decode(pages, ret_meta) || meta_decode(pages + RLOG_META_PAGE, ret_meta))
		return 0;
	return RLOG_E_DAMAGED;
}

/* What cannot be opened for reading can still be replaced. */
static int check_of(int r, bool same)
{
	return r == -ENOENT || r == -EIO || (r == 0 && !same) ? RLOG_E_DAMAGED : r;
}

int rlog_meta_check(const struct rlog_ops *ops, const char *dir, const struct rlog_meta *meta)
{
	uint8_t page[RLOG_META_PAGE], pages[RLOG_META_BYTES];
	int r = small_read(ops, dir, "meta", SMALL_UNCACHED, pages, sizeof pages);

	meta_encode(meta, page);
	return check_of(r, r == 0 && memcmp(pages, page, sizeof page) == 0 &&
			memcmp(pages + RLOG_META_PAGE, page, sizeof page) == 0);
}

int rlog_meta_store(const struct rlog_ops *ops, const char *dir, const struct rlog_meta *meta)
{
	uint8_t pages[RLOG_META_BYTES];

	meta_encode(meta, pages);
	memcpy(pages + RLOG_META_PAGE, pages, RLOG_META_PAGE);
	return rlog_file_put(ops, dir, "meta", pages, sizeof pages);
}

/* --------------------------------------------------------------------------------------------------------- mark */

static void mark_encode(const struct rlog_marks *m, uint8_t slot[RLOG_MARK_SLOT])
{
	struct enc e = enc_of(slot, RLOG_MARK_SLOT);

	memset(slot, 0, RLOG_MARK_SLOT);
	enc_u32le(&e, MARK_MAGIC);
	enc_u32le(&e, (uint32_t)m->intent);
	enc_u64le(&e, m->counter);
	enc_u64le(&e, m->mark);
	enc_u64le(&e, m->seq);
	enc_u64le(&e, m->base.lo);
	enc_u64le(&e, m->base.hi);
	enc_u64le(&e, m->start);
	must(enc_len(&e) > 0);
	page_seal(slot, RLOG_MARK_SLOT);
}

static bool mark_decode(const uint8_t slot[RLOG_MARK_SLOT], uint64_t index, struct rlog_marks *ret_marks)
{
	struct cur c = cur_of(slot, RLOG_MARK_SLOT);
	struct rlog_marks m = { 0 };
	uint32_t intent;

	if (!page_whole(slot, RLOG_MARK_SLOT) || cur_u32le(&c) != MARK_MAGIC)
		return false;
	intent = cur_u32le(&c);
	m.counter = cur_u64le(&c);
	m.mark = cur_u64le(&c);
	m.seq = cur_u64le(&c);
	m.base.lo = cur_u64le(&c);
	m.base.hi = cur_u64le(&c);
	m.start = cur_u64le(&c);
	if (intent > RLOG_INTENT_RESET || m.counter % 2 != index)
		return false;
	m.intent = (enum rlog_intent)intent;
	*ret_marks = m;
	return true;
}

int rlog_marks_load(const struct rlog_ops *ops, const char *dir, bool settle, struct rlog_marks *ret_marks)
{
	uint8_t pages[RLOG_MARK_BYTES];
	struct rlog_marks slots[2];
	bool whole[2];
	int r = small_read(ops, dir, "mark", settle ? SMALL_SETTLED : SMALL_AS_IS, pages, sizeof pages);

	if (r < 0)
		return r;
	for (size_t i = 0; i < 2; i++)
		whole[i] = mark_decode(pages + i * RLOG_MARK_STRIDE, i, &slots[i]);
	if (!whole[0] && !whole[1])
		return RLOG_E_DAMAGED;
	if (whole[0] && whole[1])
		*ret_marks = slots[0].counter > slots[1].counter ? slots[0] : slots[1];
	else
		*ret_marks = slots[whole[1] ? 1 : 0];
	return 0;
}

int rlog_marks_create(const struct rlog_ops *ops, const char *dir)
{
	uint8_t pages[RLOG_MARK_BYTES] = { 0 };

	for (uint64_t i = 0; i < 2; i++)
		mark_encode(&(struct rlog_marks){ .counter = i }, pages + i * RLOG_MARK_STRIDE);
	return rlog_file_put(ops, dir, "mark", pages, sizeof pages);
}

int rlog_marks_remake(const struct rlog_ops *ops, const char *dir, const struct rlog_marks *m, struct rlog_file *file,
	bool *ret_swapped)
{
	uint8_t pages[RLOG_MARK_BYTES] = { 0 };
	struct rlog_marks before = *m;

	before.counter = m->counter ? m->counter - 1 : 1; /* never newer, but where both are as they were made */
	mark_encode(m, pages + m->counter % 2 * RLOG_MARK_STRIDE);
	mark_encode(&before, pages + before.counter % 2 * RLOG_MARK_STRIDE);
	return rlog_file_swap(ops, dir, "mark", pages, sizeof pages, file, ret_swapped);
}

int rlog_marks_check(const struct rlog_ops *ops, const char *dir, const struct rlog_marks *m)
{
	uint8_t slot[RLOG_MARK_SLOT], pages[RLOG_MARK_BYTES];
	int r = small_read(ops, dir, "mark", SMALL_UNCACHED, pages, sizeof pages);

	mark_encode(m, slot);
	return check_of(r, r == 0 && memcmp(pages + m->counter % 2 * RLOG_MARK_STRIDE, slot, sizeof slot) == 0);
}

int rlog_marks_lost(const struct rlog_ops *ops, const char *dir)
{
	static const uint8_t pages[RLOG_MARK_BYTES];

	return rlog_file_put(ops, dir, "mark", pages, sizeof pages);
}

int rlog_marks_store(const struct rlog_file *f, const struct rlog_marks *m)
{
	uint8_t slot[RLOG_MARK_SLOT];
	int r;

	mark_encode(m, slot);
	r = rlog_file_write(f, slot, sizeof slot, m->counter % 2 * RLOG_MARK_STRIDE);
	return r < 0 ? r : f->ops->fdatasync(f->ops->ctx, f->fd);
}
