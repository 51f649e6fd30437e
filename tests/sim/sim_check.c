/* The promises of design section 2, checked after every step against what was committed and answered so far. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>

void simcheck_epoch(struct sim *s, int node, leash_epoch epoch, leash_id run)
{
	for (uint32_t i = 0; i < s->n_owners; i++)
		if (s->owners[i].epoch == epoch && s->owners[i].run != run)
			sim_broken(s, "epoch %" PRIu64 " has a second owner, %s", epoch, s->nodes[node].name);
	must(s->n_owners < ARRAY_SIZE(s->owners));
	s->owners[s->n_owners].epoch = epoch;
	s->owners[s->n_owners++].run = run;
}

/* R4: the promise of an epoch is on disk before a primary's first message in it, and before a follower's first answer. */
void simcheck_sent(struct sim *s, int node, const struct rep_msg *m)
{
	const struct simnode *n = &s->nodes[node];

	switch (m->type) {
	case REP_MSG_LEAD:
	case REP_MSG_RECORDS:
	case REP_MSG_BEAT:
	case REP_MSG_JOINED:
	case REP_MSG_ACK:
		if (m->epoch > n->acc.meta.promise)
			sim_broken(s, "%s speaks in epoch %" PRIu64 ", but its disk knows of a promise of %" PRIu64 " only", n->name,
				m->epoch, n->acc.meta.promise);
		return;
	case REP_MSG_REFUSE:
	case REP_MSG_ASK:
	case REP_MSG_HEARS:
	case REP_MSG_RELAY:
	case REP_MSG_LOOK:
	case REP_MSG_RESET:
	case REP_MSG_DAMAGED:
	case REP_MSG_FETCH:
	case REP_MSG_FETCHED: return;
	}
}

/* What makes two messages the same, in the simulator's own words. */
struct hash128 simcheck_key(const struct rec_body *b)
{
	struct hash128 h = { 0 };

	if (b->id_kind == REC_ID_NONE)
		return h;
	h = hash_128(b->producer.p, b->producer.len, 10 + (uint64_t)b->id_kind);
	h = hash_128(b->id.p, b->id.len, h.lo);
	return hash_128(&b->n, sizeof b->n, h.lo);
}

/* --------------------------------------------------------------------------------------------------- nothing twice */

static struct keyslot *slot_of(struct sim *s, struct hash128 key)
{
	size_t i = key.lo & (s->cap_keys - 1);

	while (s->keys[i].seq && !hash128_eq(s->keys[i].key, key))
		i = (i + 1) & (s->cap_keys - 1);
	return &s->keys[i];
}

static void note_key(struct sim *s, leash_seq seq)
{
	struct committed *c = &s->committed[seq];
	struct keyslot *k;

	if (c->kind == REC_ID_NONE)
		return;
	must(2 * s->n_keys < s->cap_keys);
	k = slot_of(s, c->key);
	if (k->seq && k->seq < seq && (c->kind == REC_ID_SESSION || seq - k->seq <= s->opts.dedup_window))
		sim_broken(s, "the same id is committed at %" PRIu64 " and %" PRIu64, k->seq, seq);
	s->n_keys += k->seq == 0;
	*k = (struct keyslot){ .key = c->key, .seq = seq };
}

/* ----------------------------------------------------------------------------------------------------------- commits */

/* The bytes of @n's record: from its cache, its disk, or, when that was damaged, from another that has the same one. */
static bool find_record(struct sim *s, struct simnode *n, leash_seq seq, struct drv_rec **rec, struct rlog_reader **reader,
	struct rlog_view *ret)
{
	for (int k = 0; k < s->n; k++) {
		struct simnode *m = &s->nodes[(n->i + k) % s->n];

		if (k > 0 && (!n->damaged || m->acc.chain[seq] != n->acc.chain[seq]))
			continue;
		*rec = m->up ? drv_cached(m->node->drv, seq) : NULL;
		if (*rec) {
			ret->h = (*rec)->h;
			ret->body = (struct bytes){ (*rec)->bytes + REC_HEADER_BYTES, (*rec)->body_bytes };
			return true;
		}
		if (simlog_view(m, seq, reader, ret))
			return true;
		rlog_reader_close(*reader);
		*reader = NULL;
	}
	return false;
}

