/*
 * Talking to the service manager (sd_notify(3), sd_listen_fds(3)). Without a manager all of it does nothing:
 * nobody listens, so failures are of no consequence and are not reported.
 */
#ifndef LEASH_BASE_NOTIFY_H
#define LEASH_BASE_NOTIFY_H

#include "base/util.h"

#define NOTIFY_STATUS_MAX 500 /* bytes of a status; what is longer is cut */

/* The last act of start-up, and of a reload. */
void notify_ready(void);

/* One line for systemctl status; call it on change only. */
void notify_status(const char *fmt, ...) _printf_(1, 2);

/* A reload begins; notify_ready() ends it. Sends MONOTONIC_USEC too, which managers from 253 on wait for. */
void notify_reloading(void);

/* An orderly stop begins. */
void notify_stopping(void);

/*
 * Asks for @us more microseconds from now for what is under way (start or stop). Repeat while there is
 * progress.
 */
void notify_extend_timeout(uint64_t us);

/*
 * True when the manager expects pings: @ret_interval_ns is how often to send them, half of what is allowed.
 * Ping only when everything that must move did.
 */
bool notify_watchdog(uint64_t *ret_interval_ns) _must_check_;
void notify_watchdog_ping(void);

/*
 * The file-descriptor store (FileDescriptorStoreMax=): descriptors that the manager keeps over a restart and passes on
 * under @name (no colon) like inherited sockets. It closes what exceeds the maximum and, on systemd 252, everything when
 * the service is stopped. FDPOLL=0: one that looks hung up stays, too.
 */
bool notify_offered(void); /* there is a manager; whether it keeps anything it does not say */
/* A copy of each goes there; 0, -ENOENT: no manager, or a negative errno. At most 253. */
int notify_store(const char *name, const int *fds, unsigned n_fds) _must_check_;
void notify_store_remove(const char *name);
/* Waits until the manager has read all that was sent to it. 0; -ETIMEDOUT; other negative errno. */
int notify_barrier(uint64_t timeout_ms) _must_check_;

/*
 * Inherited sockets, each under the name that its unit gave (FileDescriptorName=). They are taken once,
 * early; what is not taken out by name is closed by the deinit. Valid from NOTIFY_FDS_NULL on.
 */
struct notify_fds {
	struct notify_fd {
		char *name;
		int fd; /* -1: taken */
	} *fds;
	size_t n_fds;
};

#define NOTIFY_FDS_NULL { 0 }

/* What a taken socket must be. */
enum notify_kind {
	NOTIFY_LISTEN_INET, /* listening stream socket, IPv4 or IPv6 */
	NOTIFY_LISTEN_UNIX, /* listening stream socket, AF_UNIX */
	NOTIFY_ANY,
};

#define NOTIFY_E_NONE 1 /* no (further) descriptor of that name */
#define NOTIFY_E_KIND 2 /* there is one, but it is not of that kind; it stays in the set */

/*
 * Takes over what was passed, and removes LISTEN_* from the environment. 0, or a negative errno: nothing is
 * taken.
 */
int notify_fds_init(struct notify_fds *ret_fds) _must_check_;
void notify_fds_deinit(struct notify_fds *fds);

/*
 * Takes out the first descriptor left under @name; it is the caller's then, with CLOEXEC and NONBLOCK set.
 * Call again for the next of the same name. 0, NOTIFY_E_NONE, NOTIFY_E_KIND, or a negative errno.
 */
int notify_fds_take(struct notify_fds *fds, const char *name, enum notify_kind kind,
	int *ret_fd) _must_check_;

/* How many are left under other names than @name; @ret_name: the first one's (valid until the deinit), or NULL. */
size_t notify_fds_others(const struct notify_fds *fds, const char *name, const char **ret_name);

#endif
