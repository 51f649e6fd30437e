#include "gateway/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

static void addrinfo_freep(struct addrinfo **ai)
{
	if (*ai)
		freeaddrinfo(*ai);
}

static int resolve(const struct units_addr *a, struct addrinfo **ret_list)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	char port[8];

	(void)snprintf(port, sizeof port, "%u", a->port);
	return getaddrinfo(a->host[0] ? a->host : NULL, port, &want, ret_list) ? -EADDRNOTAVAIL : 0;
}

static int bind_one(const struct addrinfo *ai, int *ret_fd)
{
	_cleanup_(closep) int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
		bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int bind_to(const struct units_addr *a, int *ret_fd)
{
	_cleanup_(addrinfo_freep) struct addrinfo *list = NULL;
	int r = resolve(a, &list);

	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		r = bind_one(ai, ret_fd);
		if (r == 0)
			return 0;
	}
	return r;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET) {
		const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;

		return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
	}
	if (a->sa_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;

		return x->sin6_port == y->sin6_port &&
		       memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
	}
	return false;
}

static bool is_at(int fd, const struct units_addr *a)
{
	_cleanup_(addrinfo_freep) struct addrinfo *list = NULL;
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof ss;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 || resolve(a, &list) < 0)
		return false;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
		if (same_address((struct sockaddr *)&ss, ai->ai_addr))
			return true;
	return false;
}

/* 0: @ret_fd is the inherited one; NOTIFY_E_NONE. */
static int inherit(struct notify_fds *fds, const char *but, int *ret_fd)
{
	const char *name;
	size_t n = notify_fds_others(fds, but, &name);
	int r;

	if (n == 0)
		return NOTIFY_E_NONE;
	if (n > 1)
		return NOTIFY_E_KIND;
	r = notify_fds_take(fds, name, NOTIFY_LISTEN_INET, ret_fd);
	return r == NOTIFY_E_KIND ? notify_fds_take(fds, name, NOTIFY_LISTEN_UNIX, ret_fd) : r;
}

static void describe(int fd, char text[LISTEN_TEXT_MAX])
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof ss;
	struct units_addr a = { 0 };

	(void)snprintf(text, LISTEN_TEXT_MAX, "a local socket");
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return;
	if (ss.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&ss;

		(void)inet_ntop(AF_INET, &in->sin_addr, a.host, sizeof a.host);
		a.port = ntohs(in->sin_port);
	} else if (ss.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)&ss;

		(void)inet_ntop(AF_INET6, &in6->sin6_addr, a.host, sizeof a.host);
		a.port = ntohs(in6->sin6_port);
	} else {
		return;
	}
	units_addr_format(&a, text);
}

int listen_open(const struct units_addr *given, const struct units_addr *fallback, struct notify_fds *inherited,
	const char *but, int *ret_fd, char ret_text[LISTEN_TEXT_MAX])
{
	_cleanup_(closep) int fd = -1;
	int r = inherit(inherited, but, &fd);

	if (r < 0)
		return r;
	if (r == NOTIFY_E_KIND)
		return LISTEN_E_KIND;
	if (r == NOTIFY_E_NONE)
		r = bind_to(given ? given : fallback, &fd);
	else if (given && !is_at(fd, given))
		return LISTEN_E_DIFFERS;
	if (r < 0)
		return r;
	describe(fd, ret_text);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
