/*
 * Random faults. Which kinds, and how often, is drawn once per seed ("swarm testing", Groce et al. 2012): runs with few
 * kinds reach states that runs with all of them never do.
 *
 * Bounds. What takes from a disk what had been synced strikes one node at a time, and the next one not before that node
 * is whole again: flipped bits and cut files while all members of the in-sync set are up; a replaced disk and an image while
 * everybody is up and in sync. For rot and replaced disks min_insync is not 1: the set could shrink to the one that is
 * struck, by a change that is on its way already. An image and an etcd from a backup are an operator's deeds, done while all
 * is well, and nothing else happens until they have healed: a restored secondary whose primary dies before it has spoken to
 * it would know of nothing that it lacks (B6). An etcd that lost everything may meet any state; with it a disk is replaced
 * only when all is well.
 */
#include "tests/sim/sim_fault.h"

#define FAR_MS 150

struct kind {
	const char *name;
	bool (*begin)(struct sim *s, struct simnode *n, struct simnode *other); /* false: not now */
	void (*end)(struct sim *s, struct simnode *n);                          /* NULL: ends by itself */
	uint64_t max_ms;
};

void simfault_end_later(struct sim *s, enum fault kind, int i, uint64_t max_ms)
{
	(void)sim_timer(s, (20 + sim_below(s, max_ms)) * MS, T_FAULT_ENDS, i, (int)kind);
	s->swarm->active[kind][i]++;
}

/* ---------------------------------------------------------------------------------------------------------------- all */

static const struct kind kinds[F_COUNT] = {
	[F_POWER] = { "power loss", simfault_begin_power, NULL, 0 },
	[F_POWER_ALL] = { "power loss of all", simfault_begin_power_all, NULL, 0 },
	[F_KILL] = { "kill", simfault_begin_kill, NULL, 0 },
	[F_PAUSE] = { "pause", simfault_begin_pause, simfault_end_pause, 8000 },
	[F_CUT] = { "partition", simfault_begin_cut, simfault_end_cut, 5000 },
	[F_CUT_PAIR] = { "partition of a pair", simfault_begin_cut_pair, simfault_end_cut, 5000 },
	[F_ONE_WAY] = { "one-way partition", simfault_begin_one_way, simfault_end_cut, 5000 },
	[F_ETCD_CUT] = { "partition from etcd", simfault_begin_etcd_cut, simfault_end_etcd_cut, 9000 },
	[F_ETCD_DOWN] = { "etcd down", simfault_begin_etcd_down, simfault_end_etcd_down, 9000 },
	[F_LEASE] = { "lease lost", simfault_begin_lease, NULL, 0 },
	[F_RESET] = { "connection reset", simfault_begin_reset, NULL, 0 },
	[F_DELAY] = { "slow link", simfault_begin_delay, simfault_end_delay, 3000 },
	[F_STUCK] = { "stuck disk", simfault_begin_stuck, simfault_end_stuck, 5000 },
	[F_SLOW] = { "slow disk", simfault_begin_slow, simfault_end_slow, 5000 },
	[F_FULL] = { "full disk", simfault_begin_full, simfault_end_full, 6000 },
	[F_EIO] = { "write or sync error", simfault_begin_eio, NULL, 0 },
	[F_FLIP] = { "flipped bit", simfault_begin_flip, NULL, 0 },
	[F_CUT_FILE] = { "cut file", simfault_begin_cut_file, NULL, 0 },
	[F_WIPE] = { "disk replaced", simfault_begin_wipe, NULL, 0 },
	[F_IMAGE] = { "directory from an image", simfault_begin_image, NULL, 0 },
	[F_HANDOVER] = { "hand-over", simfault_begin_handover, NULL, 0 },
	[F_DRAIN] = { "graceful stop", simfault_begin_drain, NULL, 0 },
	[F_CLOCK] = { "clock", simfault_begin_clock, NULL, 0 },
	[F_SETTINGS] = { "paused or drained", simfault_begin_settings, simfault_end_settings, 4000 },
	[F_ETCD_RESTORE] = { "etcd from a backup, or empty", simfault_begin_etcd_restore, NULL, 0 },
	[F_MISLEAD] = { "rot, and who has other records", simfault_begin_mislead, simfault_end_cut, 5000 },
	[F_ROT] = { "rot that cannot be repaired", simfault_begin_rot, NULL, 0 },
	[F_CONF] = { "wrong configuration", simfault_begin_conf, NULL, 0 },
	[F_RESTART] = { "restart", NULL, simfault_end_restart, 0 },
};

const char *sim_fault_name(int kind)
{
	return kinds[kind].name;
}

static void begin(struct sim *s, enum fault kind)
{
	struct simnode *n = &s->nodes[sim_below(s, (uint64_t)s->n)];
	struct simnode *other = &s->nodes[((uint64_t)n->i + 1 + sim_below(s, (uint64_t)(s->n - 1))) % (uint64_t)s->n];

	if (s->opts.max_faults && s->stats.faults + 1 >= s->opts.max_faults)
		return;
	if (!kinds[kind].begin(s, n, other))
		return;
	s->stats.faults++;
	s->stats.kinds[kind]++;
	if (kinds[kind].end)
		simfault_end_later(s, kind, n->i, kinds[kind].max_ms);
}

