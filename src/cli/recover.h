/*
 * What `leash recover` decides (R9): which of the logs that are left the cluster goes on with. Pure.
 *
 * The order is by *log epoch*, the epoch in which a log last matched its primary's: a record that was acknowledged in
 * an epoch is in the log of every member of that epoch, so the log of the highest epoch has everything that was ever
 * acknowledged, up to its matched length. Among equals the longest wins. "Longest log" alone can drop acknowledged
 * records: a former primary may have a long tail that nobody acknowledged.
 */
#ifndef LEASH_CLI_RECOVER_H
#define LEASH_CLI_RECOVER_H

#include "base/cluster.h"
#include "base/util.h"

/* One log that was heard of: of a running node, or of a data directory. */
struct recover_log {
	char node[LEASH_NAME_MAX + 1];
	leash_id cluster, incarnation; /* cluster 0: virgin */
	leash_epoch promise, epoch;    /* promised, and led or followed */
	leash_epoch log_epoch, last_epoch; /* last_epoch: of its last record; 0 = it is empty */
	leash_seq log_matched, log_end;
	uint64_t insync_version, recovery, dedup_window;
	uint32_t min_insync;
	bool damaged;
};

/* How much of a log counts: all of it if its last record is of the log epoch, else what matched (the rest is an
 * unacknowledged tail of an older epoch). */
leash_seq recover_length(const struct recover_log *l);

enum recover_error {
	RECOVER_E_NONE = 1, /* no log belongs to a cluster */
	RECOVER_E_CLUSTERS, /* they belong to different clusters */
	RECOVER_E_TWINS,    /* two logs of the same node with different incarnations are the best: not for us to say */
	RECOVER_E_UNKNOWN,  /* the chosen one and the others do not know min_insync or dedup_window */
};
const char *recover_strerror(int recover_error);

/*
 * Chooses among @logs. 0: *ret_best is the index, *ret_set the in-sync set to write (mod_revision 0). Virgin and damaged
 * logs are not chosen, but what they have seen counts for the new epoch, version and recovery. @old: what etcd still
 * holds; if nothing, all zero, but for the epoch of a leader that is still there.
 */
int recover_choose(const struct recover_log *logs, size_t n, const struct rep_insync *old, size_t *ret_best,
	struct rep_insync *ret_set) _must_check_;

/* True when @set is what a recovery for @best has left, which no log has seen yet: nothing is to be done again. */
bool recover_is_done(const struct recover_log *logs, size_t n, size_t best, const struct rep_insync *set);

#endif
