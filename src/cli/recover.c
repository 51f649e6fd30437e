#include "cli/recover.h"

leash_seq recover_length(const struct recover_log *l)
{
	return l->last_epoch == l->log_epoch ? l->log_end : MIN2(l->log_matched, l->log_end);
}

const char *recover_strerror(int e)
{
	switch ((enum recover_error)e) {
	case RECOVER_E_NONE:
		return "none of them has a whole log of a cluster";
	case RECOVER_E_CLUSTERS:
		return "they belong to different clusters; leave out those that do not belong here";
	case RECOVER_E_TWINS:
		return "one node is there twice with different logs; leave out the one that is not to be";
	case RECOVER_E_UNKNOWN:
		return "none of them knows min_insync and dedup_window";
	}
	return "unknown";
}

static bool usable(const struct recover_log *l)
{
	return l->cluster != 0 && l->incarnation != 0 && !l->damaged;
}

/* True when @a is to be preferred; of equals the first stays. */
static bool better(const struct recover_log *a, const struct recover_log *b)
{
	if (a->log_epoch != b->log_epoch)
		return a->log_epoch > b->log_epoch;
	return recover_length(a) > recover_length(b);
}

static int find_best(const struct recover_log *logs, size_t n, size_t *ret_best)
{
	const struct recover_log *best = NULL;
	leash_id cluster = 0;

	for (size_t i = 0; i < n; i++) {
		if (logs[i].cluster == 0)
			continue;
		if (cluster != 0 && logs[i].cluster != cluster)
			return RECOVER_E_CLUSTERS;
		cluster = logs[i].cluster;
		if (usable(&logs[i]) && (!best || better(&logs[i], best)))
			best = &logs[i];
	}
	if (!best)
		return RECOVER_E_NONE;
	for (size_t i = 0; i < n; i++)
		if (usable(&logs[i]) && strcmp(logs[i].node, best->node) == 0 &&
			logs[i].incarnation != best->incarnation && !better(best, &logs[i]))
			return RECOVER_E_TWINS;
	*ret_best = (size_t)(best - logs);
	return 0;
}

/* Above all that anybody has seen. */
static void raise_numbers(struct rep_insync *set, const struct recover_log *logs, size_t n,
	const struct rep_insync *old)
{
	set->version = old->version;
	set->recovery = old->recovery;
	set->epoch = old->epoch;
	for (size_t i = 0; i < n; i++) {
		set->version = MAX2(set->version, logs[i].insync_version);
		set->recovery = MAX2(set->recovery, logs[i].recovery);
		set->epoch = MAX2(set->epoch, MAX2(logs[i].promise, MAX2(logs[i].epoch, logs[i].log_epoch)));
		set->epoch = MAX2(set->epoch, logs[i].last_epoch);
	}
	set->version++;
	set->recovery++;
	set->epoch++;
}

int recover_choose(const struct recover_log *logs, size_t n, const struct rep_insync *old, size_t *ret_best,
	struct rep_insync *ret_set)
{
	struct rep_insync set = { .present = true, .n_members = 1 };
	size_t best;
	int r = find_best(logs, n, &best);

	if (r != 0)
		return r;
	set.cluster = logs[best].cluster;
	set.min_insync = logs[best].min_insync;
	set.dedup_window = logs[best].dedup_window;
	for (size_t i = 0; i < n; i++) {
		set.min_insync = set.min_insync ? set.min_insync : logs[i].min_insync;
		set.dedup_window = set.dedup_window ? set.dedup_window : logs[i].dedup_window;
	}
	if (old->present && old->cluster == set.cluster) {
		set.min_insync = set.min_insync ? set.min_insync : old->min_insync;
		set.dedup_window = set.dedup_window ? set.dedup_window : old->dedup_window;
	}
	if (set.min_insync == 0 || set.dedup_window == 0)
		return RECOVER_E_UNKNOWN;
	raise_numbers(&set, logs, n, old);
	memcpy(set.members[0].node, logs[best].node, sizeof set.members[0].node);
	set.members[0].incarnation = logs[best].incarnation;
	*ret_best = best;
	*ret_set = set;
	return 0;
}

bool recover_is_done(const struct recover_log *logs, size_t n, size_t best, const struct rep_insync *set)
{
	if (!set->present || set->n_members != 1 || set->cluster != logs[best].cluster ||
		set->members[0].incarnation != logs[best].incarnation ||
		strcmp(set->members[0].node, logs[best].node) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (logs[i].recovery >= set->recovery)
			return false;
	return true;
}
