#include "log/rlog_dig.h"

#include <errno.h>

#define DIG_MAGIC   0x3147444cu /* "LDG1" */
#define DIG_VERSION 2 /* 1 had other keys of sessions */
#define SUM_BYTES   8

int rlog_dig_add(struct buf *entries, const struct rec_header *h, uint64_t offset, const struct rec_ident *ident)
{
	uint8_t *to = buf_reserve(entries, RLOG_DIG_ENTRY);
	struct enc e = enc_of(to, RLOG_DIG_ENTRY);

	if (!to)
		return -ENOMEM;
	enc_u64le(&e, h->log_time_ns);
	enc_u32le(&e, (uint32_t)offset);
	enc_u8(&e, (uint8_t)ident->kind);
	enc_u8(&e, ident->open);
	enc_u16le(&e, 0);
	enc_u64le(&e, ident->key.lo);
	enc_u64le(&e, ident->key.hi);
	enc_u64le(&e, ident->owner);
	enc_u64le(&e, ident->n);
	enc_u64le(&e, ident->birth);
	enc_u64le(&e, ident->payload);
	must(enc_len(&e) == RLOG_DIG_ENTRY);
	buf_commit(entries, RLOG_DIG_ENTRY);
	return 0;
}

uint64_t rlog_dig_offset(const uint8_t entry[RLOG_DIG_ENTRY])
{
	struct cur c = cur_of(entry + 8, 4);

	return cur_u32le(&c);
}

void rlog_dig_entry(const uint8_t *entries, size_t i, size_t n, uint64_t used_bytes, leash_seq seq,
	leash_epoch epoch, struct rep_rec *ret_rec)
{
	const uint8_t *p = entries + i * RLOG_DIG_ENTRY;
	uint64_t end = i + 1 < n ? rlog_dig_offset(p + RLOG_DIG_ENTRY) : used_bytes;
	struct cur c = cur_of(p, RLOG_DIG_ENTRY);
	struct rep_rec rec = { .seq = seq, .epoch = epoch };

	rec.log_time_ns = cur_u64le(&c);
	rec.bytes = (uint32_t)(end - cur_u32le(&c)) - 16; /* without the frame */
	rec.ident.kind = (enum rec_id_kind)cur_u8(&c);
	rec.ident.open = cur_u8(&c) != 0;
	(void)cur_u16le(&c);
	rec.ident.key.lo = cur_u64le(&c);
	rec.ident.key.hi = cur_u64le(&c);
	rec.ident.owner = cur_u64le(&c);
	rec.ident.n = cur_u64le(&c);
	rec.ident.birth = cur_u64le(&c);
	rec.ident.payload = cur_u64le(&c);
	*ret_rec = rec;
}

/* ------------------------------------------------------------------------------------------------------- on disk */

