/*
 * The nodes that a command knows of: from etcd's keys and from its command line, each address once, asked.
 */
#ifndef LEASH_CLI_NODES_H
#define LEASH_CLI_NODES_H

#include "cli/info.h"
#include "cli/state.h"

#define NODES_TIMEOUT_MS 2000

struct nodes {
	struct info_node list[INFO_NODES_MAX];
	size_t n;
};

/* Fills the list (without asking); @view may be NULL. False: more than INFO_NODES_MAX. */
bool nodes_collect(struct nodes *nodes, const struct rep_view *view, const struct conf_list *more) _must_check_;

static inline void nodes_deinit(struct nodes *nodes)
{
	info_deinit(nodes->list, nodes->n);
	nodes->n = 0;
}

/* The name that a node has: its own word, else etcd's, else its address. */
const char *nodes_name(const struct info_node *n);

#endif
