#include "replica/dedup.h"

#include <errno.h>

/* Links between entries and owners are indices + 1; 0 = none. */
struct entry {
	struct hash128 key;
	uint64_t payload;
	uint64_t log_time_ns;
	uint64_t prev_n;    /* the owner before this record, for undoing it */
	leash_seq prev_seq; /* 0: this record made the owner */
	uint32_t owner;     /* link; 0: the record has none */
	uint32_t next;      /* link to an older entry of the same bucket */
	enum rec_id_kind kind;
};

struct owner {
	uint64_t name;
	uint64_t highest;
	leash_seq last;
	uint32_t next; /* link in the bucket, or in the list of free ones */
	enum rec_id_kind kind;
};

struct dedup {
	struct dedup_conf conf;
	uint64_t cap;        /* entries in the ring */
	uint32_t mask;       /* buckets - 1, of both tables */
	struct entry *ring;  /* entry_of() */
	uint32_t *buckets;
	struct owner *owners;
	uint32_t *owner_buckets;
	uint32_t owners_used; /* owners[owners_used..] were never used */
	uint32_t owners_free; /* link */
	leash_seq base;       /* records base+1 .. end have entries */
	leash_seq end;
	uint64_t end_at;      /* index of record `end` in the ring */
	leash_seq commit;
	uint64_t log_time_ns; /* log time is at least this (dedup_pass()) */
};

#define DEDUP_RECORDS_MAX (UINT32_MAX / 4)

int dedup_new(const struct dedup_conf *conf, struct dedup **ret_dedup)
{
	struct dedup *d;
	uint64_t cap = conf->records_max + conf->uncommitted_max, n = 1;

	must(conf->window > 0 && conf->records_max >= conf->window && conf->uncommitted_max > 0);
	if (cap > DEDUP_RECORDS_MAX)
		return -EINVAL;
	while (n < cap)
		n *= 2;
	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	d->conf = *conf;
	d->cap = cap;
	d->mask = (uint32_t)(n - 1);
	d->ring = calloc(cap, sizeof *d->ring);
	d->buckets = calloc(n, sizeof *d->buckets);
	d->owners = calloc(cap, sizeof *d->owners);
	d->owner_buckets = calloc(n, sizeof *d->owner_buckets);
	if (!d->ring || !d->buckets || !d->owners || !d->owner_buckets) {
		dedup_free(d);
		return -ENOMEM;
	}
	*ret_dedup = d;
	return 0;
}

void dedup_free(struct dedup *d)
{
	if (!d)
		return;
	free(d->ring);
	free(d->buckets);
	free(d->owners);
	free(d->owner_buckets);
	free(d);
}

void dedup_reset(struct dedup *d, leash_seq start)
{
	must(start > 0);
	memset(d->buckets, 0, ((size_t)d->mask + 1) * sizeof *d->buckets);
	memset(d->owner_buckets, 0, ((size_t)d->mask + 1) * sizeof *d->owner_buckets);
	d->owners_used = d->owners_free = 0;
	d->base = d->end = d->commit = start - 1;
	d->end_at = 0;
}

leash_seq dedup_replay_from(const struct dedup *d, leash_seq end)
{
	return end > d->cap ? end - d->cap + 1 : 1;
}

leash_seq dedup_oldest(const struct dedup *d)
{
	return d->base + 1;
}

/* ---------------------------------------------------------------------------------------------------------- owners */

static uint32_t *owner_slot(const struct dedup *d, enum rec_id_kind kind, uint64_t name)
{
	uint32_t *link = &d->owner_buckets[(name ^ kind) & d->mask]; /* names are random, or hashes */

	while (*link && !(d->owners[*link - 1].name == name && d->owners[*link - 1].kind == kind))
		link = &d->owners[*link - 1].next;
	return link;
}

static const struct owner *owner_find(const struct dedup *d, enum rec_id_kind kind, uint64_t name)
{
	uint32_t at = *owner_slot(d, kind, name);

	return at ? &d->owners[at - 1] : NULL;
}

/* There are never more owners than entries, so there is always a free one. */
static uint32_t owner_add(struct dedup *d, enum rec_id_kind kind, uint64_t name)
{
	uint32_t *link = owner_slot(d, kind, name), at = *link;

	if (at)
		return at;
	if (d->owners_free) {
		at = d->owners_free;
		d->owners_free = d->owners[at - 1].next;
	} else {
		must(d->owners_used < d->cap);
		at = ++d->owners_used;
	}
	d->owners[at - 1] = (struct owner){ .name = name, .kind = kind };
	*link = at;
	return at;
}

