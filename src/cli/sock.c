#include "cli/sock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clk.h"

#define RECEIVE_BYTES (256 * 1024)

static void addrinfo_freep(struct addrinfo **ai)
{
	if (*ai)
		freeaddrinfo(*ai);
}

int sock_wait(int fd, short events, uint64_t deadline_ns, short *ret_events)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		uint64_t now_ns = clk_boot_ns();
		uint64_t left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
		int n = poll(&p, 1, (int)MIN2(left_ms, (uint64_t)60000));

		if (n > 0) {
			*ret_events = p.revents;
			return 0;
		}
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && left_ms <= 60000)
			return -ETIMEDOUT;
	}
}

static int connect_one(const struct addrinfo *ai, uint64_t deadline_ns, int *ret_fd)
{
	_cleanup_(closep) int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(int);
	int e = 0, one = 1, r;
	short events;

	if (fd < 0)
		return -errno;
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return -errno;
		r = sock_wait(fd, POLLOUT, deadline_ns, &events);
		if (r < 0)
			return r;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0)
			return -errno;
		if (e != 0)
			return -e;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* only speed depends on it */
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int sock_connect(const struct units_addr *a, uint64_t deadline_ns, int *ret_fd)
{
	_cleanup_(addrinfo_freep) struct addrinfo *list = NULL;
	struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	char port[8];
	int r;

	(void)snprintf(port, sizeof port, "%u", a->port);
	r = getaddrinfo(a->host[0] ? a->host : NULL, port, &want, &list);
	if (r != 0)
		return r == EAI_SYSTEM ? -errno : r == EAI_MEMORY ? -ENOMEM : -ENXIO;
	r = -ENXIO;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		r = connect_one(ai, deadline_ns, ret_fd);
		if (r == 0 || r == -ETIMEDOUT)
			return r;
	}
	return r;
}

int sock_send_some(int fd, struct buf *out)
{
	while (buf_len(out) > 0) {
		ssize_t n = send(fd, buf_head(out), buf_len(out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(out, (size_t)n);
	}
	return 0;
}

int sock_send(int fd, struct buf *out, uint64_t deadline_ns)
{
	for (;;) {
		short events;
		int r = sock_send_some(fd, out);

		if (r < 0 || buf_len(out) == 0)
			return r;
		r = sock_wait(fd, POLLOUT, deadline_ns, &events);
		if (r < 0)
			return r;
	}
}

int sock_receive_some(int fd, struct buf *in, size_t *ret_n)
{
	uint8_t *p = buf_reserve(in, RECEIVE_BYTES);
	ssize_t n;

	if (!p)
		return -ENOMEM;
	do
		n = recv(fd, p, RECEIVE_BYTES, 0);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	n = MAX2(n, (ssize_t)0);
	buf_commit(in, (size_t)n);
	*ret_n = (size_t)n;
	return 0;
}

int sock_receive(int fd, struct buf *in, uint64_t deadline_ns)
{
	for (;;) {
		short events;
		size_t n;
		int r = sock_receive_some(fd, in, &n);

		if (r < 0 || n > 0)
			return r;
		r = sock_wait(fd, POLLIN, deadline_ns, &events);
		if (r < 0)
			return r;
	}
}

const char *sock_strerror(int r)
{
	switch (r) {
	case -ENXIO: return "no such host";
	case -ETIMEDOUT: return "no answer in time";
	case -ECONNRESET: return "the connection was closed";
	default: return strerror(-r);
	}
}
