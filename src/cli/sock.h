/*
 * TCP with deadlines, for a program that waits for one thing at a time. Deadlines are CLOCK_BOOTTIME, ns (clk.h).
 */
#ifndef LEASH_CLI_SOCK_H
#define LEASH_CLI_SOCK_H

#include "base/buf.h"
#include "base/units.h"

/* Connects; the descriptor is CLOEXEC and not blocking. Negative errno; -ENXIO: no such host. -ETIMEDOUT.
 * A name is looked up first; that obeys the resolver's own time limits, not the deadline. */
int sock_connect(const struct units_addr *a, uint64_t deadline_ns, int *ret_fd) _must_check_;

/* Waits for poll(2)'s @events (POLLIN, POLLOUT). 0 and what came; -ETIMEDOUT; negative errno. */
int sock_wait(int fd, short events, uint64_t deadline_ns, short *ret_events) _must_check_;

/* Sends what it can without waiting and consumes that; 0 also when nothing went. Negative errno. */
int sock_send_some(int fd, struct buf *out) _must_check_;

/* Sends all of it. */
int sock_send(int fd, struct buf *out, uint64_t deadline_ns) _must_check_;

/* Takes what has arrived, without waiting. 0 and how much (0 = nothing now); -ECONNRESET also at the end of the
 * stream; negative errno. */
int sock_receive_some(int fd, struct buf *in, size_t *ret_n) _must_check_;

/* Waits for at least one byte. */
int sock_receive(int fd, struct buf *in, uint64_t deadline_ns) _must_check_;

/* "Connection refused" and the like; for the two above that are no errno's sentence, an own one. */
const char *sock_strerror(int r);

#endif
