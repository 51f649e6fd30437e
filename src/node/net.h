/*
 * The network of a node: one listening address for clients (RESP), gateways, tools and other nodes (peer protocol), the
 * control socket, and the connections to the other nodes. It feeds what comes in to the node (node.h) and does what
 * struct node_net asks for.
 *
 * Order of things at start: net_new(), net_bind() (the port is ours, but refuses connections), node_new() with
 * net_callbacks(), net_attach(), net_listen(): no socket answers before promises were read back (R4).
 *
 * At the end: net_close_listeners() as the node stops, so that new clients go elsewhere and R12's "refused" is true as
 * soon as the process is gone; net_free() closes the rest.
 *
 * Everything belongs to the thread of the event_base. Nothing here blocks: host names of peers are looked up by
 * libevent's resolver.
 */
#ifndef LEASH_NODE_NET_H
#define LEASH_NODE_NET_H

#include "base/notify.h"
#include "base/units.h"
#include "node/node.h"

#define NET_OUT_BYTES       (1u << 20)   /* output of one client at which no more is read from it */
#define NET_PEER_OUT_BYTES  (4u << 20)   /* likewise: records to one follower; it drains to half before more is sent */
#define NET_PEER_OUT_MAX    (256u << 20) /* a peer that lets this much pile up is cut off */
#define NET_HELD_BYTES      (64u << 20)  /* appends that wait for room, in all; more are refused */
#define NET_STATUS_NS       UINT64_C(2000000)  /* commit movement is pushed to gateways at most so often, for their readers */
#define NET_STATUS_SLOW_NS  UINT64_C(50000000) /* likewise by a secondary, which they do not read from */

struct net_conf {
	const char *engine, *node, *release;
	uint32_t clients_max;          /* connections of all kinds */
	uint32_t in_flight_max;        /* appends in flight of one connection: count, bytes */
	uint64_t in_flight_bytes_max;
	uint32_t record_bytes_max;
	uint64_t hold_timeout_ns;      /* how long a client's append waits before it gets an error */
	uint64_t peer_timeout_ns;      /* to make a connection to another node, its WELCOME included */
};

/* What operators ask for over the control socket and the daemon does. */
struct net_ops {
	void *ctx;
	/* Reads the configuration again. True: done; @ret_text says what changed, or why not. */
	bool (*reload)(void *ctx, struct buf *ret_text);
	/* Role, epoch or set changed: STATUS= and hooks. */
	void (*changed)(void *ctx);
	void (*fatal)(void *ctx, int exit_status);
	void (*stopped)(void *ctx);
};

struct net;

int net_new(const struct net_conf *conf, const struct net_ops *ops, struct event_base *base, struct net **ret_net)
	_must_check_;
void net_free(struct net *net); /* NULL is fine. Before node_free(). */

/*
 * Takes @addr (a name is looked up, which may block: only at start). Port 0: any. 0, or a negative errno with a sentence
 * that names the address in @ret_reason. @ret_address: host:port as bound.
 */
int net_bind(struct net *net, const struct units_addr *addr, char ret_address[LEASH_ADDR_MAX + 1],
	char ret_reason[256]) _must_check_;
/* An inherited, bound TCP socket in its place; passes over on success. */
int net_adopt(struct net *net, int fd, char ret_address[LEASH_ADDR_MAX + 1]) _must_check_;

/* The control socket at @path (an old one that nobody listens on is replaced), mode 0660; or an inherited one. */
int net_bind_control(struct net *net, const char *path, char ret_reason[256]) _must_check_;
void net_adopt_control(struct net *net, int fd);

/* For node_new(). */
void net_callbacks(struct net *net, struct node_net *ret_callbacks);
void net_attach(struct net *net, struct node *node);

/* Begins to accept, and to dial the nodes that etcd names. 0 or a negative errno. */
int net_listen(struct net *net) _must_check_;
void net_close_listeners(struct net *net);

/* No new commands are started; true once nothing of a client is under way any more (asked for after each turn). */
void net_drain(struct net *net);
bool net_drained(const struct net *net);

/* For the watchdog: turns of the loop so far. */
uint64_t net_turns(const struct net *net);

struct net_counters {
	uint32_t clients, gateways, peers_up;
	uint64_t accepted, refused, in_bytes, out_bytes, protocol_errors;
};
void net_counters(const struct net *net, struct net_counters *ret_counters);

#endif