static void owner_remove(struct dedup *d, uint32_t at)
{
	struct owner *o = &d->owners[at - 1];
	uint32_t *link = owner_slot(d, o->kind, o->name);

	must(*link == at);
	*link = o->next;
	o->next = d->owners_free;
	d->owners_free = at;
}

/* --------------------------------------------------------------------------------------------------------- entries */

/* Records lie in the ring in their order; counted from the newest one, so that nothing is divided. */
static uint64_t index_of(const struct dedup *d, leash_seq seq)
{
	uint64_t back = d->end - seq;

	return back <= d->end_at ? d->end_at - back : d->end_at + d->cap - back;
}

static struct entry *entry_of(const struct dedup *d, leash_seq seq)
{
	return &d->ring[index_of(d, seq)];
}

/* The sequence number of ring index @i: the one in end-cap+1 .. end that lies there. */
static leash_seq seq_at(const struct dedup *d, uint32_t i)
{
	return d->end - (i <= d->end_at ? d->end_at - i : d->end_at + d->cap - i);
}

static uint32_t *bucket_of(const struct dedup *d, struct hash128 key)
{
	return &d->buckets[(key.lo ^ key.hi) & d->mask];
}

static bool has_key(enum rec_id_kind kind)
{
	return kind != REC_ID_NONE;
}

static bool has_owner(enum rec_id_kind kind)
{
	return kind == REC_ID_SEQ || kind == REC_ID_SESSION;
}

static void entry_unlink(struct dedup *d, leash_seq seq)
{
	struct entry *e = entry_of(d, seq);
	uint32_t self = (uint32_t)index_of(d, seq) + 1;
	uint32_t *link;

	if (!has_key(e->kind))
		return;
	link = bucket_of(d, e->key);
	while (*link != self) {
		must(*link);
		link = &d->ring[*link - 1].next;
	}
	*link = e->next;
}

static void evict_oldest(struct dedup *d)
{
	leash_seq seq = d->base + 1;
	struct entry *e = entry_of(d, seq);

	must(seq <= d->end);
	entry_unlink(d, seq);
	if (e->owner && d->owners[e->owner - 1].last == seq)
		owner_remove(d, e->owner);
	d->base = seq;
}

static bool past_window(const struct dedup *d, leash_seq seq)
{
	return d->commit >= d->conf.window && seq <= d->commit - d->conf.window;
}

static bool past_time(const struct dedup *d, leash_seq seq)
{
	uint64_t now_ns, then_ns;

	if (d->conf.time_ns == 0)
		return true;
	now_ns = MAX2(entry_of(d, d->commit)->log_time_ns, d->log_time_ns);
	then_ns = entry_of(d, seq)->log_time_ns;
	return MAX2(now_ns, then_ns) - then_ns > d->conf.time_ns; /* log time never goes back, but a peer may say so */
}

/* A session's highest counter is known while any of its records is: what comes right behind it is new, without a search. */
static bool continues_session(const struct dedup *d, const struct rec_ident *ident)
{
	const struct owner *o = ident->kind == REC_ID_SESSION ? owner_find(d, REC_ID_SESSION, ident->owner) : NULL;

	return o && ident->n == o->highest + 1;
}

static enum dedup_verdict lookup_session(const struct dedup *d, const struct rec_ident *ident, leash_seq *ret_seq)
{
	const struct owner *o = owner_find(d, REC_ID_SESSION, ident->owner);

	if (o && ident->n > o->highest) {
		*ret_seq = o->highest + 1;
		return DEDUP_SESSION_ORDER;
	}
	/* Had it been opened before, its record would lie behind `birth`: all of that must still be remembered. */
	if (!o && ident->open && ident->n == 1 && ident->birth >= d->base)
		return DEDUP_NEW;
	return DEDUP_UNKNOWN_SESSION;
}

static enum dedup_verdict lookup_owner(const struct dedup *d, const struct rec_ident *ident, leash_seq *ret_seq)
{
	const struct owner *o;

	if (ident->kind == REC_ID_SESSION)
		return lookup_session(d, ident, ret_seq);
	if (ident->kind == REC_ID_SEQ) {
		o = owner_find(d, REC_ID_SEQ, ident->owner);
		if (o && ident->n <= o->highest)
			return DEDUP_OLD;
	}
	return DEDUP_NEW;
}

