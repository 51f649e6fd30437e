/*
 * Random faults. Which kinds, and how often, is drawn once per seed ("swarm testing", Groce et al. 2012): runs with few
 * kinds reach states that runs with all of them never do.
 */
#include "tests/sim/sim_int.h"

#include <stdio.h>

enum { SW_CRASH, SW_PAUSE, SW_CUT, SW_ONE_WAY, SW_ETCD_CUT, SW_ETCD_DOWN, SW_LEASE, SW_RESET, SW_DELAY, SW_DISK, SW_HANDOVER,
	SW_DAMAGE, SW_KINDS };

static uint32_t swarm_kinds; /* of the running seed; one simulation at a time */

static int up_nodes(const struct sim *s)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
		n += s->nodes[i].up;
	return n;
}

static bool is_member(const struct rep_insync *set, const struct simnode *n)
{
	for (uint32_t i = 0; i < set->n_members; i++)
		if (set->members[i].incarnation == n->disk.meta.incarnation)
			return true;
	return false;
}

/* Everybody is in sync, up, and has what was committed, so that one log may be damaged: more than one at a time can be
 * too much for any cluster. */
static bool may_damage(const struct sim *s)
{
	const struct rep_insync *set = &s->etcd.now.insync;

	if (set->n_members != (uint32_t)s->n || up_nodes(s) != s->n)
		return false;
	for (int i = 0; i < s->n; i++) {
		const struct simnode *n = &s->nodes[i];

		if (n->damage_first || n->paused || n->disk.synced < s->committed_end ||
			!is_member(set, n))
			return false;
	}
	return true;
}

static void end_later(struct sim *s, int kind, int node, uint64_t max_ms)
{
	struct timer *t = sim_timer(s, (20 + sim_below(s, max_ms)) * MS, T_SWARM, node, 1 + kind);

	(void)t;
}

static void begin(struct sim *s, int kind, int i)
{
	struct simnode *n = &s->nodes[i];
	int k = (i + 1 + (int)sim_below(s, (uint64_t)(s->n - 1))) % s->n;

	s->stats.faults++;
	switch (kind) {
	case SW_CRASH:
		if (!n->up)
			return;
		simnode_stop(s, i);
		end_later(s, kind, i, sim_chance(s, 0.3) ? 20 : 4000);
		if (sim_chance(s, 0.1)) /* all at once */
			for (int j = 0; j < s->n; j++)
				if (s->nodes[j].up) {
					simnode_stop(s, j);
					end_later(s, kind, j, 1000);
				}
		break;
	case SW_PAUSE:
		if (!n->up || n->paused)
			return;
		sim_pause(s, n->name);
		end_later(s, kind, i, 8000);
		break;
	case SW_CUT:
		sim_cut(s, n->name, sim_chance(s, 0.5) ? NULL : s->nodes[k].name);
		end_later(s, kind, i, 5000);
		break;
	case SW_ONE_WAY:
		sim_cut_one_way(s, n->name, s->nodes[k].name);
		sim_say(s, i, "is not heard by %s", s->nodes[k].name);
		end_later(s, kind, i, 5000);
		break;
	case SW_ETCD_CUT:
		sim_cut_etcd(s, n->name, true);
		end_later(s, kind, i, 9000);
		break;
	case SW_ETCD_DOWN:
		if (s->etcd.down)
			return;
		sim_etcd_down(s, true);
		end_later(s, kind, i, 9000);
		break;
	case SW_LEASE: sim_expire_lease(s, n->name); break;
	case SW_RESET: simnet_drop(s, i, k); break;
	case SW_DELAY:
		s->delay_ms[i][k] = sim_below(s, 400);
		end_later(s, kind, i, 3000);
		break;
	case SW_DISK:
		sim_freeze_disk(s, n->name, true);
		end_later(s, kind, i, 4000);
		break;
	case SW_HANDOVER:
		if (n->up && !n->paused)
			sim_handover(s, n->name, NULL);
		break;
	case SW_DAMAGE:
		if (may_damage(s) && n->disk.end >= n->disk.start)
			sim_damage(s, n->name, n->disk.end - sim_below(s, n->disk.end + 1 - n->disk.start));
		break;
	default: break;
	}
}

