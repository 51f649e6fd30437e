/*
 * Nodes of this machine, by their control sockets: <base>/<node>/control.sock (LEASH <verb>, node/net_admin.c).
 */
#ifndef LEASH_CLI_LOCAL_H
#define LEASH_CLI_LOCAL_H

#include "base/buf.h"
#include "cli/info.h"

#define LOCAL_BASE      "/run/leash" /* where nodes have their runtime directories */
#define LOCAL_WORDS_MAX 4            /* a verb and its arguments */

#define LOCAL_E_REFUSED 1 /* the node answered with an error, which is in the text */

/*
 * Asks @node; its answer goes to the end of @text. 0, LOCAL_E_REFUSED, or a negative errno for sock_strerror(): -ENOENT
 * and -ECONNREFUSED when no such node runs.
 */
int local_call(const char *base, const char *node, const char *const *words, size_t n_words, uint64_t deadline_ns,
	struct buf *text) _must_check_;

/* What a node says about itself; as local_call(). @ret_node is then the caller's to info_deinit(). */
int local_status(const char *base, const char *node, uint64_t deadline_ns, struct info_node *ret_node) _must_check_;

#endif
