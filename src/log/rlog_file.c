#include "log/rlog_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ZERO_BYTES (256 * 1024)
#define COPY_BYTES (64 * 1024)

static uint8_t zeroes[ZERO_BYTES] __attribute__((aligned(RLOG_DIRECT_ALIGN))); /* never written: not const, so that it takes no room */

void rlog_file_close(struct rlog_file *f)
{
	if (f->fd >= 0)
		f->ops->close(f->ops->ctx, f->fd);
	f->fd = -1;
}

bool rlog_is_full(int r)
{
	return r == -ENOSPC || r == -EDQUOT;
}

int rlog_path(char out[PATH_MAX], const char *dir, const char *name)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int rlog_file_open(const struct rlog_ops *ops, const char *dir, const char *name, unsigned flags,
	struct rlog_file *ret_file)
{
	char path[PATH_MAX];
	int fd, r = rlog_path(path, dir, name);

	if (r < 0)
		return r;
	r = ops->open(ops->ctx, path, flags, &fd);
	if (r < 0)
		return r;
	*ret_file = (struct rlog_file){ .ops = ops, .fd = fd };
	return 0;
}

int rlog_file_open_settled(const struct rlog_ops *ops, const char *dir, const char *name, struct rlog_file *ret_file)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	int r = rlog_file_open(ops, dir, name, RLOG_OPEN_WRITE, &f);

	if (r < 0)
		return r;
	r = ops->fdatasync(ops->ctx, f.fd);
	if (r < 0)
		return r;
	(void)ops->drop_cache(ops->ctx, f.fd); /* a hint: where direct reads are to be had it adds nothing */
	r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ | RLOG_OPEN_DIRECT, ret_file);
	if (r == -EINVAL)
		r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ, ret_file);
	return r;
}

int rlog_file_open_uncached(const struct rlog_ops *ops, const char *dir, const char *name, struct rlog_file *ret_file)
{
	int r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ | RLOG_OPEN_DIRECT, ret_file);

	if (r != -EINVAL)
		return r;
	r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ, ret_file);
	if (r == 0)
		(void)ops->drop_cache(ops->ctx, ret_file->fd); /* a hint */
	return r;
}

int rlog_file_write(const struct rlog_file *f, const void *p, size_t len, uint64_t offset)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)p, .iov_len = len };

	return f->ops->pwritev(f->ops->ctx, f->fd, &v, 1, offset);
}

int rlog_file_zero(const struct rlog_file *f, uint64_t from, uint64_t to)
{
	while (from < to) {
		size_t n = (size_t)MIN2(to - from, (uint64_t)ZERO_BYTES);
		int r = rlog_file_write(f, zeroes, n, from);

		if (r < 0)
			return r;
		from += n;
	}
	return 0;
}

/* Writes a new file and syncs it. On an error it may be there in part. */
static int file_make(const struct rlog_ops *ops, const char *dir, const char *name, const void *p, size_t len,
	struct rlog_file *ret_file)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	int r = rlog_file_open(ops, dir, name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &f);

	if (r == 0)
		r = rlog_file_write(&f, p, len, 0);
	if (r == 0)
		r = ops->fdatasync(ops->ctx, f.fd);
	if (r < 0)
		return r;
	*ret_file = f;
	f = (struct rlog_file)RLOG_FILE_NULL;
	return 0;
}

int rlog_file_swap(const struct rlog_ops *ops, const char *dir, const char *name, const void *p, size_t len,
	struct rlog_file *file, bool *ret_swapped)
{
	_cleanup_(rlog_file_close) struct rlog_file anew = RLOG_FILE_NULL;
	char tmp[NAME_MAX + 1];
	int r = snprintf(tmp, sizeof tmp, "%s.tmp", name);

	*ret_swapped = false;
	if (r < 0 || (size_t)r >= sizeof tmp)
		return -ENAMETOOLONG;
	r = file_make(ops, dir, tmp, p, len, &anew);
	if (r == 0)
		r = rlog_file_rename(ops, dir, tmp, dir, name);
	if (r < 0) {
		int ignored _unused_ = rlog_file_unlink(ops, dir, tmp); /* also removed at the next opening */

		return r;
	}
	*ret_swapped = true;
	rlog_file_close(file);
	*file = anew;
	anew = (struct rlog_file)RLOG_FILE_NULL;
	return ops->sync_dir(ops->ctx, dir);
}

int rlog_file_put(const struct rlog_ops *ops, const char *dir, const char *name, const void *p, size_t len)
{
	_cleanup_(rlog_file_close) struct rlog_file file = RLOG_FILE_NULL;
	bool swapped;

	return rlog_file_swap(ops, dir, name, p, len, &file, &swapped);
}

static int copy_bytes(const struct rlog_file *in, const struct rlog_file *out, uint64_t bytes)
{
	_cleanup_(freep) uint8_t *chunk = malloc(COPY_BYTES);

	if (!chunk)
		return -ENOMEM;
	for (uint64_t at = 0; at < bytes; at += COPY_BYTES) {
		size_t n = (size_t)MIN2(bytes - at, (uint64_t)COPY_BYTES), got = 0;
		int r = in->ops->pread(in->ops->ctx, in->fd, chunk, n, at, &got);

		if (r == -EIO)
			memset(chunk, 0, n);
		else if (r < 0)
			return r;
		r = rlog_file_write(out, chunk, n, at);
		if (r < 0)
			return r;
	}
	return 0;
}

