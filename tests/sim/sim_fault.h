/* Between sim_fault.c (when and which), sim_fault_world.c (processes, network, etcd) and sim_fault_disk.c. */
#ifndef LEASH_TESTS_SIM_FAULT_H
#define LEASH_TESTS_SIM_FAULT_H

#include "tests/sim/sim_int.h"

enum fault { F_POWER, F_POWER_ALL, F_KILL, F_PAUSE, F_CUT, F_CUT_PAIR, F_ONE_WAY, F_ETCD_CUT, F_ETCD_DOWN, F_LEASE, F_RESET,
	F_DELAY, F_STUCK, F_SLOW, F_FULL, F_EIO, F_FLIP, F_CUT_FILE, F_WIPE, F_IMAGE, F_HANDOVER, F_DRAIN, F_CLOCK, F_SETTINGS,
	F_ETCD_RESTORE, F_MISLEAD, F_ROT, F_CONF, F_RESTART, F_COUNT };

_Static_assert(F_COUNT == SIM_FAULTS, "sim.h says how many");

struct swarm {
	uint32_t kinds;          /* bit per enum fault */
	uint64_t every_ms;
	uint32_t active[F_COUNT][SIM_NODES_MAX]; /* begun and not ended */
	void *image;
	int image_of;
	void *backup;
	bool alone;              /* something that nothing else may meet is under way */
	uint64_t alone_since_ms, recover_ms; /* when the operator comes; 0: nobody needs him */
};

void simfault_end_later(struct sim *s, enum fault kind, int i, uint64_t max_ms);
bool simfault_end_process(struct sim *s, struct simnode *n, enum sim_end how);
bool simfault_rot_heir(struct sim *s, struct simnode *n);
bool simfault_is_member(const struct sim *s, const struct simnode *n);
bool simfault_all_well(const struct sim *s);
bool simfault_waits_for_recover(struct sim *s); /* somebody says so */
void simfault_recover(struct sim *s);

/* A fault of node @n (and @k) begins: false: not now; and ends. */
bool simfault_begin_power(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_power_all(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_kill(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_pause(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_handover(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_drain(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_clock(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_cut(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_cut_pair(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_one_way(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_reset(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_delay(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_etcd_cut(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_etcd_down(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_lease(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_settings(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_stuck(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_slow(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_full(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_eio(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_flip(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_cut_file(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_wipe(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_image(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_rot(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_conf(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_mislead(struct sim *s, struct simnode *n, struct simnode *k);
bool simfault_begin_etcd_restore(struct sim *s, struct simnode *n, struct simnode *k);
void simfault_end_pause(struct sim *s, struct simnode *n);
void simfault_end_cut(struct sim *s, struct simnode *n);
void simfault_end_delay(struct sim *s, struct simnode *n);
void simfault_end_etcd_cut(struct sim *s, struct simnode *n);
void simfault_end_etcd_down(struct sim *s, struct simnode *n);
void simfault_end_settings(struct sim *s, struct simnode *n);
void simfault_end_stuck(struct sim *s, struct simnode *n);
void simfault_end_slow(struct sim *s, struct simnode *n);
void simfault_end_full(struct sim *s, struct simnode *n);
void simfault_end_restart(struct sim *s, struct simnode *n);

#endif
