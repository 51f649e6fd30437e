/*
 * Events and sockets: the only file of the network that makes, arms and frees events.
 *
 * A turn: callbacks read what there is, hand it to the connection's class and touch the connection. The turn's end comes
 * as an event of its own in the same pass of the loop: it runs the classes' turn(), writes output, recomputes for each
 * touched connection whether it wants to read or write, and frees what was closed. So nothing is freed under the feet of
 * its callers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/clk.h"
#include "node/net_int.h"

#define KEEPALIVE_IDLE_S  20
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_PROBES  3

/* ------------------------------------------------------------------------------------------------------------ turns */

void net_turn_due(struct net *net)
{
	if (net->turn_due || !net->ev_turn)
		return;
	net->turn_due = true;
	event_active(net->ev_turn, 0, 0);
}

void conn_touch(struct conn *c)
{
	struct net *net = c->net;

	if (c->serving || c->touched)
		return;
	net_turn_due(net);
	c->touched = true;
	c->next_touched = net->touched;
	net->touched = c;
}

/* Sets the one timer. */
static void arm_timer(struct net *net)
{
	uint64_t due_ns = net_deadline_ns(net), now_ns = clk_boot_ns(), left_ns;
	struct timeval tv;

	if (net->accept_paused)
		due_ns = MIN2(due_ns, net->accept_again_ns);
	if (due_ns == UINT64_MAX) {
		(void)event_del(net->ev_timer); /* fails only for an event that was never made */
		return;
	}
	left_ns = due_ns > now_ns ? MIN2(due_ns - now_ns, 3600 * NS_PER_S) : 0;
	tv = (struct timeval){ .tv_sec = (time_t)(left_ns / NS_PER_S),
		.tv_usec = (suseconds_t)(left_ns % NS_PER_S / NS_PER_US + 1) };
	(void)event_add(net->ev_timer, &tv); /* no memory: the next turn sets it again */
}

static void on_timer(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct net *net = ctx;

	net->now_ns = clk_boot_ns();
	if (net->accept_paused && net->now_ns >= net->accept_again_ns && net->ev_listen) {
		net->accept_paused = false;
		(void)event_add(net->ev_listen, NULL);
	}
	net_tick(net);
	net_turn_due(net);
}

/* -------------------------------------------------------------------------------------------------------- one socket */

static void free_events(struct conn *c)
{
	if (c->ev_read)
		event_free(c->ev_read);
	if (c->ev_write)
		event_free(c->ev_write);
	c->ev_read = c->ev_write = NULL;
}

void conn_close(struct conn *c, int error)
{
	if (c->doomed)
		return;
	c->doomed = true;
	c->error = error;
	free_events(c);
	c->fd = close_fd(c->fd);
	c->next_doomed = c->net->doomed;
	c->net->doomed = c;
	net_turn_due(c->net);
}

void conn_again(struct conn *c)
{
	if (c->serving)
		c->again = true;
	else
		conn_touch(c);
}

void conn_finish(struct conn *c)
{
	c->closing = true;
	conn_touch(c);
}

void conn_become(struct conn *c, const struct conn_class *class, void *data)
{
	c->class = class;
	c->data = data;
	conn_touch(c);
}

void conn_bulk(struct conn *c)
{
	c->own_in.keep = c->own_out.keep = NET_BUF_KEEP;
}

static void free_doomed(struct conn *c)
{
	struct net *net = c->net;

	c->class->closed(c, c->error);
	if (c->touched)
		LL_DELETE2(net->touched, c, next_touched);
	DL_DELETE(net->conns, c);
	net->n_conns--;
	buf_deinit(&c->own_in);
	buf_deinit(&c->own_out);
	free(c);
}

/* Into the buffer itself where it keeps its memory; else through one that all share, so that idle clients take none. */
static ssize_t read_in(struct conn *c)
{
	bool bulk = c->in->keep >= NET_READ_BYTES;
	uint8_t *to;
	ssize_t n;

	buf_pull(c->in);
	to = bulk ? buf_reserve(c->in, NET_READ_BYTES) : c->net->scratch;
	if (!to)
		return -ENOMEM;
	n = read(c->fd, to, NET_READ_BYTES);
	if (n < 0)
		return -errno;
	if (bulk)
		buf_commit(c->in, (size_t)n);
	else if (buf_put(c->in, to, (size_t)n) < 0)
		return -ENOMEM;
	return n;
}

static void on_readable(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct conn *c = ctx;
	ssize_t n = read_in(c);

	c->net->now_ns = clk_boot_ns();
	if (n < 0) {
		if (n != -EAGAIN && n != -EINTR)
			conn_close(c, (int)-n);
		return;
	}
	conn_touch(c);
	if (n == 0) {
		c->reading = false;
		(void)event_del(c->ev_read);
		if (c->class->eof)
			c->class->eof(c);
		else
			conn_close(c, 0);
		return;
	}
	c->net->counters.in_bytes += (uint64_t)n;
	c->class->feed(c);
}

static void connected(struct conn *c)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		conn_close(c, error);
		return;
	}
	c->connecting = false;
	if (c->class->connected)
		c->class->connected(c);
}

static void on_writable(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct conn *c = ctx;

	c->net->now_ns = clk_boot_ns();
	conn_touch(c);
	if (c->connecting)
		connected(c);
}