/* Is what was damaged whole again? Then it may strike once more. */
static void look_after_damage(struct sim *s)
{
	struct swarm *w = s->swarm;
	bool well = true;

	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		if (n->damaged && n->up && !n->node->dormant && simfault_is_member(s, n) &&
			n->acc.durable >= s->committed_end) {
			n->log_whole = simdisk_log_whole(n);
			n->damaged = !n->log_whole || !simdisk_meta_whole(n);
			n->acc.tampered &= n->damaged;
			if (!n->damaged)
				sim_say(s, i, "is whole again");
			if (!n->damaged && n->renounced && n->renounced == n->acc.meta.incarnation &&
				rep_epoch(simnode_rep(n)) == n->renounced_to)
				sim_broken(s, "%s lost what it had acknowledged, and goes on under the same incarnation", n->name);
		}
		well &= !n->damaged;
	}
	if (w->recover_ms && sim_now_ms(s) > w->recover_ms) {
		if (simfault_waits_for_recover(s))
			simfault_recover(s);
		else
			w->recover_ms = 0; /* it was no news to anybody */
	}
	if (w->alone && !w->recover_ms && well && simfault_all_well(s) && sim_now_ms(s) > w->alone_since_ms + 3000)
		w->alone = false;
}

/* One of those that the seed has chosen. */
static enum fault choose(struct sim *s)
{
	uint32_t mask = s->swarm->kinds;
	uint64_t k = sim_below(s, (uint64_t)__builtin_popcount(mask));

	for (; k > 0; k--)
		mask &= mask - 1;
	return (enum fault)__builtin_ctz(mask);
}

void simfault_timer(struct sim *s, struct timer *t)
{
	struct swarm *w = s->swarm;

	if (t->kind == T_PEEK) {
		simreader_peek(s);
		(void)sim_timer(s, (20 + sim_below(s, 400)) * MS, T_PEEK, 0, 0);
		return;
	}
	if (t->kind == T_FAULT_ENDS) {
		w->active[t->b][t->a]--;
		kinds[t->b].end(s, &s->nodes[t->a]);
		return;
	}
	look_after_damage(s);
	if (s->swarming && !w->alone)
		begin(s, choose(s));
	if (s->swarming && !w->alone && w->kinds & (1u << F_MISLEAD))
		begin(s, F_MISLEAD); /* whenever there is an occasion, for they are rare */
	(void)sim_timer(s, (1 + sim_below(s, s->swarming ? w->every_ms : 500)) * MS, T_SWARM, 0, 0);
}

void simfault_begin(struct sim *s)
{
	struct swarm *w = s->swarm = calloc(1, sizeof *w);

	must(w);
	s->swarming = true;
	w->kinds = (uint32_t)sim_rand(s) & ((1u << F_RESTART) - 1);
	if (sim_chance(s, 0.5))
		w->kinds &= (uint32_t)sim_rand(s);
	if (sim_chance(s, 0.7))
		w->kinds &= ~(1u << F_ETCD_RESTORE);
	if (w->kinds == 0)
		w->kinds = 1u << F_POWER;
	w->every_ms = 200 + sim_below(s, 4000);
	s->p_lost_request = sim_chance(s, 0.5) ? 0.05 : 0;
	s->p_lost_answer = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_late = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_stale = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_again = sim_chance(s, 0.3) ? 0.02 : 0;
	s->p_odd = sim_chance(s, 0.3) ? 0.003 : 0;
	for (int i = 0, far = sim_chance(s, 0.4); far && i < s->n; i++)
		for (int k = 0; k < s->n; k++)
			s->far_ms[i][k] = sim_chance(s, 0.5) ? 0 : sim_below(s, FAR_MS); /* some hear of things long before others */
	(void)sim_timer(s, 0, T_SWARM, 0, 0);
	(void)sim_timer(s, 0, T_PEEK, 0, 0);
}

/* Everything heals; what has ended already does not mind. What was killed comes back in its own time. */
void simfault_end_all(struct sim *s)
{
	struct swarm *w = s->swarm;

	s->swarming = false;
	s->p_again = s->p_odd = 0;
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		for (int kind = 0; kind < F_RESTART; kind++)
			if (kinds[kind].end && w->active[kind][i])
				kinds[kind].end(s, n);
		if (!simdisk_fault_hit(n->disk))
			simdisk_fault_clear(n->disk);
		simclock_set(n, 1.0, 0);
	}
	sim_say(s, -1, "everything heals");
}

void simfault_free(struct sim *s)
{
	if (!s->swarm)
		return;
	sim_image_free(s->swarm->image);
	free(s->swarm->backup);
	free(s->swarm);
}
