/*
 * What a watch believes to be in etcd: key -> mod revision, deletions too until they are known to be settled.
 * Kept to find doubled and lost events. Pure. A sorted array: the keys are few and change seldom.
 */
#ifndef LEASH_ETCD_VIEW_H
#define LEASH_ETCD_VIEW_H

#include "base/cur.h"

#define VIEW_KEYS_MAX 65536 /* deleted ones included */

struct view_key {
	struct bytes key; /* owned */
	int64_t mod_revision;
	bool deleted;
};

struct view {
	struct view_key *keys;
	size_t n_keys, cap;
};

#define VIEW_NULL { 0 }

void view_deinit(struct view *v);

/* Mod revision of the last change of @key that is known, a deletion too; 0: none. */
int64_t view_mod(const struct view *v, struct bytes key);

/* Notes a change; one that is not newer is ignored. -ENOMEM, -ENOBUFS (VIEW_KEYS_MAX): nothing was noted. */
int view_note(struct view *v, struct bytes key, int64_t mod_revision, bool deleted) _must_check_;

/*
 * Does @v, built from events, agree with @read, read at @revision? What events say of later revisions is not judged.
 * A read key whose event has not come yet is a difference: look again a little later.
 */
bool view_agrees(const struct view *v, const struct view *read, int64_t revision);

/* Forgets deletions at @revision or before. */
void view_settle(struct view *v, int64_t revision);

#endif
