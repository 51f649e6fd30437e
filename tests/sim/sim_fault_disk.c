/* Faults of disks; etcd from a backup. Their bounds: sim_fault.c. */
#include "tests/sim/sim_fault.h"

#include <errno.h>
#include <inttypes.h>

/* When the operator comes to recover: all nodes have looked at etcd again, or put their keys back there. */
#define ETCD_OLD_MS   12000
#define ETCD_EMPTY_MS 35000

/* --------------------------------------------------------------------------------------------------------------- disks */

bool simfault_begin_stuck(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_freeze_disk(s, n->name, true);
	sim_say(s, n->i, "has a disk that hangs");
	return true;
}

void simfault_end_stuck(struct sim *s, struct simnode *n)
{
	sim_freeze_disk(s, n->name, false);
}

bool simfault_begin_slow(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	n->slow_disk = 10 + (uint32_t)sim_below(s, 300);
	return true;
}

void simfault_end_slow(struct sim *s, struct simnode *n)
{
	(void)s;
	n->slow_disk = 0;
}

bool simfault_begin_full(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	simdisk_capacity(n->disk, simdisk_used(n->disk) + sim_below(s, 2 * s->opts.segment_bytes) + 1);
	sim_say(s, n->i, "has little room on its disk");
	return true;
}

void simfault_end_full(struct sim *s, struct simnode *n)
{
	(void)s;
	simdisk_capacity(n->disk, 0);
}

bool simfault_begin_eio(struct sim *s, struct simnode *n, struct simnode *k)
{
	static const unsigned masks[] = { SIMDISK_BIT(SIMDISK_WRITE), SIMDISK_BIT(SIMDISK_SYNC),
		SIMDISK_BIT(SIMDISK_WRITE) | SIMDISK_BIT(SIMDISK_SYNC) | SIMDISK_BIT(SIMDISK_SYNC_DIR) };
	unsigned mask;

	(void)k;
	mask = masks[sim_below(s, ARRAY_SIZE(masks))];
	simdisk_fault(n->disk, mask, sim_below(s, 6), -EIO, false);
	sim_say(s, n->i, "has a disk that will fail");
	return true;
}

bool simfault_is_member(const struct sim *s, const struct simnode *n)
{
	const struct rep_insync *set = &s->etcd.now.insync;

	for (uint32_t i = 0; i < set->n_members; i++)
		if (strcmp(set->members[i].node, n->name) == 0 && set->members[i].incarnation == n->acc.meta.incarnation)
			return true;
	return false;
}

/* Everybody is in sync, up, and has what was committed, so that one log may be damaged. */
bool simfault_all_well(const struct sim *s)
{
	if (s->etcd.now.insync.n_members != (uint32_t)s->n || s->etcd.down)
		return false;
	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (!n->up || n->paused || n->damaged || n->leaving || n->etcd_cut || n->disk_frozen || n->wipe_at_start ||
			n->acc.durable < s->committed_end || !simfault_is_member(s, n))
			return false;
	}
	return true;
}

/* Every member of the set is up and has what was committed, and nobody else is damaged: what this one loses, another has.
 * Who is no member may be anything. With a min_insync of 1 no second copy is promised. */
static bool may_rot(const struct sim *s, const struct simnode *rotten)
{
	const struct rep_insync *set = &s->etcd.now.insync;
	uint32_t members = 0;

	if (s->opts.min_insync < 2)
		return false;
	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (n->damaged || n->wipe_at_start)
			return false;
		if (!simfault_is_member(s, n))
			continue;
		if (!n->up || n->paused || n->leaving || n->disk_frozen || n->acc.durable < s->committed_end)
			return false;
		members++;
	}
	return !s->etcd.down && rotten->up && members == set->n_members && members >= 2;
}

static bool nobody_damaged(const struct sim *s)
{
	for (int i = 0; i < s->n; i++)
		if (s->nodes[i].damaged || s->nodes[i].wipe_at_start)
			return false;
	return !s->etcd.down && s->etcd.now.insync.present;
}

static bool quiet(const struct sim *s)
{
	for (int kind = 0; kind < F_COUNT; kind++)
		for (int i = 0; i < s->n; i++)
			if (s->swarm->active[kind][i])
				return false;
	return simfault_all_well(s);
}

/* Now and then all of the log is rotten; or what was found has been cut off since. */
static bool rot_somewhere(struct sim *s, struct simnode *n)
{
	leash_seq first = n->acc.start, n_records = n->acc.durable + 1 - first;

	if (!may_rot(s, n) || n->node->dormant || n_records == 0 || n->lt->n_damage > 0)
		return false;
	if (sim_chance(s, 0.05)) {
		leash_seq beyond = rep_log_end(simnode_rep(n)) + 1;
		struct rep_event ev = { .kind = REP_EV_DAMAGE, .now_ns = simclock_ns(n), .damage = { beyond, beyond } };

		(void)simnode_enter(s, n->i);
		drv_event(n->node->drv, &ev);
	}
	sim_damage(s, n->name, sim_chance(s, 0.15) ? first : first + sim_below(s, n_records));
	if (n->up && n->lt->n_damage == 1 && sim_chance(s, 0.3)) /* and somewhere else */
		sim_damage(s, n->name, first + sim_below(s, n_records));
	sim_say(s, n->i, "has rot on its disk that is not repaired");
	return true;
}

