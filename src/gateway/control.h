/*
 * What the gateway hears from etcd: one watch stream with a range per engine (<engine>/), read afresh at any
 * doubt (see etcd/watch.h). Clusters, leaders and addresses go into the book; while etcd is silent the book keeps what it
 * has, and so it does when a leader key goes away: the node may still lead, and a successor will say so.
 *
 * All belongs to the thread that runs the event_base.
 */
#ifndef LEASH_GATEWAY_CONTROL_H
#define LEASH_GATEWAY_CONTROL_H

#include "etcd/etcd.h"
#include "gateway/book.h"

struct control;

/* 0, -ENOMEM, or what etcd_new() says. Nothing is watched before control_watch(). */
int control_new(struct event_base *base, const struct etcd_conf *etcd, struct book *book,
	struct control **ret_control) _must_check_;
void control_free(struct control *c); /* NULL is fine. Not from a callback */

/* Follows the engines that the book has now, in place of what was followed before. 0, or negative errno. */
int control_watch(struct control *c) _must_check_;

/* False: no answer yet. For STATUS. */
bool control_connected(const struct control *c);

#endif
