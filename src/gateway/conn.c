/* One client's socket: bytes to the front end and back. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <utlist.h>

#include "base/clk.h"
#include "gateway/worker_int.h"

void conn_wake(struct conn *c)
{
	if (c->woken)
		return;
	c->woken = true;
	c->next_woken = c->w->woken;
	c->w->woken = c;
}

void conn_free(struct conn *c)
{
	struct worker *w = c->w;

	must(!c->woken);
	front_client_free(c->fc);
	if (c->ev_read)
		event_free(c->ev_read);
	if (c->ev_write)
		event_free(c->ev_write);
	c->fd = close_fd(c->fd);
	DL_DELETE(w->clients, c);
	atomic_fetch_sub(&w->n_clients, 1);
	atomic_fetch_sub(&w->crew->n_clients, 1);
	free(c);
}

void conn_release(struct conn *c)
{
	(void)TAKE_FD(c->fd);
	conn_free(c);
}

/* No more bytes either way; conn_turn() frees it. */
static void hang_up(struct conn *c)
{
	event_del(c->ev_read);
	event_del(c->ev_write);
	c->fd = close_fd(c->fd);
}

void conn_drop(struct conn *c)
{
	hang_up(c);
	conn_wake(c);
}

/* Straight into the client's input as far as it has room; what is more goes through the worker's memory. */
static ssize_t receive(struct conn *c, int fd)
{
	struct buf *in = front_client_in(c->fc);
	size_t room = MIN2(buf_room(in), sizeof c->w->rx), here;
	struct iovec to[2] = { { buf_end(in), room }, { c->w->rx, sizeof c->w->rx - room } };
	ssize_t n = readv(fd, to, ARRAY_SIZE(to));

	if (n <= 0)
		return n;
	here = MIN2((size_t)n, room);
	buf_commit(in, here);
	if (buf_put(in, c->w->rx, (size_t)n - here) == 0)
		return n;
	errno = ENOMEM;
	return -1;
}

static void on_readable(evutil_socket_t fd, short what _unused_, void *arg)
{
	struct conn *c = arg;
	ssize_t n = receive(c, fd);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		hang_up(c);
	else if (n == 0)
		front_client_eof(c->fc);
	conn_wake(c);
}

static void on_writable(evutil_socket_t fd _unused_, short what _unused_, void *arg)
{
	conn_wake(arg);
}

/* False: the client is gone. */
static bool write_out(struct conn *c)
{
	struct buf *out = front_client_out(c->fc);

	while (buf_len(out)) {
		ssize_t n = send(c->fd, buf_head(out), buf_len(out), MSG_NOSIGNAL);

		if (n > 0) {
			buf_consume(out, (size_t)n);
		} else if (n < 0 && errno == EAGAIN) {
			event_add(c->ev_write, NULL);
			return true;
		} else if (n == 0 || errno != EINTR) {
			return false;
		}
	}
	return true;
}

static void set_reading(struct conn *c, bool on)
{
	if (c->reading == on)
		return;
	if (on)
		event_add(c->ev_read, NULL);
	else
		event_del(c->ev_read);
	c->reading = on;
}

static bool is_over(struct conn *c)
{
	if (front_client_closing(c->fc))
		return buf_len(front_client_out(c->fc)) == 0;
	return c->w->stopping && !c->w->crew->keeps && front_client_quiet(c->fc) &&
	       buf_len(front_client_out(c->fc)) == 0;
}

/* Output that could not be written at once may have stopped commands: run again when it went. */
void conn_turn(struct conn *c, uint64_t now_ns)
{
	size_t before;

	if (c->fd < 0) {
		conn_free(c);
		return;
	}
	if (c->w->stopping && c->w->crew->keeps)
		front_client_pause(c->fc);
	else if (c->w->stopping)
		front_client_quiesce(c->fc);
	front_client_run(c->fc, now_ns);
	before = buf_len(front_client_out(c->fc));
	if (!write_out(c) || is_over(c)) {
		hang_up(c);
		if (!c->woken)
			conn_free(c); /* else it is in the list again, and freed when its turn comes */
		return;
	}
	if (buf_len(front_client_out(c->fc)) < before && front_client_wants_drain(c->fc))
		conn_wake(c); /* part of a large reply, or commands, waited for that */
	set_reading(c, front_client_wants_input(c->fc));
}

/* ------------------------------------------------------------------------------------------------------------- new */

static void address_text(const struct sockaddr_storage *ss, char to[LEASH_ADDR_MAX + 1])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)ss;

		(void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		(void)snprintf(to, LEASH_ADDR_MAX + 1, "%s:%u", host, ntohs(in->sin_port));
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)ss;

		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		(void)snprintf(to, LEASH_ADDR_MAX + 1, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		(void)snprintf(to, LEASH_ADDR_MAX + 1, "unix:0");
	}
}

static int make(struct conn *c)
{
	char address[LEASH_ADDR_MAX + 1], local[LEASH_ADDR_MAX + 1];
	struct front_peer peer = { .address = address, .local_address = local, .fd = c->fd };
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof ss;
	int one = 1;

	if (getpeername(c->fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	address_text(&ss, address);
	len = sizeof ss;
	if (getsockname(c->fd, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	address_text(&ss, local);
	/* On a local socket it does not apply; only speed depends on it. */
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	c->ev_read = event_new(c->w->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	c->ev_write = event_new(c->w->base, c->fd, EV_WRITE, on_writable, c);
	if (!c->ev_read || !c->ev_write)
		return -ENOMEM;
	return front_client_new(c->w->front, &peer, c, clk_boot_ns(), &c->fc);
}

struct conn *conn_new(struct worker *w, int fd)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c) {
		(void)close_fd(fd);
		atomic_fetch_sub(&w->n_clients, 1);
		atomic_fetch_sub(&w->crew->n_clients, 1);
		return NULL;
	}
	c->w = w;
	c->fd = fd;
	DL_APPEND(w->clients, c);
	if (make(c) < 0) {
		conn_free(c);
		return NULL;
	}
	conn_wake(c);
	return c;
}
