/*
 * The lease.
 *
 *  1. Grant; the id goes to the lease file, nodes/<name> is put on it.
 *  2. A beat at every third of its life, with a deadline of as much. Lost beats are repeated sooner.
 *  3. Gone (code 5): 1 again. The state machine is told 0 and then the new one, and puts a lost leader key back (R3a).
 *  4. The disk hangs (R11a): no beat is sent. Resigned: it is revoked, and 1 waits until the disk moves again.
 *  5. Stop: revoked, the file is removed.
 */
#include "node/ctl_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/ids.h"

static void next_beat(struct control *c, uint64_t ms)
{
	struct timeval tv = ctl_ms(ms);

	(void)event_add(c->beat, &tv);
}

/* ------------------------------------------------------------------------------------------------------- lease file */

/* For ExecStopPost=, which revokes the lease of a process that died: the lock says that it lives. Of no consequence when it
 * cannot be written: the lease expires by itself. */
static void write_file(struct control *c)
{
	char text[LEASH_ID_TEXT + 1], tmp[4096];
	int fd, n;

	if (!c->conf.lease_file)
		return;
	n = snprintf(tmp, sizeof tmp, "%s.new", c->conf.lease_file);
	if (n < 0 || (size_t)n >= sizeof tmp)
		return;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	(void)id_format(c->lease, text);
	text[LEASH_ID_TEXT - 1] = '\n';
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || write(fd, text, LEASH_ID_TEXT) != LEASH_ID_TEXT ||
		rename(tmp, c->conf.lease_file) < 0) {
		(void)close_fd(fd);
		return;
	}
	closep(&c->lease_fd);
	c->lease_fd = fd;
}

static void remove_file(struct control *c)
{
	if (c->conf.lease_file)
		(void)unlink(c->conf.lease_file);
	c->lease_fd = close_fd(c->lease_fd);
}

/* ------------------------------------------------------------------------------------------------------- nodes/<name> */

int ctl_node_value(struct control *c, struct buf *b)
{
	struct rep_node n = { 0 };

	c->ops.describe(c->ops.ctx, &n);
	return keys_node_encode(&n, c->conf.release, b);
}

static void on_put(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;
	struct timeval tv;

	c->put_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_CANCELLED || c->stopping)
		return;
	if (a->result == ETCD_NOT_FOUND) {
		c->announce_wanted = true;
		if (c->lease == c->put_lease)
			ctl_lease_gone(c);
		else
			control_announce(c); /* there is a new one already, or it is being asked for */
		return;
	}
	if (a->result == ETCD_OK)
		c->put_backoff_ms = 0;
	else
		c->announce_wanted = true;
	if (!c->announce_wanted)
		return;
	tv = ctl_ms(a->result == ETCD_OK ? 0 : ctl_backoff(&c->put_backoff_ms));
	(void)event_add(c->announce_timer, &tv);
}

void control_announce(struct control *c)
{
	_cleanup_(buf_deinit) struct buf value = BUF_NULL;
	struct etcd_put_req req = { .key = etcd_str(c->node_key), .lease = (int64_t)c->lease };
	struct timeval tv;

	if (c->stopping)
		return;
	c->announce_wanted = true;
	if (c->put_call || c->lease == 0)
		return; /* when that is answered; when there is a lease */
	c->put_lease = c->lease;
	if (ctl_node_value(c, &value) == 0) {
		req.value = (struct bytes){ buf_head(&value), buf_len(&value) };
		if (etcd_put(c->etcd, &req, CTL_CALL_MS, on_put, c, &c->put_call) == 0) {
			c->announce_wanted = false;
			return;
		}
	}
	c->put_call = NULL;
	tv = ctl_ms(ctl_backoff(&c->put_backoff_ms));
	(void)event_add(c->announce_timer, &tv);
}

static void on_announce_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	(void)fd, (void)what;
	if (c->announce_wanted)
		control_announce(c);
}

/* -------------------------------------------------------------------------------------------------------------- beats */

static void have_lease(struct control *c, uint64_t id, uint64_t ttl_s)
{
	c->lease = id;
	c->ttl_s = ttl_s;
	c->lease_backoff_ms = 0;
	write_file(c);
	control_announce(c);
	if (c->probe_wanted)
		control_probe(c);
	c->ops.lease(c->ops.ctx, id);
}