static void end(struct sim *s, int kind, int i)
{
	struct simnode *n = &s->nodes[i];

	switch (kind) {
	case SW_CRASH:
		if (!n->up)
			simnode_start(s, i);
		break;
	case SW_PAUSE:
		if (n->paused)
			sim_resume(s, n->name);
		break;
	case SW_CUT:
	case SW_ONE_WAY: sim_heal(s); break;
	case SW_ETCD_CUT: sim_cut_etcd(s, n->name, false); break;
	case SW_ETCD_DOWN:
		if (s->etcd.down)
			sim_etcd_down(s, false);
		break;
	case SW_DELAY: memset(s->delay_ms, 0, sizeof s->delay_ms); break;
	case SW_DISK: sim_freeze_disk(s, n->name, false); break;
	default: break;
	}
}

void simswarm_timer(struct sim *s, struct timer *t)
{
	int kind;

	if (t->b > 0) {
		end(s, t->b - 1, t->a);
		return;
	}
	if (!s->swarming)
		return;
	kind = (int)sim_below(s, SW_KINDS);
	if (swarm_kinds & (1u << kind))
		begin(s, kind, (int)sim_below(s, (uint64_t)s->n));
	(void)sim_timer(s, (1 + sim_below(s, s->fault_every_ms)) * MS, T_SWARM, 0, 0);
}

static void heal_everything(struct sim *s)
{
	s->swarming = false;
	sim_heal(s);
	memset(s->delay_ms, 0, sizeof s->delay_ms);
	if (s->etcd.down)
		sim_etcd_down(s, false);
	for (int i = 0; i < s->n; i++) {
		s->nodes[i].etcd_cut = false;
		if (s->nodes[i].paused)
			sim_resume(s, s->nodes[i].name);
		sim_freeze_disk(s, s->nodes[i].name, false);
		if (!s->nodes[i].up)
			simnode_start(s, i);
	}
}

static bool at_rest(struct sim *s)
{
	for (int k = 0; k < s->n_ops; k++)
		if (!s->ops[k].answered && !s->ops[k].once)
			return false;
	for (int i = 0; i < s->n; i++)
		if (!s->nodes[i].up || rep_commit(s->nodes[i].rep) < s->committed_end ||
			rep_commit(s->nodes[i].rep) != rep_log_end(s->nodes[i].rep))
			return false;
	return s->etcd.now.insync.n_members == (uint32_t)s->n && sim_logs_equal(s);
}

struct sim_swarm_stats sim_swarm(struct sim *s, uint64_t ms)
{
	uint64_t end_ms = sim_now_ms(s) + ms;
	int k = 0;

	s->swarming = true;
	swarm_kinds = (uint32_t)sim_rand(s);
	s->fault_every_ms = 200 + sim_below(s, 4000);
	s->p_lost_request = sim_chance(s, 0.5) ? 0.05 : 0;
	s->p_lost_answer = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_late = sim_chance(s, 0.5) ? 0.1 : 0;
	s->p_stale = sim_chance(s, 0.5) ? 0.1 : 0;
	(void)sim_timer(s, 0, T_SWARM, 0, 0);
	while (sim_now_ms(s) < end_ms) {
		char id[24], value[24];

		if (s->n_ops < SIM_OPS_MAX && up_nodes(s)) {
			(void)snprintf(id, sizeof id, "p%d/%d", (int)sim_below(s, 4), k);
			(void)snprintf(value, sizeof value, "v%d", k++);
			(void)sim_append(s, NULL, id, value);
		}
		sim_run(s, 1 + sim_below(s, 150));
	}
	heal_everything(s);
	/* What was begun may still end in its own time (restarts, heals): 15 s, and then 60 s to come to rest. */
	if (!sim_run_until(s, at_rest, 75000))
		sim_say(s, -1, "not at rest");
	if (!at_rest(s)) {
		for (int i = 0; i < s->n; i++) {
			const struct rep_status *st = sim_status(s, s->nodes[i].name);

			sim_say(s, i, "%s epoch %lu end %lu commit %lu durable %lu", st ? rep_role_name(st->role) : "down",
				st ? st->epoch : 0, st ? st->log_end : 0, st ? st->commit : 0, st ? st->durable : 0);
		}
		sim_broken(s, "no progress after everything has healed");
	}
	simcheck_rest(s);
	return s->stats;
}