int rlog_file_copy(const struct rlog_ops *ops, const char *dir, const char *name, const char *to_dir,
	const char *to_name)
{
	_cleanup_(rlog_file_close) struct rlog_file in = RLOG_FILE_NULL, out = RLOG_FILE_NULL;
	char path[PATH_MAX];
	uint64_t bytes;
	int r = rlog_path(path, dir, name);

	if (r == 0)
		r = ops->size(ops->ctx, path, &bytes);
	if (r == 0)
		r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ, &in);
	if (r == 0)
		r = rlog_file_open(ops, to_dir, to_name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &out);
	if (r == 0)
		r = copy_bytes(&in, &out, bytes);
	return r < 0 ? r : ops->fdatasync(ops->ctx, out.fd);
}

int rlog_file_unlink(const struct rlog_ops *ops, const char *dir, const char *name)
{
	char path[PATH_MAX];
	int r = rlog_path(path, dir, name);

	if (r == 0)
		r = ops->unlink(ops->ctx, path);
	return r == -ENOENT ? 0 : r;
}

int rlog_file_rename(const struct rlog_ops *ops, const char *dir, const char *name, const char *to_dir,
	const char *to_name)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r = rlog_path(from, dir, name);

	if (r == 0)
		r = rlog_path(to, to_dir, to_name);
	return r < 0 ? r : ops->rename(ops->ctx, from, to);
}

int rlog_dir_make(const struct rlog_ops *ops, const char *parent, const char *name)
{
	char path[PATH_MAX];
	int r = rlog_path(path, parent, name);

	if (r == 0)
		r = ops->mkdir(ops->ctx, path);
	if (r < 0 && r != -EEXIST)
		return r;
	return ops->sync_dir(ops->ctx, parent); /* also when it is there: the one who made it may have crashed */
}

/* -------------------------------------------------------------------------------------------------------- names */

void rlog_name(char out[RLOG_NAME_BYTES], leash_seq first, const char *suffix)
{
	int n = snprintf(out, RLOG_NAME_BYTES, "%020" PRIu64 ".%.3s", first, suffix);

	must(n == RLOG_NAME_BYTES - 1);
}

struct names {
	const char *suffix;
	leash_seq *firsts;
	size_t n, cap;
};

static bool name_parse(const char *name, const char *suffix, leash_seq *ret_first)
{
	leash_seq first = 0;

	for (int i = 0; i < RLOG_NAME_DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' || first > (UINT64_MAX - 9) / 10)
			return false;
		first = first * 10 + (leash_seq)(name[i] - '0');
	}
	if (first == 0 || name[RLOG_NAME_DIGITS] != '.' || strcmp(name + RLOG_NAME_DIGITS + 1, suffix) != 0)
		return false;
	*ret_first = first;
	return true;
}

static int names_add(const char *name, void *arg)
{
	struct names *s = arg;
	leash_seq first;

	if (!name_parse(name, s->suffix, &first))
		return 0;
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;
		leash_seq *firsts = realloc(s->firsts, cap * sizeof *firsts);

		if (!firsts)
			return -ENOMEM;
		s->firsts = firsts;
		s->cap = cap;
	}
	s->firsts[s->n++] = first;
	return 0;
}

static int seq_cmp(const void *a, const void *b)
{
	leash_seq x = *(const leash_seq *)a, y = *(const leash_seq *)b;

	return x < y ? -1 : x > y;
}

int rlog_names(const struct rlog_ops *ops, const char *dir, const char *suffix, leash_seq **ret_firsts, size_t *ret_n)
{
	struct names s = { .suffix = suffix };
	int r = ops->list(ops->ctx, dir, names_add, &s);

	if (r < 0) {
		free(s.firsts);
		return r;
	}
	if (s.n > 0)
		qsort(s.firsts, s.n, sizeof *s.firsts, seq_cmp);
	*ret_firsts = s.firsts;
	*ret_n = s.n;
	return 0;
}

/* ------------------------------------------------------------------------------------------------------- window */

void rlog_win_deinit(struct rlog_win *w)
{
	rlog_file_close(&w->file);
	free(w->buf);
	*w = (struct rlog_win)RLOG_WIN_NULL;
}

void rlog_win_forget(struct rlog_win *w)
{
	w->len = 0;
}

static int win_grow(struct rlog_win *w, size_t need)
{
	size_t cap = MAX2(w->cap, (size_t)RLOG_WIN_BYTES);
	void *buf;

	while (cap < need)
		cap *= 2;
	if (w->buf && cap == w->cap)
		return 0;
	if (posix_memalign(&buf, RLOG_DIRECT_ALIGN, cap) != 0)
		return -ENOMEM;
	free(w->buf);
	w->buf = buf;
	w->cap = cap;
	w->len = 0;
	return 0;
}

int rlog_win_get(struct rlog_win *w, uint64_t offset, size_t len, const uint8_t **ret_p)
{
	const struct rlog_ops *ops = w->file.ops;
	uint64_t start = offset - offset % RLOG_DIRECT_ALIGN;
	size_t need, got = 0;
	int r;

	if (offset < w->offset || offset + len > w->offset + w->len) {
		need = (size_t)(offset - start) + len;
		need += (RLOG_DIRECT_ALIGN - need % RLOG_DIRECT_ALIGN) % RLOG_DIRECT_ALIGN;
		r = win_grow(w, need);
		if (r < 0)
			return r;
		w->len = 0;
		r = ops->pread(ops->ctx, w->file.fd, w->buf, w->cap, start, &got);
		if (r == -EIO) /* a bad spot further on must not hide what lies before it */
			r = ops->pread(ops->ctx, w->file.fd, w->buf, need, start, &got);
		if (r < 0)
			return r;
		w->offset = start;
		w->len = got;
	}
	if (offset + len > w->offset + w->len)
		return RLOG_WIN_E_END;
	*ret_p = w->buf + (offset - w->offset);
	return 0;
}