/* Rot that a reader meets, and that could not be repaired: the node must give its incarnation up; a primary the lead. */
bool simfault_begin_rot(struct sim *s, struct simnode *n, struct simnode *k)
{
	const char *p = sim_primary(s);

	(void)k;
	if (p && sim_chance(s, 0.5))
		n = &s->nodes[sim_index(s, p)];
	return rot_somewhere(s, n);
}

/* Whom the lead is to be handed to loses records in that moment; at times its disk hangs, too. */
bool simfault_rot_heir(struct sim *s, struct simnode *n)
{
	if (!rot_somewhere(s, n))
		return false;
	if (sim_chance(s, 0.5)) {
		(void)simfault_begin_stuck(s, n, NULL);
		simfault_end_later(s, F_STUCK, n->i, 200);
	}
	return true;
}

bool simfault_begin_flip(struct sim *s, struct simnode *n, struct simnode *k)
{
	char what[128];

	(void)k;
	if (!may_rot(s, n) || !simdisk_flip_somewhere(n, what))
		return false;
	sim_say(s, n->i, "has rot on its disk: %s", what);
	return true;
}

bool simfault_begin_cut_file(struct sim *s, struct simnode *n, struct simnode *k)
{
	char what[128];

	(void)k;
	if (!may_rot(s, n) || !simdisk_cut_somewhere(n, what))
		return false;
	sim_say(s, n->i, "has rot on its disk: %s", what);
	return true;
}

/* The lowest position at which @x has another record than was committed there, and nothing committed behind it; 0: none. */
static leash_seq differs_from(const struct sim *s, const struct simnode *x)
{
	leash_seq q = MIN2(x->acc.durable, s->committed_end), low = 0;

	for (; q >= x->acc.start && q > 0 && s->committed[q].set && x->acc.chain[q] != s->committed[q].chain; q--)
		low = q;
	return low;
}

/* Up, a member, no primary: it is to ask others for what it lacks. */
static struct simnode *who_may_rot(struct sim *s, const struct simnode *x, leash_seq at)
{
	const char *p = sim_primary(s);

	for (int k = 1; k < s->n; k++) {
		struct simnode *n = &s->nodes[(x->i + k) % s->n];

		if (may_rot(s, n) && simfault_is_member(s, n) && n->acc.start <= at && n->lt->n_damage == 0 &&
			!(p && sim_index(s, p) == n->i))
			return n;
	}
	return NULL;
}

/* The two see each other and nobody else. */
static void leave_alone(struct sim *s, struct simnode *n, struct simnode *x)
{
	for (int k = 0; k < s->n; k++) {
		struct simnode *other = &s->nodes[k];

		if (other == n || other == x)
			continue;
		sim_cut(s, n->name, other->name);
		sim_cut(s, x->name, other->name);
		simnet_drop(s, n->i, k);
		simnet_drop(s, k, n->i);
	}
	s->cut[n->i][x->i] = s->cut[x->i][n->i] = false;
}

/*
 * Some node has records of an older epoch where others were committed, and has not heard of it yet. Now a member's record
 * there rots, and this node is the first that it can ask (R11: what proves a repair is the chain, whoever gave it).
 */
bool simfault_begin_mislead(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)n, (void)k;
	for (int i = 0; i < s->n && s->n >= 3; i++) {
		struct simnode *x = &s->nodes[i];
		leash_seq first = x->damaged || x->paused || x->wipe_at_start || x->leaving ? 0 : differs_from(s, x);

		n = first ? who_may_rot(s, x, first) : NULL;
		if (!n)
			continue;
		leave_alone(s, n, x);
		sim_say(s, n->i, "has rot on its disk at %" PRIu64 ", where %s has another record", first, x->name);
		sim_rot(s, n->name, first);
		if (!x->up)
			simnode_start(s, i);
		return true;
	}
	return false;
}

bool simfault_begin_wipe(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (s->opts.min_insync < 2 || !simfault_all_well(s) || !simfault_end_process(s, n, SIM_END_POWER))
		return false;
	simdisk_node_wipe(n);
	n->damaged = true; /* until it has everything again */
	n->log_whole = false;
	if (sim_chance(s, 0.4)) { /* with a new machine came a new file */
		n->wrong_conf = 1 + (uint32_t)sim_below(s, SIM_FOREIGN_ETCD - 1);
		sim_say(s, n->i, "is configured wrongly (%u)", n->wrong_conf);
	}
	return true;
}