/* The record is committed for the first time: from now on this position holds it, everywhere and for ever. */
static void commit_first(struct sim *s, int node, leash_seq seq)
{
	struct simnode *n = &s->nodes[node];
	struct rlog_reader *reader = NULL;
	struct drv_rec *rec = NULL;
	struct committed *c = &s->committed[seq];
	struct rlog_view v;
	struct rec_body b;

	if (!find_record(s, n, seq, &rec, &reader, &v)) {
		sim_broken(s, "%s commits %" PRIu64 ", which it cannot read", n->name, seq);
		return;
	}
	if (v.h.seq != seq || !rec_body_matches(&v.h, v.body) || rec_body_decode(v.body, &b) != 0) {
		sim_broken(s, "%s commits %" PRIu64 ", which is no whole record", n->name, seq);
		drv_rec_unref(rec);
		rlog_reader_close(reader);
		return;
	}
	*c = (struct committed){ .set = true, .kind = b.id_kind, .epoch = v.h.epoch, .chain = v.h.chain.lo,
		.body_hash = v.h.body_hash, .n = b.n, .key = simcheck_key(&b) };
	note_key(s, seq);
	s->committed_end = MAX2(s->committed_end, seq);
	drv_rec_unref(rec);
	rlog_reader_close(reader);
}

static uint64_t chain_at(struct simnode *n, leash_seq seq)
{
	struct drv_rec *rec = drv_cached(n->node->drv, seq);
	uint64_t chain = rec ? rec->h.chain.lo : n->acc.chain[seq];

	drv_rec_unref(rec);
	return chain;
}

void simcheck_commit(struct sim *s, int node, leash_seq commit)
{
	struct simnode *n = &s->nodes[node];
	leash_seq from;

	if (commit < n->commit_seen)
		sim_broken(s, "%s: the commit index went back to %" PRIu64, n->name, commit);
	n->commit_seen = commit;
	must(commit < SIM_LOG_MAX);
	for (from = commit; from > s->committed_end || (from > 0 && !s->committed[from].set); from--)
		;
	/* The chain covers all before it: where it is the same, so is the rest. */
	if (from > 0 && from >= MAX2(n->acc.start, n->node->log_start) && s->committed[from].chain != chain_at(n, from))
		sim_broken(s, "%s shows another record at committed position %" PRIu64, n->name, from);
	for (leash_seq seq = from + 1; seq <= commit; seq++)
		commit_first(s, node, seq);
	if (from < commit)
		simcheck_insync(s);
}

static bool has_on_disk(const struct sim *s, const struct simnode *n, leash_seq seq)
{
	const struct account *a = &n->acc;

	/* What a disk lost after it had it is no fault of whoever counted on it: faults stay within what is allowed. */
	if (a->lost_end >= seq)
		return true;
	return a->durable >= seq && (seq < a->start || a->chain[seq] == s->committed[seq].chain);
}

/* Every member of the set in etcd, by name and incarnation, has everything committed on its disk: each may become
 * primary at this moment (R1, R2, R8). */
void simcheck_insync(struct sim *s)
{
	const struct rep_insync *set = &s->etcd.now.insync;

	if (s->committed_end == 0 || s->stats.etcd_restores)
		return; /* a set from a backup means nothing before `leash recover` */
	for (uint32_t k = 0; k < set->n_members; k++) {
		const struct simnode *n = &s->nodes[sim_index(s, set->members[k].node)];

		if (n->acc.meta.incarnation == set->members[k].incarnation && !has_on_disk(s, n, s->committed_end))
			sim_broken(s, "%s is in the in-sync set, but its disk has only %" PRIu64 " of %" PRIu64 " committed records",
				n->name, n->acc.durable, s->committed_end);
	}
}

/* ---------------------------------------------------------------------------------------------------------- answers */

/* The moment an answer leaves a node. */
void simcheck_answer(struct sim *s, int op, leash_seq seq, bool conflict)
{
	const struct op *o = &s->ops[op];
	const struct committed *c = &s->committed[seq];
	uint32_t copies = 0;

	if (seq == 0 || seq >= SIM_LOG_MAX || !c->set) {
		sim_broken(s, "%s is answered with position %" PRIu64 ", which is not committed", o->id, seq);
		return;
	}
	if (!hash128_eq(c->key, o->key) || (c->body_hash != o->body_hash) != conflict)
		sim_broken(s, "%s is answered with position %" PRIu64 ", which holds something else", o->id, seq);
	if (o->answered && o->seq != seq && (o->kind == REC_ID_SESSION || seq - o->seq <= s->opts.dedup_window))
		sim_broken(s, "%s was answered with %" PRIu64 " and with %" PRIu64, o->id, o->seq, seq);
	for (int i = 0; i < s->n; i++)
		copies += has_on_disk(s, &s->nodes[i], seq);
	if (copies < s->opts.min_insync)
		sim_broken(s, "%s is answered, but only %u disks have position %" PRIu64, o->id, copies, seq);
}

/* What a reader was given. */
void simcheck_record(struct sim *s, int node, leash_seq seq, const struct rec_header *h, struct bytes body)
{
	const struct committed *c = &s->committed[seq];

	if (!c->set)
		sim_broken(s, "%s shows %" PRIu64 " to a reader, which is not committed", s->nodes[node].name, seq);
	if (c->chain != h->chain.lo || c->body_hash != h->body_hash || !rec_body_matches(h, body))
		sim_broken(s, "%s shows something else at %" PRIu64 " to a reader", s->nodes[node].name, seq);
}

