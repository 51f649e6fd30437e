/*
 * etcd for the command line: the asynchronous client (etcd/etcd.h), one call at a time, waited for.
 */
#ifndef LEASH_CLI_STATE_H
#define LEASH_CLI_STATE_H

#include "cli/cli.h"
#include "etcd/keys.h"

struct state;

#define STATE_TEXT 256

/* All calls: 0, or a negative errno with one line about it in @why. */
int state_open(const struct cli_etcd *opts, struct state **ret_state, char why[STATE_TEXT]) _must_check_;
void state_freep(struct state **s);

/* The engine's keys, read through Raft. */
int state_view(struct state *s, struct keys_view *ret_view, char why[STATE_TEXT]) _must_check_;

/* One key: its value at the end of @value; *ret_mod is 0 and nothing is added when it is absent. */
int state_get(struct state *s, const char *key, struct buf *value, uint64_t *ret_mod, char why[STATE_TEXT]) _must_check_;

/* A transaction. *ret_done: its guards held. -EINPROGRESS: it may have been applied, or may still be (R0a). */
int state_txn(struct state *s, const struct etcd_txn_req *req, bool *ret_done, char why[STATE_TEXT]) _must_check_;

/* The endpoints, and whether one of them can decide now. */
size_t state_endpoints(const struct state *s);
const char *state_endpoint(const struct state *s, size_t i);
int state_health(struct state *s, size_t i, char why[STATE_TEXT]) _must_check_;

#endif