static void write_out(struct conn *c)
{
	size_t len = buf_len(c->out);
	ssize_t n;

	if (len == 0 || c->connecting)
		return;
	n = send(c->fd, buf_head(c->out), MIN2(len, (size_t)NET_WRITE_BYTES), MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_close(c, errno);
		return;
	}
	c->net->counters.out_bytes += (uint64_t)n;
	buf_consume(c->out, (size_t)n);
	if (c->class->drained && buf_len(c->out) <= NET_PEER_OUT_BYTES / 2)
		c->class->drained(c);
}

static void want(struct event *ev, bool *armed, bool wanted)
{
	if (*armed == wanted)
		return;
	if (wanted ? event_add(ev, NULL) : event_del(ev))
		return; /* no memory: tried again at the next touch */
	*armed = wanted;
}

/* The one place that decides what a connection listens for. */
static void rearm(struct conn *c)
{
	bool output = buf_len(c->out) > 0;

	if (c->closing && !output) {
		conn_close(c, 0);
		return;
	}
	want(c->ev_read, &c->reading, !c->connecting && !c->closing && c->class->wants_input(c));
	want(c->ev_write, &c->writing, c->connecting || output);
}

static void serve(struct conn *c)
{
	c->serving = true;
	if (!c->doomed && c->class->turn)
		c->class->turn(c);
	c->serving = false;
	if (c->again)
		conn_touch(c);
	c->again = false;
	if (!c->doomed)
		write_out(c);
	if (!c->doomed)
		rearm(c);
}

static void on_turn(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct net *net = ctx;
	struct conn *list, *c;

	net->turn_due = false;
	net->turns++;
	net->now_ns = clk_boot_ns();
	net_end_of_turn(net);
	list = TAKE(net->touched); /* what is touched from now on has its turn in the next pass of the loop */
	while ((c = list)) {
		list = c->next_touched;
		c->touched = false;
		serve(c);
	}
	while ((c = net->doomed)) {
		net->doomed = c->next_doomed;
		must(c->fd < 0);
		free_doomed(c);
	}
	arm_timer(net);
}

/* What can be lost by these is latency and the early notice of a dead host, so failures are of no consequence. */
static void set_options(int fd, uint64_t timeout_ns)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, every = KEEPALIVE_EVERY_S, probes = KEEPALIVE_PROBES;
	unsigned timeout_ms = (unsigned)MIN2(timeout_ns / NS_PER_MS, (uint64_t)INT32_MAX);

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

#define USER_TIMEOUT_NS (30 * NS_PER_S)

int conn_new(struct net *net, int fd, const struct conn_class *class, struct conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	c->net = net;
	c->fd = fd;
	c->class = class;
	c->in = &c->own_in;
	c->out = &c->own_out;
	c->ev_read = event_new(net->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(net->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	if (!c->ev_read || !c->ev_write) {
		free_events(c);
		free(c);
		return -ENOMEM;
	}
	set_options(fd, USER_TIMEOUT_NS);
	DL_APPEND(net->conns, c);
	net->n_conns++;
	conn_touch(c);
	*ret_conn = c;
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- listeners */

/* No descriptors or no memory: it would only be tried again at once. */
static void pause_accept(struct net *net)
{
	net->accept_paused = true;
	net->accept_again_ns = net->now_ns + 100 * NS_PER_MS;
	if (net->ev_listen)
		(void)event_del(net->ev_listen);
	net_turn_due(net);
}

static void accept_all(struct net *net, int listen_fd, bool control)
{
	net->now_ns = clk_boot_ns();
	for (unsigned i = 0; i < NET_ACCEPT_TURN; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			net_accepted(net, fd, control);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accept(net);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void on_accept(evutil_socket_t fd, short what _unused_, void *ctx)
{
	accept_all(ctx, fd, false);
}

static void on_accept_control(evutil_socket_t fd, short what _unused_, void *ctx)
{
	accept_all(ctx, fd, true);
}

static int listen_on(struct net *net, int fd, event_callback_fn fn, struct event **ret_ev)
{
	if (fd < 0)
		return 0;
	if (listen(fd, SOMAXCONN) < 0)
		return -errno;
	*ret_ev = event_new(net->base, fd, EV_READ | EV_PERSIST, fn, net);
	if (!*ret_ev || event_add(*ret_ev, NULL))
		return -ENOMEM;
	return 0;
}

int net_ev_listen(struct net *net)
{
	int r = listen_on(net, net->listen_fd, on_accept, &net->ev_listen);

	return r ? r : listen_on(net, net->control_fd, on_accept_control, &net->ev_control);
}

void net_close_listeners(struct net *net)
{
	if (net->ev_listen)
		event_free(net->ev_listen);
	net->ev_listen = NULL;
	net->listen_fd = close_fd(net->listen_fd);
}

/* ------------------------------------------------------------------------------------------------------------ life */

int net_ev_init(struct net *net)
{
	net->scratch = malloc(NET_READ_BYTES);
	net->ev_turn = event_new(net->base, -1, 0, on_turn, net);
	net->ev_timer = event_new(net->base, -1, 0, on_timer, net);
	return net->scratch && net->ev_turn && net->ev_timer ? 0 : -ENOMEM;
}

void net_ev_deinit(struct net *net)
{
	while (net->conns) {
		conn_close(net->conns, 0);
		free_doomed(net->conns);
	}
	net_close_listeners(net);
	if (net->ev_control)
		event_free(net->ev_control);
	if (net->ev_turn)
		event_free(net->ev_turn);
	if (net->ev_timer)
		event_free(net->ev_timer);
	net->ev_control = net->ev_turn = net->ev_timer = NULL;
	net->control_fd = close_fd(net->control_fd);
	free(net->scratch);
}
