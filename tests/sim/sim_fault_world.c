/* Faults of processes, clocks, the network and etcd. */
#include "tests/sim/sim_fault.h"

/* ---------------------------------------------------------------------------------------------------------- processes */

void simfault_end_restart(struct sim *s, struct simnode *n)
{
	if (n->wipe_at_start) {
		n->wipe_at_start = 0;
		simdisk_node_wipe(n);
	}
	if (!n->up)
		simnode_start(s, n->i);
}

/* Somebody edits the file and restarts the node; and again when it has said what is wrong. */
bool simfault_begin_conf(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!s->etcd.now.insync.present)
		return false; /* a founder's mistake would be the cluster's law */
	if (n->damaged || n->wrong_conf || !simfault_end_process(s, n, SIM_END_KILL))
		return false;
	n->wrong_conf = 1 + (uint32_t)sim_below(s, SIM_WRONG_CONFS);
	sim_say(s, n->i, "is configured wrongly (%u)", n->wrong_conf);
	return true;
}

bool simfault_end_process(struct sim *s, struct simnode *n, enum sim_end how)
{
	if (!n->up)
		return false;
	simnode_stop(s, n->i, how);
	simfault_end_later(s, F_RESTART, n->i, sim_chance(s, 0.3) ? 20 : 4000);
	return true;
}

bool simfault_begin_power(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	return simfault_end_process(s, n, SIM_END_POWER);
}

bool simfault_begin_power_all(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)n, (void)k;
	for (int i = 0; i < s->n; i++)
		(void)simfault_end_process(s, &s->nodes[i], SIM_END_POWER);
	return true;
}

bool simfault_begin_kill(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	return simfault_end_process(s, n, SIM_END_KILL);
}

/* It has ended by itself: with an error, which its service manager answers with a restart, or because it was told to. */
void simfault_died(struct sim *s, int i, int exit_status)
{
	struct simnode *n = &s->nodes[i];

	s->stats.failures += exit_status != 0;
	if (exit_status == 78 && !n->wrong_conf)
		sim_broken(s, "%s says that it is configured wrongly", n->name);
	if (!s->swarm)
		return;
	if (exit_status == 65) {
		if (!n->damaged)
			sim_broken(s, "%s says that its data is damaged, and nothing damaged it", n->name);
		n->wipe_at_start = 1; /* the operator reads the message, keeps the evidence, and begins anew */
	}
	if (exit_status == 78 || (exit_status == 1 && n->wrong_conf > 2))
		n->wrong_conf = 0;
	simfault_end_later(s, F_RESTART, i, 1500);
}

bool simfault_begin_pause(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!n->up || n->paused)
		return false;
	sim_pause(s, n->name);
	return true;
}

void simfault_end_pause(struct sim *s, struct simnode *n)
{
	if (n->paused)
		sim_resume(s, n->name);
}

bool simfault_begin_handover(struct sim *s, struct simnode *n, struct simnode *k)
{
	const char *p = sim_primary(s), *to = sim_chance(s, 0.4) ? k->name : NULL;

	if (p && sim_chance(s, 0.8))
		n = &s->nodes[sim_index(s, p)];
	if (!n->up || n->paused)
		return false;
	if (to && k != n && sim_chance(s, 0.1))
		(void)simfault_rot_heir(s, k);
	sim_handover(s, n->name, to && sim_chance(s, 0.1) ? "X" : to, sim_chance(s, 0.3) ? sim_below(s, 50) : 3000);
	if (sim_chance(s, 0.1)) /* and another one at once */
		sim_handover(s, n->name, NULL, 3000);
	return true;
}

bool simfault_begin_drain(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	if (!n->up || n->paused || n->leaving)
		return false;
	simnode_drain(s, n->i);
	return true;
}

bool simfault_begin_clock(struct sim *s, struct simnode *n, struct simnode *k)
{
	double rate;

	(void)k;
	rate = 0.9 + (double)sim_below(s, 2000) / 10000.0;
	/* sometimes the machine was suspended */
	simclock_set(n, rate, sim_chance(s, 0.3) ? sim_below(s, sim_chance(s, 0.2) ? 300000 * MS : 3000 * MS) : 0);
	n->real_off_ns = (int64_t)sim_below(s, 20000000 * MS) - (int64_t)(10000000 * MS);
	sim_say(s, n->i, "has another clock: rate %.4f", n->clock_rate);
	return true;
}

/* ------------------------------------------------------------------------------------------------------------ network */

bool simfault_begin_cut(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_cut(s, n->name, NULL);
	return true;
}

bool simfault_begin_cut_pair(struct sim *s, struct simnode *n, struct simnode *k)
{
	sim_cut(s, n->name, k->name);
	return true;
}

bool simfault_begin_one_way(struct sim *s, struct simnode *n, struct simnode *k)
{
	sim_cut_one_way(s, n->name, k->name);
	sim_say(s, n->i, "is not heard by %s", k->name);
	return true;
}

void simfault_end_cut(struct sim *s, struct simnode *n)
{
	(void)n;
	sim_heal(s);
}

bool simfault_begin_reset(struct sim *s, struct simnode *n, struct simnode *k)
{
	simnet_drop(s, n->i, k->i);
	return true;
}

bool simfault_begin_delay(struct sim *s, struct simnode *n, struct simnode *k)
{
	s->delay_ms[n->i][k->i] = sim_below(s, 400);
	return true;
}

void simfault_end_delay(struct sim *s, struct simnode *n)
{
	(void)n;
	memset(s->delay_ms, 0, sizeof s->delay_ms);
}

/* --------------------------------------------------------------------------------------------------------------- etcd */

bool simfault_begin_etcd_cut(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_cut_etcd(s, n->name, true);
	return true;
}

/* Often more than that one answer is lost; and its connections are not the only ones. */
void simfault_answer_lost(struct sim *s, struct simnode *n)
{
	if (!s->swarming || s->swarm->alone || n->etcd_cut || !sim_chance(s, 0.3))
		return;
	sim_cut_etcd(s, n->name, true);
	simfault_end_later(s, F_ETCD_CUT, n->i, 6000);
	if (sim_chance(s, 0.5)) {
		sim_cut(s, n->name, s->nodes[((uint64_t)n->i + 1 + sim_below(s, (uint64_t)(s->n - 1))) % (uint64_t)s->n].name);
		simfault_end_later(s, F_CUT_PAIR, n->i, 6000);
	}
}

void simfault_end_etcd_cut(struct sim *s, struct simnode *n)
{
	sim_cut_etcd(s, n->name, false);
}

bool simfault_begin_etcd_down(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)n, (void)k;
	if (s->etcd.down)
		return false;
	sim_etcd_down(s, true);
	return true;
}

void simfault_end_etcd_down(struct sim *s, struct simnode *n)
{
	(void)n;
	if (s->etcd.down)
		sim_etcd_down(s, false);
}

bool simfault_begin_lease(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_expire_lease(s, n->name);
	return true;
}

/* An operator's settings: nobody takes over by himself, or this node does not. */
bool simfault_begin_settings(struct sim *s, struct simnode *n, struct simnode *k)
{
	(void)k;
	sim_settings(s, sim_chance(s, 0.5), n->name);
	return true;
}

void simfault_end_settings(struct sim *s, struct simnode *n)
{
	(void)n;
	sim_settings(s, false, NULL);
}
