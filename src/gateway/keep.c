/*
 * Bags of descriptors, to the service manager and back.
 *
 *  1. The note is written into a memfd and sealed.
 *  2. It and the connections are sent into a bag: one end of a pair of sockets. A bag that is full (the socket's buffer)
 *     is followed by another.
 *  3. The other ends go into the store, without FDPOLL: they look hung up, for the sending end is closed by then.
 *  4. A barrier: the manager has read all that before this process ends.
 *
 * Back: everything in the bags is received; the note is read and verified; then numbers and cookies are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/notify.h"
#include "gateway/keep.h"

#define FDS_PER_MESSAGE 253 /* SCM_MAX_FD of Linux */
#define BARRIER_MS      5000
#define BAG_BYTES       (4 << 20)  /* asked for; what the kernel grants is enough for thousands, too */
#define NOTE_NUMBER     UINT32_MAX /* in place of a connection's number */

/* What goes with the descriptors of one message. */
struct label {
	uint32_t first; /* number of the first; the others follow */
	uint32_t n;
};

/* Room for one message's descriptors, aligned as the kernel wants it. */
union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
};

struct bags {
	int fds[KEEP_BAGS_MAX]; /* the ends that are kept */
	unsigned n;
	int to; /* the other end of the last one; -1: none */
};

static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t n = sizeof cookie;

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &n) == 0 ? cookie : 0;
}

/* ------------------------------------------------------------------------------------------------------------ giving */

static void bags_deinit(struct bags *b)
{
	for (unsigned i = 0; i < b->n; i++)
		closep(&b->fds[i]);
	closep(&b->to);
}

