/*
 * Random faults. Which kinds, and how often, is drawn once per seed ("swarm testing", Groce et al. 2012): runs with few
 * kinds reach states that runs with all of them never do.
 *
 * Bounds. What takes from a disk what had been synced (flipped bits, cut files, a replaced disk, an image) strikes one
 * node at a time, while everybody is up and in sync, and the next one not before that node is whole again. An image and a
 * restored etcd are an operator's deeds, done while all is well, and nothing else happens until they have healed: a
 * restored secondary whose primary dies before it has spoken to it would know of nothing that it lacks (B6).
 */
#include "tests/sim/sim_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum fault { F_POWER, F_POWER_ALL, F_KILL, F_PAUSE, F_CUT, F_CUT_PAIR, F_ONE_WAY, F_ETCD_CUT, F_ETCD_DOWN, F_LEASE, F_RESET,
	F_DELAY, F_STUCK, F_SLOW, F_FULL, F_EIO, F_FLIP, F_CUT_FILE, F_WIPE, F_IMAGE, F_HANDOVER, F_DRAIN, F_CLOCK, F_SETTINGS,
	F_ETCD_RESTORE, F_RESTART, F_COUNT };

_Static_assert(F_COUNT == SIM_FAULTS, "sim.h says how many");

struct swarm {
	uint32_t kinds;          /* bit per enum fault */
	uint64_t every_ms;
	uint32_t active[F_COUNT][SIM_NODES_MAX]; /* begun and not ended */
	void *image;
	int image_of;
	void *backup;
	bool alone;              /* something that nothing else may meet is under way */
	uint64_t alone_since_ms, restored_ms;
};

struct kind {
	const char *name;
	bool (*begin)(struct sim *s, struct simnode *n, struct simnode *other); /* false: not now */
	void (*end)(struct sim *s, struct simnode *n);                          /* NULL: ends by itself */
	uint64_t max_ms;
};

static void end_later(struct sim *s, enum fault kind, int i, uint64_t max_ms)
{
	(void)sim_timer(s, (20 + sim_below(s, max_ms)) * MS, T_FAULT_ENDS, i, (int)kind);
	s->swarm->active[kind][i]++;
}

/* ---------------------------------------------------------------------------------------------------------- processes */

static void restart(struct sim *s, struct simnode *n)
{
	if (n->wipe_at_start) {
		n->wipe_at_start = 0;
		simdisk_node_wipe(n);
	}
	if (!n->up)
		simnode_start(s, n->i);
}

static bool end_process(struct sim *s, struct simnode *n, enum sim_end how)
{
	if (!n->up)
		return false;
	simnode_stop(s, n->i, how);
	end_later(s, F_RESTART, n->i, sim_chance(s, 0.3) ? 20 : 4000);
	return true;
}

static bool begin_power(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	return end_process(s, n, SIM_END_POWER);
}

static bool begin_power_all(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)n, (void)k;
	for (int i = 0; i < s->n; i++)
		(void)end_process(s, &s->nodes[i], SIM_END_POWER);
	return true;
}

static bool begin_kill(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	return end_process(s, n, SIM_END_KILL);
}

/* It has ended by itself: with an error, which its service manager answers with a restart, or because it was told to. */
void simfault_died(struct sim *s, int i, int exit_status)
{
	struct simnode *n = &s->nodes[i];

	s->stats.failures += exit_status != 0;
	if (exit_status == 78)
		sim_broken(s, "%s says that it is configured wrongly", n->name);
	if (!s->swarm)
		return;
	if (exit_status == 65) {
		if (!n->damaged)
			sim_broken(s, "%s says that its data is damaged, and nothing damaged it", n->name);
		n->wipe_at_start = 1; /* the operator reads the message, keeps the evidence, and begins anew */
	}
	end_later(s, F_RESTART, i, 1500);
}

static bool begin_pause(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!n->up || n->paused)
		return false;
	sim_pause(s, n->name);
	return true;
}

static void end_pause(struct sim *s, struct simnode *n)
{
	if (n->paused)
		sim_resume(s, n->name);
}

static bool begin_handover(struct sim *s, struct simnode *n, struct simnode *k)
{
	const char *p = sim_primary(s);

	(void)k;
	if (p && sim_chance(s, 0.8))
		n = &s->nodes[sim_index(s, p)];
	if (!n->up || n->paused)
		return false;
	sim_handover(s, n->name, NULL);
	return true;
}

