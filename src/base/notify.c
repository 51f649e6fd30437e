#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "base/clk.h"

void notify_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void notify_stopping(void)
{
	(void)sd_notify(0, "STOPPING=1");
}

void notify_reloading(void)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clk_mono_ns() / NS_PER_US);
}

void notify_extend_timeout(uint64_t us)
{
	(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, us);
}

void notify_status(const char *fmt, ...)
{
	char text[NOTIFY_STATUS_MAX + 1];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof text, fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	/* A line break would begin another assignment. */
	for (char *p = text; *p; p++) {
		if (*p == '\n' || *p == '\r')
			*p = ' ';
	}
	(void)sd_notifyf(0, "STATUS=%s", text);
}

bool notify_watchdog(uint64_t *ret_interval_ns)
{
	uint64_t us;

	if (sd_watchdog_enabled(0, &us) <= 0)
		return false;
	*ret_interval_ns = us * NS_PER_US / 2;
	return true;
}

void notify_watchdog_ping(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

bool notify_offered(void)
{
	const char *socket = getenv("NOTIFY_SOCKET");

	return socket && socket[0];
}

int notify_store(const char *name, const int *fds, unsigned n_fds)
{
	char text[NOTIFY_STATUS_MAX];
	int r;

	(void)snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
	r = sd_pid_notify_with_fds(0, 0, text, fds, n_fds);
	return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

void notify_store_remove(const char *name)
{
	(void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int notify_barrier(uint64_t timeout_ms)
{
	int r = sd_notify_barrier(0, timeout_ms * 1000);

	return r < 0 ? r : 0;
}

static void names_free(char ***names)
{
	for (size_t i = 0; *names && (*names)[i]; i++)
		free((*names)[i]);
	freep(names);
}

int notify_fds_init(struct notify_fds *ret_fds)
{
	_cleanup_(names_free) char **names = NULL;
	struct notify_fds fds = NOTIFY_FDS_NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n < 0)
		return n;
	if (n > 0) {
		fds.fds = calloc((size_t)n, sizeof *fds.fds);
		if (!fds.fds)
			return -ENOMEM;
	}
	for (size_t i = 0; i < (size_t)n; i++)
		fds.fds[i] = (struct notify_fd){ .name = TAKE(names[i]), .fd = SD_LISTEN_FDS_START + (int)i };
	if (n > 0)
		freep(&names); /* the strings have moved */
	fds.n_fds = (size_t)n;
	*ret_fds = fds;
	return 0;
}

void notify_fds_deinit(struct notify_fds *fds)
{
	for (size_t i = 0; i < fds->n_fds; i++) {
		free(fds->fds[i].name);
		closep(&fds->fds[i].fd);
	}
	free(fds->fds);
	*fds = (struct notify_fds)NOTIFY_FDS_NULL;
}

/* 1 yes, 0 no, or a negative errno. */
static int is_kind(int fd, enum notify_kind kind)
{
	int r;

	switch (kind) {
	case NOTIFY_LISTEN_UNIX:
		return sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1);
	case NOTIFY_LISTEN_INET:
		r = sd_is_socket(fd, AF_INET, SOCK_STREAM, 1);
		return r != 0 ? r : sd_is_socket(fd, AF_INET6, SOCK_STREAM, 1);
	case NOTIFY_ANY:
		return 1;
	}
	return 0;
}

int notify_fds_take(struct notify_fds *fds, const char *name, enum notify_kind kind, int *ret_fd)
{
	for (size_t i = 0; i < fds->n_fds; i++) {
		struct notify_fd *f = &fds->fds[i];
		int r, flags;

		if (f->fd < 0 || strcmp(f->name, name) != 0)
			continue;
		r = is_kind(f->fd, kind);
		if (r < 0)
			return r;
		if (r == 0)
			return NOTIFY_E_KIND;
		flags = fcntl(f->fd, F_GETFL);
		if (flags < 0 || fcntl(f->fd, F_SETFL, flags | O_NONBLOCK) < 0)
			return -errno;
		*ret_fd = TAKE_FD(f->fd);
		return 0;
	}
	return NOTIFY_E_NONE;
}

size_t notify_fds_others(const struct notify_fds *fds, const char *name, const char **ret_name)
{
	size_t n = 0;

	*ret_name = NULL;
	for (size_t i = 0; i < fds->n_fds; i++) {
		if (fds->fds[i].fd < 0 || strcmp(fds->fds[i].name, name) == 0)
			continue;
		if (n++ == 0)
			*ret_name = fds->fds[i].name;
	}
	return n;
}