static int bag_next(struct bags *b)
{
	int pair[2], size = BAG_BYTES;

	if (b->n == KEEP_BAGS_MAX)
		return -ENOBUFS;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	closep(&b->to);
	b->to = pair[0];
	b->fds[b->n++] = pair[1];
	(void)setsockopt(b->to, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* else there are more bags */
	return 0;
}

static int bag_send(int to, uint32_t first, const int *fds, uint32_t n)
{
	struct label label = { first, n };
	struct iovec iov = { .iov_base = &label, .iov_len = sizeof label };
	union control control = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t sent;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	do
		sent = sendmsg(to, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return sent == (ssize_t)sizeof label ? 0 : -EIO;
}

static int bags_put(struct bags *b, uint32_t first, const int *fds, uint32_t n)
{
	int r = b->n ? bag_send(b->to, first, fds, n) : -EAGAIN;

	if (r != -EAGAIN)
		return r;
	r = bag_next(b);
	return r < 0 ? r : bag_send(b->to, first, fds, n);
}

static int fill(struct bags *b, const struct keep *k, int note)
{
	int fds[FDS_PER_MESSAGE], r = bags_put(b, NOTE_NUMBER, &note, 1);

	for (size_t i = 0; i < k->n_clients && r == 0;) {
		uint32_t n = 0, first = (uint32_t)i;

		while (i < k->n_clients && n < FDS_PER_MESSAGE)
			fds[n++] = k->clients[i++].fd;
		r = bags_put(b, first, fds, n);
	}
	return r;
}

static int write_note(const struct buf *text, int *ret_fd)
{
	_cleanup_(closep) int fd = memfd_create("leash-clients", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < buf_len(text)) {
		ssize_t n = write(fd, buf_head(text) + done, buf_len(text) - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int keep_store(struct keep *k)
{
	_cleanup_(bags_deinit) struct bags bags = { .to = -1 };
	_cleanup_(buf_deinit) struct buf text = BUF_NULL;
	_cleanup_(closep) int note = -1;
	int r;

	for (size_t i = 0; i < k->n_clients; i++)
		k->clients[i].cookie = cookie_of(k->clients[i].fd);
	r = keep_encode(k, &text);
	if (r == 0)
		r = write_note(&text, &note);
	if (r == 0)
		r = fill(&bags, k, note);
	closep(&bags.to);
	if (r == 0)
		r = notify_store(KEEP_FD_NAME, bags.fds, bags.n);
	return r < 0 ? r : notify_barrier(BARRIER_MS);
}

/* ------------------------------------------------------------------------------------------------------------ taking */

/* What came out of the bags. */
struct haul {
	int note;
	int *fds; /* by number; -1: it did not come */
	size_t n;
};

static void haul_deinit(struct haul *h)
{
	closep(&h->note);
	for (size_t i = 0; i < h->n; i++)
		closep(&h->fds[i]);
	free(h->fds);
}

static bool reserve(struct haul *h, size_t n)
{
	int *fds;

	if (n <= h->n)
		return true;
	n = MAX2(n, 2 * h->n);
	fds = realloc(h->fds, n * sizeof *fds);
	if (!fds)
		return false;
	for (size_t i = h->n; i < n; i++)
		fds[i] = -1;
	h->fds = fds;
	h->n = n;
	return true;
}

/* Takes over @fd. */
static void haul_add(struct haul *h, uint64_t number, int fd)
{
	int *place = NULL;

	if (number == NOTE_NUMBER)
		place = &h->note;
	else if (number < KEEP_CLIENTS_MAX && reserve(h, (size_t)number + 1))
		place = &h->fds[number];
	if (place && *place < 0)
		*place = TAKE_FD(fd);
	closep(&fd);
}

static void unpack(struct haul *h, struct msghdr *m, bool labelled, const struct label *label)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (labelled && i < label->n)
				haul_add(h, (uint64_t)label->first + i, fd);
			else
				(void)close_fd(fd);
		}
	}
}

/* Empties one bag. */
static void receive(struct haul *h, int bag)
{
	for (;;) {
		struct label label;
		struct iovec iov = { .iov_base = &label, .iov_len = sizeof label };
		union control control;
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			.msg_controllen = sizeof control.bytes };
		ssize_t n = recvmsg(bag, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		unpack(h, &m, n == (ssize_t)sizeof label, &label);
	}
}

/* 0, KEEP_E_..., negative errno. */
static int read_note(int fd, struct keep *ret_keep)
{
	_cleanup_(freep) uint8_t *text = NULL;
	struct stat st;
	size_t done = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
		(uint64_t)st.st_size > 2 * KEEP_BYTES_MAX)
		return KEEP_E_DAMAGED;
	text = malloc((size_t)st.st_size);
	if (!text)
		return -ENOMEM;
	while (done < (size_t)st.st_size) {
		ssize_t n = pread(fd, text + done, (size_t)st.st_size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : KEEP_E_DAMAGED;
		done += (size_t)n;
	}
	return keep_decode((struct bytes){ text, done }, ret_keep);
}

static bool is_connection(int fd)
{
	int type = 0, listens = 1;
	socklen_t n = sizeof type, m = sizeof listens;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &m) == 0 && !listens;
}

/* Joins what the note says and what came. The number of connections that were lost. */
static uint32_t join(struct keep *k, struct haul *h)
{
	size_t n = k->n_clients;
	uint32_t lost = 0;

	k->n_clients = 0;
	for (size_t i = 0; i < n; i++) {
		struct kept_client c = k->clients[i];

		if (i < h->n && h->fds[i] >= 0 && is_connection(h->fds[i]) && cookie_of(h->fds[i]) == c.cookie) {
			c.fd = TAKE_FD(h->fds[i]);
			k->clients[k->n_clients++] = c;
		} else {
			free(c.state);
			lost++;
		}
	}
	return lost;
}

static uint32_t came(const struct haul *h)
{
	uint32_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += h->fds[i] >= 0;
	return n;
}

int keep_take(struct notify_fds *fds, struct keep *ret_keep, struct keep_taken *ret_taken)
{
	_cleanup_(haul_deinit) struct haul h = { .note = -1 };
	struct keep_taken taken = { 0 };
	struct keep k = KEEP_NULL;
	int bag;

	if (notify_fds_take(fds, KEEP_FD_NAME, NOTIFY_ANY, &bag) != 0) {
		*ret_keep = k;
		*ret_taken = taken;
		return 0;
	}
	do {
		receive(&h, bag);
		(void)close_fd(bag);
	} while (notify_fds_take(fds, KEEP_FD_NAME, NOTIFY_ANY, &bag) == 0);
	notify_store_remove(KEEP_FD_NAME);
	taken.error = read_note(h.note, &k);
	if (taken.error == -ENOMEM)
		return -ENOMEM;
	taken.n_lost = taken.error ? came(&h) : join(&k, &h);
	*ret_keep = k;
	*ret_taken = taken;
	return 0;
}