static bool begin_drain(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!n->up || n->paused || n->leaving)
		return false;
	simnode_drain(s, n->i);
	return true;
}

static bool begin_clock(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	simclock_set(n, 0.9 + (double)sim_below(s, 2000) / 10000.0, sim_chance(s, 0.3) ? sim_below(s, 3000 * MS) : 0);
	n->real_off_ns = (int64_t)sim_below(s, 20000000 * MS) - (int64_t)(10000000 * MS);
	sim_say(s, n->i, "has another clock: rate %.4f", n->clock_rate);
	return true;
}

/* ------------------------------------------------------------------------------------------------------------ network */

static bool begin_cut(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_cut(s, n->name, NULL);
	return true;
}

static bool begin_cut_pair(struct sim *s, struct simnode *n, struct simnode *k)
{
	sim_cut(s, n->name, k->name);
	return true;
}

static bool begin_one_way(struct sim *s, struct simnode *n, struct simnode *k)
{
	sim_cut_one_way(s, n->name, k->name);
	sim_say(s, n->i, "is not heard by %s", k->name);
	return true;
}

static void end_cut(struct sim *s, struct simnode *n)
{
	(void)n;
	sim_heal(s);
}

static bool begin_reset(struct sim *s, struct simnode *n, struct simnode *k)
{
	simnet_drop(s, n->i, k->i);
	return true;
}

static bool begin_delay(struct sim *s, struct simnode *n, struct simnode *k)
{
	s->delay_ms[n->i][k->i] = sim_below(s, 400);
	return true;
}

static void end_delay(struct sim *s, struct simnode *n)
{
	(void)n;
	memset(s->delay_ms, 0, sizeof s->delay_ms);
}

/* --------------------------------------------------------------------------------------------------------------- etcd */

static bool begin_etcd_cut(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_cut_etcd(s, n->name, true);
	return true;
}

static void end_etcd_cut(struct sim *s, struct simnode *n)
{
	sim_cut_etcd(s, n->name, false);
}

static bool begin_etcd_down(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)n, (void)k;
	if (s->etcd.down)
		return false;
	sim_etcd_down(s, true);
	return true;
}

static void end_etcd_down(struct sim *s, struct simnode *n)
{
	(void)n;
	if (s->etcd.down)
		sim_etcd_down(s, false);
}

static bool begin_lease(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_expire_lease(s, n->name);
	return true;
}

/* An operator's settings: nobody takes over by himself, or this node does not. */
static bool begin_settings(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_settings(s, sim_chance(s, 0.5), n->name);
	return true;
}

static void end_settings(struct sim *s, struct simnode *n)
{
	(void)n;
	sim_settings(s, false, NULL);
}

/* --------------------------------------------------------------------------------------------------------------- disks */

static bool begin_stuck(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_freeze_disk(s, n->name, true);
	sim_say(s, n->i, "has a disk that hangs");
	return true;
}

static void end_stuck(struct sim *s, struct simnode *n)
{
	sim_freeze_disk(s, n->name, false);
}

static bool begin_slow(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	n->slow_disk = 10 + (uint32_t)sim_below(s, 300);
	return true;
}

static void end_slow(struct sim *s, struct simnode *n)
{
	(void)s;
	n->slow_disk = 0;
}

static bool begin_full(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	simdisk_capacity(n->disk, simdisk_used(n->disk) + sim_below(s, 2 * s->opts.segment_bytes) + 1);
	sim_say(s, n->i, "has little room on its disk");
	return true;
}

static void end_full(struct sim *s, struct simnode *n)
{
	(void)s;
	simdisk_capacity(n->disk, 0);
}

static bool begin_eio(struct sim *s, struct simnode *n, struct simnode *k)
{
	static const unsigned masks[] = { SIMDISK_BIT(SIMDISK_WRITE), SIMDISK_BIT(SIMDISK_SYNC),
		SIMDISK_BIT(SIMDISK_WRITE) | SIMDISK_BIT(SIMDISK_SYNC) | SIMDISK_BIT(SIMDISK_SYNC_DIR) };

	(void)k;
	simdisk_fault(n->disk, masks[sim_below(s, ARRAY_SIZE(masks))], sim_below(s, 6), -EIO, false);
	sim_say(s, n->i, "has a disk that will fail");
	return true;
}

