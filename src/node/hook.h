/*
 * on_role_change: a command run with role, epoch and engine when they change. One at a time; what changes meanwhile is
 * told when it has ended, the latest state only. It is not waited for, and ended when it takes too long, so that it
 * cannot keep later changes from being told.
 */
#ifndef LEASH_NODE_HOOK_H
#define LEASH_NODE_HOOK_H

#include "base/types.h"
#include "base/util.h"

#define HOOK_TIMEOUT_S 60

struct event_base;
struct hook;

int hook_new(struct event_base *base, const char *engine, struct hook **ret_hook) _must_check_;
void hook_free(struct hook *h); /* NULL is fine. A command under way goes on by itself */

/*
 * @command: NULL or "" = none. Words are split at blanks and run without a shell; with a character that only a shell
 * understands it is given to sh -c. Copied. @role: a word.
 */
int hook_set(struct hook *h, const char *command) _must_check_;
void hook_tell(struct hook *h, const char *role, leash_epoch epoch);

#endif
