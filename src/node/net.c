#include "node/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clk.h"
#include "node/net_int.h"

/* ------------------------------------------------------------------------------------------------------------ life */

int net_new(const struct net_conf *conf, const struct net_ops *ops, struct event_base *base, struct net **ret_net)
{
	struct net *net = calloc(1, sizeof *net);
	int r;

	if (!net)
		return -ENOMEM;
	net->conf = *conf;
	net->ops = *ops;
	net->base = base;
	net->listen_fd = net->control_fd = -1;
	net->now_ns = clk_boot_ns();
	r = net_ev_init(net);
	if (r == 0)
		r = net_peer_init(net);
	if (r == 0)
		r = net_resp_init(net);
	if (r) {
		net_free(net);
		return r;
	}
	*ret_net = net;
	return 0;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	net_ev_deinit(net);
	front_free(net->front);
	while (net->reads)
		net_read_forget(net->reads);
	net_admin_deinit(net);
	net_peer_deinit(net);
	net_submit_deinit(net);
	if (net->dns)
		evdns_base_free(net->dns, 0);
	if (net->control_path)
		(void)unlink(net->control_path); /* a stale one is replaced at the next start */
	free(net->control_path);
	free(net);
}

uint64_t net_turns(const struct net *net)
{
	return net->turns;
}

void net_counters(const struct net *net, struct net_counters *ret_counters)
{
	*ret_counters = net->counters;
	ret_counters->clients = front_clients(net->front);
}

/* ------------------------------------------------------------------------------------------------------------- bind */

static int bound_address(int fd, char ret_address[LEASH_ADDR_MAX + 1])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[64], port[8];

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
		    NI_NUMERICHOST | NI_NUMERICSERV))
		return -EINVAL;
	(void)snprintf(ret_address, LEASH_ADDR_MAX + 1, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return 0;
}

static int bind_one(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, r;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return fd;
	r = -errno;
	(void)close_fd(fd);
	return r;
}

int net_bind(struct net *net, const struct units_addr *addr, char ret_address[LEASH_ADDR_MAX + 1],
	char ret_reason[256])
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *list = NULL;
	char port[8], text[LEASH_ADDR_MAX + 16];
	int r, fd;

	(void)snprintf(port, sizeof port, "%u", addr->port);
	r = getaddrinfo(addr->host[0] ? addr->host : NULL, port, &hints, &list);
	if (r) {
		(void)snprintf(ret_reason, 256, "cannot look up the address \"%s\" to listen on: %s",
			units_addr_format(addr, text), gai_strerror(r));
		return -EINVAL;
	}
	fd = bind_one(list);
	freeaddrinfo(list);
	if (fd < 0) {
		(void)snprintf(ret_reason, 256,
			fd == -EADDRINUSE ? "cannot listen on %s: another process uses this port (%s)"
					  : "cannot listen on %s: %s",
			units_addr_format(addr, text), strerror(-fd));
		return fd;
	}
	net->listen_fd = fd;
	return bound_address(fd, ret_address);
}

int net_adopt(struct net *net, int fd, char ret_address[LEASH_ADDR_MAX + 1])
{
	int r = bound_address(fd, ret_address);

	if (r == 0)
		net->listen_fd = fd;
	return r;
}

/* Somebody listens there? */
static bool in_use(const struct sockaddr_un *sun)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)sun, sizeof *sun) == 0 || errno == EAGAIN);
}