static bool is_member(const struct sim *s, const struct simnode *n)
{
	const struct rep_insync *set = &s->etcd.now.insync;

	for (uint32_t i = 0; i < set->n_members; i++)
		if (strcmp(set->members[i].node, n->name) == 0 && set->members[i].incarnation == n->acc.meta.incarnation)
			return true;
	return false;
}

/* Everybody is in sync, up, and has what was committed, so that one log may be damaged. */
static bool all_well(const struct sim *s)
{
	if (s->etcd.now.insync.n_members != (uint32_t)s->n || s->etcd.down)
		return false;
	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (!n->up || n->paused || n->damaged || n->leaving || n->etcd_cut || n->disk_frozen || n->wipe_at_start ||
			n->acc.durable < s->committed_end || !is_member(s, n))
			return false;
	}
	return true;
}

static bool quiet(const struct sim *s)
{
	for (int kind = 0; kind < F_COUNT; kind++)
		for (int i = 0; i < s->n; i++)
			if (s->swarm->active[kind][i])
				return false;
	return all_well(s);
}

static bool begin_flip(struct sim *s, struct simnode *n, struct simnode *k)
{
	char what[128];

	(void)k;
	if (!all_well(s) || !simdisk_flip_somewhere(n, what))
		return false;
	sim_say(s, n->i, "has rot on its disk: %s", what);
	return true;
}

static bool begin_cut_file(struct sim *s, struct simnode *n, struct simnode *k)
{
	char what[128];

	(void)k;
	if (!all_well(s) || !simdisk_cut_somewhere(n, what))
		return false;
	sim_say(s, n->i, "has rot on its disk: %s", what);
	return true;
}

static bool begin_wipe(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!all_well(s) || !end_process(s, n, SIM_END_POWER))
		return false;
	simdisk_node_wipe(n);
	n->damaged = true; /* until it has everything again */
	n->log_whole = false;
	return true;
}

/* Taken when all is well; put back some time later. */
static bool begin_image(struct sim *s, struct simnode *n, struct simnode *k)
{
	struct swarm *w = s->swarm;
	const char *p = sim_primary(s);

	(void)k;
	if (!w->image) {
		if (!all_well(s))
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
	sim_restore_image(s, n->name, w->image);
	end_later(s, F_RESTART, n->i, 20);
	sim_image_free(w->image);
	w->image = NULL;
	return true;
}

/* ----------------------------------------------------------------------------------------------- etcd from a backup */

static bool begin_etcd_restore(struct sim *s, struct simnode *n, struct simnode *k)
{
	struct swarm *w = s->swarm;

	(void)n, (void)k;
	if (!w->backup) {
		if (!all_well(s))
			return false;
		w->backup = sim_etcd_backup(s);
		return true;
	}
	if (!quiet(s))
		return false;
	w->alone = true;
	w->alone_since_ms = w->restored_ms = sim_now_ms(s);
	s->stats.etcd_restores++;
	sim_etcd_restore(s, w->backup);
	free(w->backup);
	w->backup = NULL;
	return true;
}

/* As `leash recover` chooses: the highest epoch in which the log matched, then the longest. */
static void recover(struct sim *s)
{
	struct simnode *best = NULL;

	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];
		const struct rep_status *st = sim_status(s, n->name);

		if (!st)
			return; /* the operator waits for all */
		if (!best || st->log_epoch > best->status.log_epoch ||
			(st->log_epoch == best->status.log_epoch && st->log_matched > best->status.log_matched))
			best = n;
	}
	s->swarm->restored_ms = 0;
	sim_recover(s, best->name);
}

static bool someone_halted(const struct sim *s)
{
	for (int i = 0; i < s->n; i++)
		if (s->nodes[i].up && rep_role(simnode_rep(&s->nodes[i])) == REP_ROLE_HALTED)
			return true;
	return false;
}

/* ---------------------------------------------------------------------------------------------------------------- all */

static void end_restart(struct sim *s, struct simnode *n) { restart(s, n); }

