/*
 * The reading thread: one request after the other, with a reader of its own. A cut or reset by the writing thread makes
 * it drop what it has open; a request that fell into one is read again once.
 */
#include "node/lt_int.h"

#include <errno.h>

void lt_read_free(struct logthread_read *r)
{
	if (!r)
		return;
	drv_recs_unref(r->recs, r->n);
	free(r->recs);
	free(r);
}

int logthread_read(struct logthread *lt, leash_seq from, leash_seq to, bool reverse, uint32_t count_max,
	size_t bytes_max, logthread_read_fn fn, void *ctx, struct logthread_read **ret_read)
{
	struct logthread_read *r = calloc(1, sizeof *r);

	must(from >= 1 && from <= to && count_max >= 1 && count_max <= REP_BATCH_MAX);
	if (!r)
		return -ENOMEM;
	*r = (struct logthread_read){ .lt = lt, .from = from, .to = to, .reverse = reverse, .count_max = count_max,
		.bytes_max = bytes_max, .fn = fn, .ctx = ctx };
	(void)pthread_mutex_lock(&lt->lock);
	*lt->reads_tail = r;
	lt->reads_tail = &r->next;
	(void)pthread_mutex_unlock(&lt->lock);
	lt_wake_reader(lt);
	if (ret_read)
		*ret_read = r;
	return 0;
}

void logthread_read_cancel(struct logthread_read *r)
{
	r->fn = NULL; /* it is read all the same, and freed where it would have been called */
}

static int read_one(struct rlog_reader *reader, leash_seq seq, struct drv_arena *arena, struct drv_rec **ret_rec)
{
	struct drv_rec *rec;
	struct rlog_view v;
	int r = rlog_read(reader, seq, &v);

	if (r != 0)
		return r;
	rec = drv_rec_alloc(arena, v.body.len);
	if (!rec)
		return -ENOMEM;
	rec->h = v.h;
	rec->ident = (struct rec_ident){ 0 };
	memcpy(rec->bytes, v.header.p, REC_HEADER_BYTES);
	memcpy(rec->bytes + REC_HEADER_BYTES, v.body.p, v.body.len);
	*ret_rec = rec;
	return 0;
}

/* *ret_damaged: the record that is damaged; 0: none is. */
static void read_range(struct logthread_read *r, struct rlog_reader *reader, leash_seq *ret_damaged)
{
	_cleanup_(drv_arena_deinit) struct drv_arena arena = DRV_ARENA_NULL;
	uint64_t span = r->to - r->from + 1;
	size_t max = (size_t)MIN2(span, (uint64_t)r->count_max), bytes = 0;

	if (!r->recs)
		r->recs = calloc(max, sizeof *r->recs);
	if (!r->recs) {
		r->error = -ENOMEM;
		return;
	}
	r->error = 0;
	*ret_damaged = 0;
	while (r->n < max && (r->n == 0 || bytes < r->bytes_max)) {
		leash_seq seq = r->reverse ? r->to - r->n : r->from + r->n;
		int e = read_one(reader, seq, &arena, &r->recs[r->n]);

		if (e != 0) {
			*ret_damaged = e == RLOG_E_DAMAGED ? seq : 0;
			r->error = r->n == 0 ? e : 0; /* what was read so far is good */
			return;
		}
		bytes += REC_HEADER_BYTES + r->recs[r->n]->body_bytes;
		r->n++;
	}
}

static void forget_records(struct logthread_read *r)
{
	drv_recs_unref(r->recs, r->n);
	r->n = 0;
}

static void tell_damage(struct logthread *lt, leash_seq seq)
{
	struct rlog_damage d = { .first = seq, .last = seq, .reason = "a record that was asked for cannot be read" };

	lt_damaged(lt, &d);
}

static void serve(struct logthread *lt, struct rlog_reader **reader, uint64_t *cuts, struct logthread_read *r)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		uint64_t now = lt_cuts(lt);
		leash_seq damaged = 0;

		if (!*reader)
			r->error = rlog_reader_open(lt->conf.dir, lt->conf.ops, lt->conf.record_bytes_max, reader);
		if (!*reader)
			return;
		if (now != *cuts)
			rlog_reader_drop(*reader);
		*cuts = now;
		read_range(r, *reader, &damaged);
		if (now % 2 == 0 && lt_cuts(lt) == now) {
			if (damaged && damaged <= __atomic_load_n(&lt->durable, __ATOMIC_ACQUIRE))
				tell_damage(lt, damaged);
			return;
		}
		forget_records(r);
		r->error = -EAGAIN;
	}
}

struct logthread_read *lt_take_read(struct logthread *lt)
{
	struct logthread_read *r = lt->reads;

	if (r) {
		lt->reads = r->next;
		if (!lt->reads)
			lt->reads_tail = &lt->reads;
	}
	return r;
}

void lt_serve_read(struct logthread *lt, struct rlog_reader **reader, uint64_t *cuts, struct logthread_read *r)
{
	struct lt_done *d = calloc(1, sizeof *d);

	must(d);
	serve(lt, reader, cuts, r);
	d->kind = LT_D_READ;
	d->read = r;
	lt_post(lt, d);
}

static struct logthread_read *next_read(struct logthread *lt)
{
	struct logthread_read *r;

	(void)pthread_mutex_lock(&lt->lock);
	while (!lt->reads && !lt->stop)
		(void)pthread_cond_wait(&lt->read_cond, &lt->lock);
	r = lt->stop ? NULL : lt_take_read(lt); /* what is left is freed by the loop */
	(void)pthread_mutex_unlock(&lt->lock);
	return r;
}

void *lt_read_main(void *arg)
{
	struct logthread *lt = arg;
	struct rlog_reader *reader = NULL;
	struct logthread_read *r;
	uint64_t cuts = 0;

	while ((r = next_read(lt)))
		lt_serve_read(lt, &reader, &cuts, r);
	rlog_reader_close(reader);
	return NULL;
}