static int bind_unix(const char *path, const struct sockaddr_un *sun)
{
	_cleanup_(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (in_use(sun))
		return -EADDRINUSE;
	(void)unlink(path); /* left by a former life; bind() says what else is wrong */
	if (bind(fd, (const struct sockaddr *)sun, sizeof *sun) < 0 || chmod(path, 0660) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int net_bind_control(struct net *net, const char *path, char ret_reason[256])
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = -ENAMETOOLONG;

	if (strlen(path) < sizeof sun.sun_path) {
		memcpy(sun.sun_path, path, strlen(path) + 1);
		fd = bind_unix(path, &sun);
	}
	if (fd < 0) {
		(void)snprintf(ret_reason, 256,
			fd == -EADDRINUSE ? "control socket \"%.150s\": another process listens on it"
					  : "cannot make the control socket \"%.150s\": %s",
			path, strerror(-fd));
		return fd;
	}
	net->control_path = strdup(path);
	net->control_fd = fd;
	return net->control_path ? 0 : -ENOMEM;
}

void net_adopt_control(struct net *net, int fd)
{
	net->control_fd = fd;
}

/* -------------------------------------------------------------------------------------------------- fresh connections */

static void fresh_feed(struct conn *c)
{
	switch (frame_preface_check((struct bytes){ buf_head(c->in), buf_len(c->in) })) {
	case FRAME_PREFACE_MORE:
		break;
	case FRAME_PREFACE_YES:
		buf_consume(c->in, FRAME_PREFACE_BYTES);
		net_peer_begin(c);
		break;
	case FRAME_PREFACE_NO:
		net_resp_begin(c);
		break;
	}
}

static bool fresh_wants_input(const struct conn *c _unused_)
{
	return true;
}

static void fresh_closed(struct conn *c _unused_, int error _unused_)
{
}

static const struct conn_class fresh_class = {
	.name = "fresh",
	.feed = fresh_feed,
	.wants_input = fresh_wants_input,
	.closed = fresh_closed,
};

static void peer_name(int fd, char to[LEASH_ADDR_MAX + 1])
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char host[64], port[8];

	(void)snprintf(to, LEASH_ADDR_MAX + 1, "local");
	if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family == AF_UNIX)
		return;
	if (getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
		    NI_NUMERICHOST | NI_NUMERICSERV))
		return;
	(void)snprintf(to, LEASH_ADDR_MAX + 1, ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

/* @fd passes over. Some room is left for the other nodes and the control socket. */
void net_accepted(struct net *net, int fd, bool control)
{
	static const char full[] = "-ERR max number of clients reached\r\n";
	struct conn *c;

	net->counters.accepted++;
	if (net->n_conns >= net->conf.clients_max + (control ? 2 : 1) * REP_NODES_MAX ||
		conn_new(net, fd, &fresh_class, &c)) {
		net->counters.refused++;
		(void)send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)close_fd(fd);
		return;
	}
	c->control = control;
	peer_name(fd, c->address);
}

/* --------------------------------------------------------------------------------------------------- struct node_net */

static void on_room(void *ctx)
{
	net_refeed(ctx);
}

static void on_committed(void *ctx, leash_seq seq)
{
	struct net *net = ctx;

	front_engine_committed(net->engine, seq);
	net->status_moved = true;
	net_turn_due(net);
}

static void on_changed(void *ctx)
{
	struct net *net = ctx;

	if (!net->node)
		return;
	net->status_changed = true;
	net_refeed(net); /* no longer primary: that is the answer to what is held */
	net_turn_due(net);
	net->ops.changed(net->ops.ctx);
}

static void on_view(void *ctx, const struct keys_view *v)
{
	net_peer_view(ctx, v);
}

static void on_fatal(void *ctx, int exit_status)
{
	struct net *net = ctx;

	net->ops.fatal(net->ops.ctx, exit_status);
}

static void on_stopped(void *ctx)
{
	struct net *net = ctx;

	net->ops.stopped(net->ops.ctx);
}

void net_callbacks(struct net *net, struct node_net *ret_callbacks)
{
	*ret_callbacks = (struct node_net){
		.ctx = net,
		.send = net_peer_send,
		.send_records = net_peer_send_records,
		.answer = net_answer,
		.room = on_room,
		.committed = on_committed,
		.changed = on_changed,
		.view = on_view,
		.fatal = on_fatal,
		.stopped = on_stopped,
	};
}

void net_attach(struct net *net, struct node *node)
{
	net->node = node;
	net->status_changed = true;
}

int net_listen(struct net *net)
{
	must(net->node);
	return net_ev_listen(net);
}

/* ------------------------------------------------------------------------------------------------------------- turns */

uint64_t net_deadline_ns(const struct net *net)
{
	uint64_t due_ns = front_wakeup_ns(net->front);

	due_ns = MIN2(due_ns, net_peer_deadline_ns(net));
	due_ns = MIN2(due_ns, net_submit_deadline_ns(net));
	return MIN2(due_ns, net_data_deadline_ns(net));
}

void net_tick(struct net *net)
{
	if (!net->node)
		return;
	front_tick(net->front, net->now_ns);
	net_submit_tick(net);
	net_peer_tick(net);
}

void net_end_of_turn(struct net *net)
{
	if (!net->node)
		return;
	net_submit_tick(net);
	if (net->status_changed)
		net_resp_tell(net);
	net_data_push_status(net);
}

void net_drain(struct net *net)
{
	net->draining = true;
	for (struct conn *c = net->conns; c; c = c->next)
		if (c->class == &resp_class)
			conn_touch(c);
}

bool net_drained(const struct net *net)
{
	if (net->submits || net->held)
		return false;
	for (const struct conn *c = net->conns; c; c = c->next)
		if (c->class == &data_class ? net_data_unanswered(c) : c->class == &resp_class && buf_len(c->out))
			return false;
	return true;
}