static const struct kind kinds[F_COUNT] = {
	[F_POWER] = { "power loss", begin_power, NULL, 0 },
	[F_POWER_ALL] = { "power loss of all", begin_power_all, NULL, 0 },
	[F_KILL] = { "kill", begin_kill, NULL, 0 },
	[F_PAUSE] = { "pause", begin_pause, end_pause, 8000 },
	[F_CUT] = { "partition", begin_cut, end_cut, 5000 },
	[F_CUT_PAIR] = { "partition of a pair", begin_cut_pair, end_cut, 5000 },
	[F_ONE_WAY] = { "one-way partition", begin_one_way, end_cut, 5000 },
	[F_ETCD_CUT] = { "partition from etcd", begin_etcd_cut, end_etcd_cut, 9000 },
	[F_ETCD_DOWN] = { "etcd down", begin_etcd_down, end_etcd_down, 9000 },
	[F_LEASE] = { "lease lost", begin_lease, NULL, 0 },
	[F_RESET] = { "connection reset", begin_reset, NULL, 0 },
	[F_DELAY] = { "slow link", begin_delay, end_delay, 3000 },
	[F_STUCK] = { "stuck disk", begin_stuck, end_stuck, 5000 },
	[F_SLOW] = { "slow disk", begin_slow, end_slow, 5000 },
	[F_FULL] = { "full disk", begin_full, end_full, 6000 },
	[F_EIO] = { "write or sync error", begin_eio, NULL, 0 },
	[F_FLIP] = { "flipped bit", begin_flip, NULL, 0 },
	[F_CUT_FILE] = { "cut file", begin_cut_file, NULL, 0 },
	[F_WIPE] = { "disk replaced", begin_wipe, NULL, 0 },
	[F_IMAGE] = { "directory from an image", begin_image, NULL, 0 },
	[F_HANDOVER] = { "hand-over", begin_handover, NULL, 0 },
	[F_DRAIN] = { "graceful stop", begin_drain, NULL, 0 },
	[F_CLOCK] = { "clock", begin_clock, NULL, 0 },
	[F_SETTINGS] = { "paused or drained", begin_settings, end_settings, 4000 },
	[F_ETCD_RESTORE] = { "etcd from a backup", begin_etcd_restore, NULL, 0 },
	[F_RESTART] = { "restart", NULL, end_restart, 0 },
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
		end_later(s, kind, n->i, kinds[kind].max_ms);
}

/* Is what was damaged whole again? Then it may strike once more. */
static void look_after_damage(struct sim *s)
{
	struct swarm *w = s->swarm;
	bool well = true;

	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		if (n->damaged && n->up && is_member(s, n) && n->acc.durable >= s->committed_end) {
			n->log_whole = simdisk_log_whole(n);
			n->damaged = !n->log_whole || !simdisk_meta_whole(n);
			n->acc.tampered &= n->damaged;
			if (!n->damaged)
				sim_say(s, i, "is whole again");
		}
		well &= !n->damaged;
	}
	if (w->restored_ms && sim_now_ms(s) > w->restored_ms + 12000) {
		if (someone_halted(s))
			recover(s);
		else
			w->restored_ms = 0; /* it was no news to anybody */
	}
	if (w->alone && !w->restored_ms && well && all_well(s) && sim_now_ms(s) > w->alone_since_ms + 3000)
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
	if (sim_chance(s, 0.8))
		w->kinds &= ~(1u << F_ETCD_RESTORE);
	if (w->kinds == 0)
		w->kinds = 1u << F_POWER;
	w->every_ms = 200 + sim_below(s, 4000);
	s->p_lost_request = sim_chance(s, 0.5) ? 0.05 : 0;
	s->p_lost_answer = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_late = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_stale = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_again = sim_chance(s, 0.3) ? 0.02 : 0;
	(void)sim_timer(s, 0, T_SWARM, 0, 0);
	(void)sim_timer(s, 0, T_PEEK, 0, 0);
}

/* Everything heals; what has ended already does not mind. What was killed comes back in its own time. */
void simfault_end_all(struct sim *s)
{
	struct swarm *w = s->swarm;

	s->swarming = false;
	s->p_again = 0;
	for (int i = 0; i < s->n; i++) {
		struct simnode *n = &s->nodes[i];

		for (int kind = 0; kind < F_RESTART; kind++)
			if (kinds[kind].end && w->active[kind][i])
				kinds[kind].end(s, n);
		if (!simdisk_fault_hit(n->disk))
			simdisk_fault_clear(n->disk);
		n->clock_rate = 1.0;
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