/* ---------------------------------------------------------------------------------------------------------- opening */

/* What was synced is there after a crash, and no promise went back. */
void simcheck_opened(struct sim *s, int node, const struct account *before)
{
	struct simnode *n = &s->nodes[node];
	const struct account *now = &n->acc;

	if (before->tampered || before->virgin)
		return;
	if (now->meta.incarnation != before->meta.incarnation && !n->damaged)
		sim_broken(s, "%s opens its log under a new incarnation, although nothing was damaged", n->name);
	if (now->meta.promise < before->meta.promise || now->meta.insync_version < before->meta.insync_version)
		sim_broken(s, "%s forgot what it had promised", n->name);
	if (!before->unsure && !n->damaged && memcmp(&now->meta, &before->meta, sizeof now->meta) != 0)
		sim_broken(s, "%s has other metadata than it wrote: promise %" PRIu64 " for %" PRIu64 ", log epoch %" PRIu64
			" for %" PRIu64 ", matched %" PRIu64 " for %" PRIu64 ", version %" PRIu64 " for %" PRIu64 ", revision %" PRIu64
			" for %" PRIu64, n->name, now->meta.promise, before->meta.promise, now->meta.log_epoch,
			before->meta.log_epoch, now->meta.log_matched, before->meta.log_matched, now->meta.insync_version,
			before->meta.insync_version, now->meta.etcd_revision, before->meta.etcd_revision);
	if (!before->cutting && !n->damaged && now->end < before->durable)
		sim_broken(s, "%s had records up to %" PRIu64 " on its disk, and opens it with %" PRIu64, n->name, before->durable,
			now->end);
}

/* ---------------------------------------------------------------------------------------------------------- at rest */

static void compare_logs(struct sim *s, struct simnode *a, struct simnode *b)
{
	struct rlog_reader *ra = NULL, *rb = NULL;
	struct rlog_view va, vb;

	for (leash_seq q = MAX2(a->acc.start, b->acc.start); q <= s->committed_end; q++) {
		if (!simlog_view(a, q, &ra, &va) || !simlog_view(b, q, &rb, &vb)) {
			sim_broken(s, "record %" PRIu64 " of %s or %s cannot be read", q, a->name, b->name);
			break;
		}
		if (memcmp(va.header.p, vb.header.p, REC_HEADER_BYTES) != 0 || va.body.len != vb.body.len ||
			memcmp(va.body.p, vb.body.p, va.body.len) != 0)
			sim_broken(s, "record %" PRIu64 " differs on %s and %s", q, a->name, b->name);
		if (vb.h.chain.lo != s->committed[q].chain)
			sim_broken(s, "record %" PRIu64 " of %s is not what was committed", q, b->name);
	}
	rlog_reader_close(ra);
	rlog_reader_close(rb);
}

/* A function of the log. With dedup_time the primary may have forgotten what the others forget at the next record. */
static void check_dedup(struct sim *s, struct simnode *n)
{
	struct simnode *first = &s->nodes[0];
	leash_seq mine = sim_status(s, n->name)->dedup_keep_from, its = sim_status(s, first->name)->dedup_keep_from;

	if (rep_commit(simnode_rep(n)) != rep_commit(simnode_rep(first)) || (mine != its && s->opts.dedup_time_ns))
		return;
	if (mine != its || rep_dedup_digest(simnode_rep(n)) != rep_dedup_digest(simnode_rep(first)))
		sim_broken(s, "%s has another dedup table: from %" PRIu64 " on; %s: from %" PRIu64 " on", n->name, mine, first->name,
			its);
}

/* After everything has healed and come to rest. */
void simcheck_rest(struct sim *s)
{
	for (int k = 0; k < s->n_ops; k++) {
		const struct op *o = &s->ops[k];

		if (!o->answered && !o->once && !o->given_up)
			sim_broken(s, "%s was never answered", o->id);
		if (o->answered && !s->committed[o->seq].set)
			sim_broken(s, "%s is missing", o->id);
	}
	for (leash_seq q = 1; q <= s->committed_end; q++)
		if (!s->committed[q].set)
			sim_broken(s, "position %" PRIu64 " was never committed, but what follows it was", q);
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		if (n->acc.end < s->committed_end)
			sim_broken(s, "%s lacks committed records: its log ends at %" PRIu64 ", not %" PRIu64, n->name, n->acc.end,
				s->committed_end);
		check_dedup(s, n);
		if (i > 0)
			compare_logs(s, &s->nodes[0], n);
	}
}
