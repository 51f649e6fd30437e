#include "cli/nodes.h"

#include <stdio.h>

static bool add(struct nodes *nodes, const char *name, const char *address)
{
	struct info_node *n;

	for (size_t i = 0; address[0] && i < nodes->n; i++)
		if (strcmp(nodes->list[i].address, address) == 0)
			return true;
	if (nodes->n == INFO_NODES_MAX)
		return false;
	n = &nodes->list[nodes->n++];
	*n = (struct info_node){ 0 };
	(void)snprintf(n->name, sizeof n->name, "%s", name);
	(void)snprintf(n->address, sizeof n->address, "%s", address);
	return true;
}

static bool known(const struct nodes *nodes, const char *name)
{
	for (size_t i = 0; i < nodes->n; i++)
		if (strcmp(nodes->list[i].name, name) == 0)
			return true;
	return false;
}

bool nodes_collect(struct nodes *nodes, const struct rep_view *view, const struct conf_list *more)
{
	nodes->n = 0;
	for (uint32_t i = 0; view && i < view->n_nodes; i++)
		if (!add(nodes, view->nodes[i].node, view->nodes[i].address))
			return false;
	if (view && view->leader.present && !known(nodes, view->leader.node) &&
		!add(nodes, view->leader.node, view->leader.address))
		return false;
	for (size_t i = 0; i < more->n; i++)
		if (!add(nodes, "", more->items[i]))
			return false;
	/* Members whose nodes/ key is gone are named, though nobody knows where they are. */
	for (uint32_t i = 0; view && i < view->insync.n_members; i++)
		if (!known(nodes, view->insync.members[i].node) && !add(nodes, view->insync.members[i].node, ""))
			return false;
	return true;
}

const char *nodes_name(const struct info_node *n)
{
	return n->node[0] ? n->node : n->name[0] ? n->name : n->address;
}