static void on_grant(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;

	c->lease_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_CANCELLED || c->stopping)
		return;
	if (a->result != ETCD_OK || a->lease.id == 0 || a->lease.ttl_s <= 0) {
		next_beat(c, ctl_backoff(&c->lease_backoff_ms));
		return;
	}
	have_lease(c, (uint64_t)a->lease.id, (uint64_t)a->lease.ttl_s);
	next_beat(c, c->ttl_s * 1000 / 3);
}

void ctl_lease_gone(struct control *c)
{
	if (c->lease == 0 || c->stopping)
		return;
	c->lease = 0;
	remove_file(c);
	if (c->lease_call)
		etcd_call_cancel(c->lease_call);
	c->ops.lease(c->ops.ctx, 0);
	next_beat(c, 0);
}

static void on_beat_answer(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;

	c->lease_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_CANCELLED || c->stopping)
		return;
	if (a->result == ETCD_NOT_FOUND) {
		ctl_lease_gone(c);
		return;
	}
	if (a->result != ETCD_OK) {
		next_beat(c, MIN2(ctl_backoff(&c->lease_backoff_ms), (uint32_t)(c->ttl_s * 1000 / 6)));
		return;
	}
	c->lease_backoff_ms = 0;
	next_beat(c, c->ttl_s * 1000 / 3);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	int r;

	(void)fd, (void)what;
	if (c->stopping || c->lease_call)
		return;
	if (!c->ops.may_renew(c->ops.ctx)) { /* R11a */
		next_beat(c, CTL_STUCK_LOOK_MS);
		return;
	}
	c->resigned = false;
	if (c->lease == 0)
		r = etcd_lease_grant(c->etcd, c->conf.lease_ttl_s, CTL_CALL_MS, on_grant, c, &c->lease_call);
	else
		r = etcd_lease_keepalive(c->etcd, (int64_t)c->lease, (uint32_t)(c->ttl_s * 1000 / 3), on_beat_answer, c,
			&c->lease_call);
	if (r < 0) {
		c->lease_call = NULL;
		next_beat(c, ctl_backoff(&c->lease_backoff_ms));
	}
}

int ctl_lease_init(struct control *c)
{
	struct event_base *base = event_get_base(c->probe_timer);

	c->beat = event_new(base, -1, 0, on_beat, c);
	c->announce_timer = event_new(base, -1, 0, on_announce_timer, c);
	return c->beat && c->announce_timer ? 0 : -ENOMEM;
}

void ctl_lease_start(struct control *c)
{
	c->announce_wanted = true;
	next_beat(c, 0);
}

/* --------------------------------------------------------------------------------------------------- giving it back */

static void stopped(struct control *c)
{
	if (c->stopped)
		return;
	c->stopped = true;
	c->ops.stopped(c->ops.ctx);
}

static void on_revoked(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;

	c->lease_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_OK || a->result == ETCD_NOT_FOUND)
		remove_file(c);
	if (a->result == ETCD_CANCELLED)
		return;
	if (c->stopping)
		stopped(c);
	else
		next_beat(c, CTL_STUCK_LOOK_MS);
}

static bool give_back(struct control *c)
{
	uint64_t lease = c->lease;

	c->lease = 0;
	if (c->lease_call)
		etcd_call_cancel(c->lease_call);
	return lease && etcd_lease_revoke(c->etcd, (int64_t)lease, CTL_REVOKE_MS, on_revoked, c, &c->lease_call) == 0;
}

void control_resign(struct control *c)
{
	if (c->resigned || c->stopping || c->lease == 0)
		return;
	c->resigned = true;
	(void)give_back(c); /* if it could not be sent it expires, as no beat is sent */
	c->ops.lease(c->ops.ctx, 0);
	next_beat(c, CTL_STUCK_LOOK_MS);
}

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	stopped(arg);
}

void ctl_lease_stop(struct control *c)
{
	struct timeval now = ctl_ms(0);

	(void)event_del(c->beat);
	if (give_back(c))
		return;
	/* nothing to revoke; the callback comes from the loop all the same */
	(void)event_assign(c->announce_timer, event_get_base(c->announce_timer), -1, 0, on_stop_timer, c);
	(void)event_add(c->announce_timer, &now);
}