static leash_seq find_key(const struct dedup *d, const struct rec_ident *ident)
{
	/* Newest first: an older entry of the same key may wait for its eviction. */
	for (uint32_t at = *bucket_of(d, ident->key); at; at = d->ring[at - 1].next) {
		const struct entry *e = &d->ring[at - 1];

		if (e->kind == ident->kind && hash128_eq(e->key, ident->key))
			return seq_at(d, at - 1);
	}
	return 0;
}

enum dedup_verdict dedup_lookup(const struct dedup *d, const struct rec_ident *ident, leash_seq *ret_seq)
{
	enum dedup_verdict v = DEDUP_NEW;

	if (has_key(ident->kind) && !continues_session(d, ident)) {
		leash_seq seq = find_key(d, ident);

		if (seq) {
			*ret_seq = seq;
			return entry_of(d, seq)->payload == ident->payload ? DEDUP_KNOWN : DEDUP_CONFLICT;
		}
		v = lookup_owner(d, ident, ret_seq);
	}
	if (v == DEDUP_NEW && d->end - d->base >= d->cap)
		return DEDUP_FULL;
	return v;
}

void dedup_apply(struct dedup *d, const struct rep_rec *rec)
{
	struct entry *e;
	uint32_t *link;

	must(rec->seq == d->end + 1);
	/* Only where this node's dedup_bytes is smaller than its primary's: the window itself always has room. */
	if (d->end - d->base >= d->cap)
		evict_oldest(d);
	d->end = rec->seq;
	d->end_at = d->end_at + 1 < d->cap ? d->end_at + 1 : 0;
	e = &d->ring[d->end_at];
	*e = (struct entry){ .kind = rec->ident.kind, .key = rec->ident.key, .payload = rec->ident.payload,
		.log_time_ns = rec->log_time_ns };
	if (!has_key(e->kind))
		return;
	link = bucket_of(d, e->key);
	e->next = *link;
	*link = (uint32_t)d->end_at + 1;
	if (has_owner(e->kind)) {
		struct owner *o;

		e->owner = owner_add(d, e->kind, rec->ident.owner);
		o = &d->owners[e->owner - 1];
		e->prev_n = o->highest;
		e->prev_seq = o->last;
		o->highest = rec->ident.n;
		o->last = rec->seq;
	}
}

static void undo_newest(struct dedup *d)
{
	leash_seq seq = d->end;
	struct entry *e = entry_of(d, seq);

	entry_unlink(d, seq);
	if (e->owner && e->prev_seq > d->base) {
		d->owners[e->owner - 1].highest = e->prev_n;
		d->owners[e->owner - 1].last = e->prev_seq;
	} else if (e->owner) {
		owner_remove(d, e->owner); /* made by this record, or known only through it */
	}
	d->end = seq - 1;
	d->end_at = d->end_at ? d->end_at - 1 : d->cap - 1;
}

void dedup_cut(struct dedup *d, leash_seq seq)
{
	while (d->end > seq && d->end > d->base)
		undo_newest(d);
	if (d->end > seq)
		dedup_reset(d, seq + 1);
	d->commit = MIN2(d->commit, seq); /* what was committed may be lost from this disk (R11) */
}

static void evict(struct dedup *d)
{
	while (d->base + 1 < d->commit && past_window(d, d->base + 1) && past_time(d, d->base + 1))
		evict_oldest(d);
}

void dedup_commit(struct dedup *d, leash_seq seq)
{
	must(seq <= d->end);
	if (seq <= d->commit)
		return;
	d->commit = seq;
	evict(d);
}

void dedup_pass(struct dedup *d, uint64_t log_time_ns)
{
	d->log_time_ns = MAX2(d->log_time_ns, log_time_ns);
	if (d->conf.time_ns && d->end - d->base >= d->cap)
		evict(d);
}

uint64_t dedup_digest(const struct dedup *d)
{
	uint64_t h = 0;

	for (leash_seq s = d->base + 1; s <= d->end; s++) {
		const struct entry *e = entry_of(d, s);
		uint64_t v[6] = { s, e->kind, e->key.lo, e->key.hi, e->payload, 0 };

		if (e->owner && d->owners[e->owner - 1].last == s)
			v[5] = d->owners[e->owner - 1].highest;
		h = hash_64(v, sizeof v, h);
	}
	return h;
}
