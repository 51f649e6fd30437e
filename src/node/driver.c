#include "node/drv_int.h"

#include <errno.h>

/* ------------------------------------------------------------------------------------------------------------- life */

int drv_new(const struct drv_conf *conf, const struct rep_conf *rconf, const struct rep_meta *meta,
	const struct rep_log *log, struct leash_chain chain, const struct drv_io *io, uint64_t now_ns,
	struct drv **ret_drv)
{
	struct drv *d;
	int r;

	if (conf->uncommitted_bytes == 0 || conf->uncommitted_max == 0 || conf->batch_bytes == 0 ||
		conf->record_bytes_max < REC_HEADER_BYTES + REC_BODY_BYTES_MIN)
		return -EINVAL;
	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	d->conf = *conf;
	d->io = *io;
	d->cluster = meta->cluster;
	d->now_ns = now_ns;
	d->end = d->handed = d->durable = log->end;
	d->marked = log->mark;
	d->chain = chain;
	d->room_bytes = UINT64_MAX;
	d->retain_ns = now_ns + DRV_RETAIN_NS;
	d->deferred_tail = &d->deferred;
	cache_reset(&d->cache, log->end);
	r = rep_new(rconf, meta, log, now_ns, &d->rep);
	if (r < 0) {
		drv_free(d);
		return r;
	}
	*ret_drv = d;
	return 0;
}

void drv_free(struct drv *d)
{
	struct drv_deferred *f;

	if (!d)
		return;
	while ((f = drv_deferred_take(d)))
		drv_deferred_free(f);
	wait_deinit(&d->wait);
	cache_deinit(&d->cache);
	drv_arena_deinit(&d->arena);
	rep_free(d->rep);
	free(d);
}

struct rep *drv_rep(struct drv *d) { return d->rep; }
leash_id drv_cluster(const struct drv *d) { return d->cluster; }
uint64_t drv_wakeup_ns(const struct drv *d) { return rep_wakeup_ns(d->rep); }

struct drv_rec *drv_cached(struct drv *d, leash_seq seq)
{
	struct drv_rec *rec = cache_get(&d->cache, seq);

	return rec ? drv_rec_ref(rec) : NULL;
}

leash_seq drv_cached_from(const struct drv *d)
{
	return d->cache.first;
}

/* --------------------------------------------------------------------------------------------------- what comes in */

static bool has_a_call_of_its_own(const struct rep_event *ev)
{
	switch (ev->kind) {
	case REP_EV_DURABLE:
	case REP_EV_CUT:
	case REP_EV_META:
	case REP_EV_FULL:
	case REP_EV_TRIMMED:
	case REP_EV_INCARNATION: return true;
	case REP_EV_MSG: return ev->msg.msg->n_recs > 0;
	case REP_EV_TICK:
	case REP_EV_VIEW:
	case REP_EV_TXN:
	case REP_EV_LEASE:
	case REP_EV_LINK:
	case REP_EV_DAMAGE:
	case REP_EV_MENDED:
	case REP_EV_HANDOVER: break;
	}
	return false;
}

void drv_event(struct drv *d, const struct rep_event *ev)
{
	struct drv_input in = { .ev = *ev };

	must(!has_a_call_of_its_own(ev));
	drv_feed(d, &in);
}

bool drv_wants_records(const struct drv *d)
{
	return d->backlog_bytes < d->conf.uncommitted_bytes;
}

void drv_records(struct drv *d, const char *from, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs, uint64_t now_ns)
{
	struct drv_input in = { .ev = { .kind = REP_EV_MSG, .now_ns = now_ns,
					.msg = { .from = from, .link = link, .msg = m } },
		.recs = recs };

	d->peers_wait |= !drv_wants_records(d);
	if (d->backlog_bytes / 2 >= d->conf.uncommitted_bytes)
		return; /* lost, as a message may be */
	drv_feed(d, &in);
	d->peers_wait |= !drv_wants_records(d);
}

void drv_durable(struct drv *d, leash_seq seq, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){ .ev = { .kind = REP_EV_DURABLE, .now_ns = now_ns, .seq = seq } });
}

void drv_cut_done(struct drv *d, leash_seq seq, struct leash_chain chain, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){ .ev = { .kind = REP_EV_CUT, .now_ns = now_ns, .seq = seq }, .chain = chain });
}

void drv_meta_done(struct drv *d, uint64_t ticket, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){ .ev = { .kind = REP_EV_META, .now_ns = now_ns, .ticket = ticket } });
}

void drv_disk_full(struct drv *d, leash_seq end, struct leash_chain chain, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){ .ev = { .kind = REP_EV_FULL, .now_ns = now_ns, .seq = end }, .chain = chain });
}

void drv_trimmed(struct drv *d, leash_seq start, struct leash_chain base, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){
			    .ev = { .kind = REP_EV_TRIMMED, .now_ns = now_ns, .trimmed = { start, base } } });
}

void drv_incarnation(struct drv *d, leash_id incarnation, leash_seq end, struct leash_chain chain, uint64_t now_ns)
{
	drv_feed(d, &(struct drv_input){
			    .ev = { .kind = REP_EV_INCARNATION, .now_ns = now_ns, .incarnation = { incarnation, end } },
			    .chain = chain });
}

void drv_room(struct drv *d, uint64_t bytes)
{
	d->room_bytes = bytes;
}

/* ----------------------------------------------------------------------------------------------------------- appends */

