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

static void check_committed(struct sim *s, int node, leash_seq seq)
{
	const struct simrec *rec = &s->nodes[node].disk.log[seq];
	struct committed *c = &s->committed[seq];

	if (c->set) {
		if (c->value != rec->value || c->epoch != rec->rec.epoch || !hash128_eq(c->key, rec->rec.ident.key))
			sim_broken(s, "%s shows another record at committed position %" PRIu64, s->nodes[node].name, seq);
		return;
	}
	for (leash_seq q = 1; q <= s->committed_end; q++)
		if (s->committed[q].set && hash128_eq(s->committed[q].key, rec->rec.ident.key))
			sim_broken(s, "the same id is committed at %" PRIu64 " and %" PRIu64, q, seq);
	*c = (struct committed){ .set = true, .epoch = rec->rec.epoch, .value = rec->value, .key = rec->rec.ident.key };
	s->committed_end = MAX2(s->committed_end, seq);
}

void simcheck_step(struct sim *s, int node)
{
	must(rep_log_end(s->nodes[node].rep) == s->nodes[node].disk.end);
	must(rep_commit(s->nodes[node].rep) == s->nodes[node].commit_seen);
}

void simcheck_commit(struct sim *s, int node, leash_seq commit)
{
	struct simnode *n = &s->nodes[node];

	if (commit < n->commit_seen)
		sim_broken(s, "%s: the commit index went back to %" PRIu64, n->name, commit);
	for (leash_seq q = MAX2(n->commit_seen + 1, n->disk.start); q <= commit; q++)
		check_committed(s, node, q);
	n->commit_seen = commit;
}

/* Every member of the set in etcd, by name and incarnation, has everything committed on its disk: each may become
 * primary at this moment (R1, R2, R8). */
void simcheck_insync(struct sim *s)
{
	const struct rep_insync *set = &s->etcd.now.insync;

	for (uint32_t k = 0; k < set->n_members; k++) {
		const struct simdisk_state *d = &s->nodes[sim_index(s, set->members[k].node)].disk;

		if (d->exists && d->meta.incarnation == set->members[k].incarnation && d->synced < s->committed_end)
			sim_broken(s, "%s is in the in-sync set, but its disk has only %" PRIu64 " of %" PRIu64 " committed records",
				set->members[k].node, d->synced, s->committed_end);
	}
}

/* The moment an answer leaves a node. */
void simcheck_answer(struct sim *s, int op, leash_seq seq, bool conflict)
{
	const struct op *o = &s->ops[op];
	const struct committed *c = &s->committed[seq];
	uint32_t copies = 0;

	if (!c->set)
		sim_broken(s, "%s is answered with position %" PRIu64 ", which is not committed", o->id, seq);
	if (!hash128_eq(c->key, o->ident.key) || (c->value != o->value) != conflict)
		sim_broken(s, "%s is answered with position %" PRIu64 ", which holds something else", o->id, seq);
	if (o->answered && o->seq != seq)
		sim_broken(s, "%s was answered with %" PRIu64 " and with %" PRIu64, o->id, o->seq, seq);
	for (int i = 0; i < s->n; i++) {
		const struct simdisk_state *d = &s->nodes[i].disk;

		/* What a disk lost after it had it (one at a time: sim_swarm.c) is no fault of whoever counted on it. */
		if (d->exists && MAX2(d->synced, s->nodes[i].lost_end) >= seq && d->start <= seq && d->log[seq].value == c->value &&
			d->log[seq].rec.epoch == c->epoch)
			copies++;
	}
	if (copies < s->opts.min_insync)
		sim_broken(s, "%s is answered, but only %u disks have position %" PRIu64, o->id, copies, seq);
}

/* After everything has healed and come to rest. */
void simcheck_rest(struct sim *s)
{
	uint64_t digest = 0;

	for (int k = 0; k < s->n_ops; k++) {
		const struct op *o = &s->ops[k];

		if (!o->answered && !o->once)
			sim_broken(s, "%s was never answered", o->id);
		if (o->answered && !s->committed[o->seq].set)
			sim_broken(s, "%s is missing", o->id);
	}
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		if (n->disk.end < s->committed_end)
			sim_broken(s, "%s lacks committed records: its log ends at %" PRIu64 ", not %" PRIu64, n->name, n->disk.end,
				s->committed_end);
		if (i > 0 && rep_commit(n->rep) == rep_commit(s->nodes[0].rep) && n->disk.start == s->nodes[0].disk.start &&
			rep_dedup_digest(n->rep) != digest)
			sim_broken(s, "%s has another dedup table", n->name);
		if (i == 0)
			digest = rep_dedup_digest(n->rep);
	}
	if (!sim_logs_equal(s))
		sim_broken(s, "the logs differ");
}