/* What @n has acknowledged to the primary @p of now, in this epoch. */
static leash_seq acknowledged(struct sim *s, const char *p, const struct simnode *n)
{
	const struct rep_status *st = sim_status(s, p);

	for (uint32_t i = 0; st && i < st->n_peers; i++)
		if (strcmp(st->peers[i].node, n->name) == 0 && st->peers[i].incarnation == n->acc.meta.incarnation)
			return st->peers[i].matched;
	return 0;
}

/* Taken when all is well; put back some time later. Only a primary that had more than the image from it can know (B6). */
bool simfault_begin_image(struct sim *s, struct simnode *n, struct simnode *k)
{
	struct swarm *w = s->swarm;
	const char *p = sim_primary(s);
	leash_id before;
	leash_seq knew;

	(void)k;
	if (!w->image) {
		if (!simfault_all_well(s))
			return false;
		w->image = sim_image(s, n->name);
		w->image_of = n->i;
		return true;
	}
	n = &s->nodes[w->image_of];
	if (!quiet(s) || !p || sim_index(s, p) == n->i || s->n < 3)
		return false;
	w->alone = true;
	w->alone_since_ms = sim_now_ms(s);
	simnode_stop(s, n->i, SIM_END_KILL);
	before = n->acc.meta.incarnation;
	knew = acknowledged(s, p, n);
	sim_restore_image(s, n->name, w->image);
	n->renounced = before == n->acc.meta.incarnation && n->acc.durable < knew ? n->acc.meta.incarnation : 0;
	n->renounced_to = rep_epoch(simnode_rep(&s->nodes[sim_index(s, p)]));
	simfault_end_later(s, F_RESTART, n->i, 20);
	sim_image_free(w->image);
	w->image = NULL;
	return true;
}

/* ----------------------------------------------------------------------------------------------- etcd from a backup */

/* The keys, or all that etcd is; with them at times the disk of a node, which is alone for a while. */
static void lose_everything(struct sim *s, struct simnode *n)
{
	if (s->opts.min_insync >= 2 && s->n >= 3 && simfault_all_well(s) && sim_chance(s, 0.5)) {
		(void)simfault_end_process(s, n, SIM_END_POWER);
		simdisk_node_wipe(n);
		n->damaged = true;
		n->log_whole = false;
		sim_cut(s, n->name, NULL);
		simfault_end_later(s, F_CUT, n->i, 9000);
	}
	if (sim_chance(s, 0.5))
		sim_etcd_wipe(s);
	else
		sim_etcd_lost(s);
}

bool simfault_begin_etcd_restore(struct sim *s, struct simnode *n, struct simnode *k)
{
	struct swarm *w = s->swarm;

	(void)k;
	if (!w->backup && !sim_chance(s, 0.3)) {
		if (!simfault_all_well(s))
			return false;
		w->backup = sim_etcd_backup(s);
		return true;
	}
	if (w->backup ? !quiet(s) : !nobody_damaged(s))
		return false;
	w->alone = true;
	w->alone_since_ms = sim_now_ms(s);
	s->stats.etcd_restores++;
	if (!w->backup) { /* there was none; nobody can lead until the operator comes, whatever else is broken */
		w->recover_ms = sim_now_ms(s) + ETCD_EMPTY_MS;
		lose_everything(s, n);
		return true;
	}
	w->recover_ms = sim_now_ms(s) + ETCD_OLD_MS;
	sim_etcd_restore(s, w->backup);
	s->etcd.now.paused = false; /* settings of that time the operator takes back */
	s->etcd.now.n_drained = 0;
	free(w->backup);
	w->backup = NULL;
	return true;
}

/* As `leash recover` chooses: the highest epoch in which the log matched, then the longest. */
void simfault_recover(struct sim *s)
{
	struct simnode *best = NULL;

	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];
		const struct rep_status *st = sim_status(s, n->name);

		if (!st)
			return; /* the operator waits for all */
		if (n->acc.meta.cluster == 0)
			continue; /* it has no log of any cluster: `leash recover` does not choose it */
		if (!best || st->log_epoch > best->status.log_epoch ||
			(st->log_epoch == best->status.log_epoch && st->log_matched > best->status.log_matched))
			best = n;
	}
	if (!best)
		return; /* they found a cluster without help */
	s->swarm->recover_ms = 0;
	sim_recover(s, best->name);
}

bool simfault_waits_for_recover(struct sim *s)
{
	for (int i = 0; i < s->n; i++) {
		const struct rep_status *st = sim_status(s, s->nodes[i].name);

		if (st && (st->role == REP_ROLE_HALTED || st->state_gone))
			return true;
	}
	return false;
}