static void answer(struct drv *d, const struct drv_waiter *w, enum drv_answer_kind kind, const struct rep_verdict *v)
{
	struct drv_answer a = { .kind = kind, .seq = v ? v->seq : 0, .epoch = v ? v->epoch : 0 };

	d->room_wanted |= kind == DRV_ANS_HOLD;
	d->io.answer(d->io.ctx, w, &a);
}

/* Known or in conflict with what is in the log: due when that commits (R14). */
static leash_seq answer_at_commit(struct drv *d, const struct drv_waiter *w, enum drv_answer_kind kind,
	const struct rep_verdict *v)
{
	if (v->seq <= rep_commit(d->rep))
		answer(d, w, kind, v);
	else if (d->wait.n >= d->conf.uncommitted_max || wait_retry(&d->wait, w, v->seq, kind) < 0)
		answer(d, w, DRV_ANS_HOLD, NULL); /* asked again, it gets the same answer */
	else
		return v->seq;
	return 0;
}

/* The bounds that the driver keeps; true: none is in the way. */
static bool bounds_allow(struct drv *d, const struct drv_waiter *w, uint32_t bytes)
{
	if (d->uncommitted_bytes >= d->conf.uncommitted_bytes) {
		answer(d, w, DRV_ANS_HOLD, NULL);
		return false;
	}
	if (d->room_bytes != UINT64_MAX && d->backlog_bytes + bytes + DRV_RECORD_OVERHEAD > d->room_bytes) {
		answer(d, w, DRV_ANS_DISK_FULL, NULL);
		return false;
	}
	return true;
}

/* Information only: what comes in one turn bears one time. */
static uint64_t real_ns(struct drv *d)
{
	if (d->real.at_ns != d->now_ns) {
		d->real.at_ns = d->now_ns;
		d->real.ns = d->io.real_ns(d->io.ctx);
	}
	return d->real.ns;
}

/* @rec has the body and its identity; it gets its place, its header and its chain. */
static void append(struct drv *d, struct drv_rec *rec, const struct rep_rec *r)
{
	struct bytes body = { rec->bytes + REC_HEADER_BYTES, rec->body_bytes };

	rec->h = (struct rec_header){ .body_bytes = rec->body_bytes, .body_hash = rec_body_hash(body),
		.epoch = r->epoch, .seq = r->seq, .log_time_ns = r->log_time_ns, .real_time_ns = real_ns(d) };
	rec_header_make(&rec->h, d->chain, rec->bytes);
	if (d->own_from == 0)
		d->own_from = r->seq;
	d->uncommitted_bytes += r->bytes;
	drv_append(d, rec);
}

static leash_seq submit_new(struct drv *d, struct bytes body, const struct rec_ident *ident,
	const struct drv_waiter *w)
{
	uint32_t bytes = REC_HEADER_BYTES + (uint32_t)body.len;
	struct drv_rec *rec;
	struct rep_rec r;

	if (!bounds_allow(d, w, bytes))
		return 0;
	rec = drv_rec_alloc(&d->arena, body.len);
	if (!rec || wait_append(&d->wait, w, d->end + 1) < 0) {
		drv_rec_unref(rec);
		answer(d, w, DRV_ANS_HOLD, NULL);
		return 0;
	}
	memcpy(rec->bytes + REC_HEADER_BYTES, body.p, body.len);
	rec->ident = *ident;
	rep_submit(d->rep, ident, bytes, d->now_ns, &r);
	must(r.seq == d->end + 1);
	append(d, rec, &r);
	return r.seq;
}

leash_seq drv_submit(struct drv *d, struct bytes body, const struct drv_waiter *w, uint64_t now_ns)
{
	struct rec_ident ident;
	struct rec_body b;
	struct rep_verdict v;

	d->now_ns = MAX2(d->now_ns, now_ns);
	if (body.len > d->conf.record_bytes_max - REC_HEADER_BYTES) {
		answer(d, w, DRV_ANS_TOO_BIG, NULL);
		return 0;
	}
	if (rec_body_decode(body, &b) != 0) {
		answer(d, w, DRV_ANS_INVALID, NULL);
		return 0;
	}
	ident = rec_identify(&b, d->cluster);
	v = rep_peek(d->rep, &ident);
	switch (v.kind) {
	case REP_V_NEW: return submit_new(d, body, &ident, w);
	case REP_V_KNOWN: return answer_at_commit(d, w, DRV_ANS_KNOWN, &v);
	case REP_V_CONFLICT: return answer_at_commit(d, w, DRV_ANS_CONFLICT, &v);
	case REP_V_NOT_PRIMARY: answer(d, w, DRV_ANS_NOT_PRIMARY, &v); break;
	case REP_V_HOLD: answer(d, w, DRV_ANS_HOLD, &v); break;
	case REP_V_UNKNOWN_SESSION: answer(d, w, DRV_ANS_UNKNOWN_SESSION, &v); break;
	case REP_V_SESSION_ORDER: answer(d, w, DRV_ANS_SESSION_ORDER, &v); break;
	case REP_V_OLD: answer(d, w, DRV_ANS_OLD, &v); break;
	case REP_V_FULL: answer(d, w, DRV_ANS_DEDUP_FULL, &v); break;
	}
	return 0;
}

void drv_forget(struct drv *d, void *owner, leash_seq seq)
{
	wait_forget(&d->wait, owner, seq);
}

void drv_flush(struct drv *d, uint64_t now_ns)
{
	d->now_ns = MAX2(d->now_ns, now_ns);
	if (d->stepping || d->flushing)
		return; /* called from inside an io call; the turn ends later */
	d->flushing = true;
	drv_hand_over(d);
	stream_pump_all(d);
	d->flushing = false;
}