static void dig_encode(const struct rlog_dig *d, uint8_t out[RLOG_DIG_HEADER])
{
	struct enc e = enc_of(out, RLOG_DIG_HEADER);
	const uint64_t fields[] = { d->first, d->last, d->seed, d->nonce, d->chain.lo, d->chain.hi, d->used_bytes,
		d->last_log_time_ns, d->last_real_time_ns, d->last_epoch, d->n_stretches, d->stretches_sum,
		d->entries_sum };

	enc_u32le(&e, DIG_MAGIC);
	enc_u32le(&e, DIG_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		enc_u64le(&e, fields[i]);
	enc_u64le(&e, hash_64(out, RLOG_DIG_HEADER - SUM_BYTES, 0));
	must(enc_len(&e) == RLOG_DIG_HEADER);
}

static bool dig_decode(const uint8_t in[RLOG_DIG_HEADER], struct rlog_dig *ret_dig)
{
	struct cur c = cur_of(in, RLOG_DIG_HEADER);
	struct rlog_dig d = { 0 };
	uint64_t *const fields[] = { &d.first, &d.last, &d.seed, &d.nonce, &d.chain.lo, &d.chain.hi, &d.used_bytes,
		&d.last_log_time_ns, &d.last_real_time_ns, &d.last_epoch, &d.n_stretches, &d.stretches_sum,
		&d.entries_sum };

	if (cur_u32le(&c) != DIG_MAGIC || cur_u32le(&c) != DIG_VERSION)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		*fields[i] = cur_u64le(&c);
	if (cur_u64le(&c) != hash_64(in, RLOG_DIG_HEADER - SUM_BYTES, 0))
		return false;
	if (d.n_stretches > REP_HISTORY_MAX || d.last + 1 < d.first || d.last + 1 - d.first > UINT32_MAX)
		return false;
	*ret_dig = d;
	return true;
}

uint8_t *rlog_dig_stretches(const struct rep_stretch *stretches, size_t n)
{
	uint8_t *out = malloc(MAX2(n, (size_t)1) * RLOG_DIG_STRETCH);
	struct enc e = enc_of(out, n * RLOG_DIG_STRETCH);

	for (size_t i = 0; out && i < n; i++) {
		enc_u64le(&e, stretches[i].epoch);
		enc_u64le(&e, stretches[i].first);
	}
	return out;
}

void rlog_dig_seal(struct rlog_dig *d, const uint8_t *stretches, const uint8_t *entries)
{
	d->stretches_sum = hash_64(stretches, (size_t)d->n_stretches * RLOG_DIG_STRETCH, 0);
	d->entries_sum = hash_64(entries, rlog_dig_count(d) * RLOG_DIG_ENTRY, 0);
}

uint64_t rlog_dig_entries_at(const struct rlog_dig *d)
{
	return RLOG_DIG_HEADER + d->n_stretches * RLOG_DIG_STRETCH;
}

int rlog_dig_write_head(const struct rlog_file *f, const struct rlog_dig *d, const uint8_t *stretches)
{
	uint8_t head[RLOG_DIG_HEADER];
	struct iovec v[2] = { { head, sizeof head },
		{ (void *)(uintptr_t)stretches, (size_t)d->n_stretches * RLOG_DIG_STRETCH } };

	dig_encode(d, head);
	return f->ops->pwritev(f->ops->ctx, f->fd, v, 2, 0);
}

/* Reads exactly @len bytes into memory of its own. RLOG_E_DAMAGED: they are not there, or their hash is not @sum. */
static int dig_part(const struct rlog_file *f, uint64_t offset, size_t len, uint64_t sum, uint8_t **ret_p)
{
	_cleanup_(freep) uint8_t *p = malloc(MAX2(len, (size_t)1));
	size_t got = 0;
	int r;

	if (!p)
		return -ENOMEM;
	r = f->ops->pread(f->ops->ctx, f->fd, p, len, offset, &got);
	if (r == -EIO || (r == 0 && (got != len || hash_64(p, len, 0) != sum)))
		return RLOG_E_DAMAGED;
	if (r < 0)
		return r;
	*ret_p = TAKE(p);
	return 0;
}

static int dig_open(const struct rlog_ops *ops, const char *dir, leash_seq first, struct rlog_file *ret_file)
{
	char name[RLOG_NAME_BYTES];
	int r;

	rlog_name(name, first, "dig");
	r = rlog_file_open(ops, dir, name, RLOG_OPEN_READ, ret_file);
	return r == -ENOENT || r == -EIO ? RLOG_E_DAMAGED : r;
}

/* The parts must fit into the file before memory for them is asked for. */
static int dig_size_fits(const struct rlog_ops *ops, const char *dir, const struct rlog_dig *d)
{
	uint64_t want = rlog_dig_entries_at(d), bytes;
	char path[PATH_MAX], name[RLOG_NAME_BYTES];
	int r;

	want += (uint64_t)rlog_dig_count(d) * RLOG_DIG_ENTRY;
	rlog_name(name, d->first, "dig");
	r = rlog_path(path, dir, name);
	if (r == 0)
		r = ops->size(ops->ctx, path, &bytes);
	if (r < 0)
		return r == -ENOENT || r == -EIO ? RLOG_E_DAMAGED : r;
	return bytes == want ? 0 : RLOG_E_DAMAGED;
}

int rlog_dig_read(const struct rlog_ops *ops, const char *dir, leash_seq first, struct rlog_dig *ret_dig,
	struct rep_stretch **ret_stretches)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	_cleanup_(freep) struct rep_stretch *stretches = NULL;
	_cleanup_(freep) uint8_t *s = NULL;
	uint8_t head[RLOG_DIG_HEADER];
	struct rlog_dig d;
	size_t got = 0;
	struct cur c;
	int r = dig_open(ops, dir, first, &f);

	if (r != 0)
		return r;
	r = ops->pread(ops->ctx, f.fd, head, sizeof head, 0, &got);
	if (r < 0 && r != -EIO)
		return r;
	if (r < 0 || got != sizeof head || !dig_decode(head, &d) || d.first != first)
		return RLOG_E_DAMAGED;
	r = dig_size_fits(ops, dir, &d);
	if (r == 0)
		r = dig_part(&f, RLOG_DIG_HEADER, (size_t)d.n_stretches * RLOG_DIG_STRETCH, d.stretches_sum, &s);
	if (r != 0)
		return r;
	stretches = calloc(MAX2(d.n_stretches, (uint64_t)1), sizeof *stretches);
	if (!stretches)
		return -ENOMEM;
	c = cur_of(s, (size_t)d.n_stretches * RLOG_DIG_STRETCH);
	for (size_t i = 0; i < d.n_stretches; i++) {
		stretches[i].epoch = cur_u64le(&c);
		stretches[i].first = cur_u64le(&c);
	}
	*ret_dig = d;
	*ret_stretches = TAKE(stretches);
	return 0;
}

int rlog_dig_read_entries(const struct rlog_ops *ops, const char *dir, const struct rlog_dig *d, uint8_t **ret_entries)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	int r = dig_open(ops, dir, d->first, &f);

	if (r != 0)
		return r;
	return dig_part(&f, rlog_dig_entries_at(d), rlog_dig_count(d) * RLOG_DIG_ENTRY, d->entries_sum, ret_entries);
}

int rlog_dig_hint(const struct rlog_file *f, leash_seq seq, uint64_t *ret_offset)
{
	uint8_t head[RLOG_DIG_HEADER], entry[RLOG_DIG_ENTRY];
	struct rlog_dig d;
	size_t got = 0;
	uint64_t at;
	int r = f->ops->pread(f->ops->ctx, f->fd, head, sizeof head, 0, &got);

	if (r < 0)
		return r;
	if (got != sizeof head || !dig_decode(head, &d) || seq < d.first || seq > d.last)
		return RLOG_E_DAMAGED;
	at = rlog_dig_entries_at(&d) + (seq - d.first) * RLOG_DIG_ENTRY;
	r = f->ops->pread(f->ops->ctx, f->fd, entry, sizeof entry, at, &got);
	if (r < 0)
		return r;
	if (got != sizeof entry)
		return RLOG_E_DAMAGED;
	*ret_offset = rlog_dig_offset(entry);
	return 0;
}
