#include "node/ctl_int.h"

#include <errno.h>

/* ------------------------------------------------------------------------------------------------------- small things */

struct timeval ctl_ms(uint64_t ms)
{
	return (struct timeval){ .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
}

uint32_t ctl_backoff(uint32_t *ms)
{
	uint32_t now = MAX2(*ms, (uint32_t)CTL_BACKOFF_MIN_MS);

	*ms = MIN2(2 * now, (uint32_t)CTL_BACKOFF_MAX_MS);
	return now;
}

/* Refusals that only a live etcd gives count as reachable. */
static bool answered(enum etcd_result r)
{
	return r == ETCD_OK || r == ETCD_NOT_FOUND || r == ETCD_COMPACTED || r == ETCD_INVALID || r == ETCD_PRECONDITION;
}

void ctl_result(struct control *c, const struct etcd_answer *a)
{
	if (a->result == ETCD_CANCELLED)
		return;
	c->reachable = answered(a->result);
	if (c->reachable) {
		c->failures = 0;
		if (c->told_unreachable)
			c->ops.reachable(c->ops.ctx, true, "");
		c->told_unreachable = false;
		return;
	}
	if (++c->failures < 2 || c->told_unreachable)
		return; /* a single lost answer is nothing to talk about */
	c->told_unreachable = true;
	c->ops.reachable(c->ops.ctx, false, a->reason[0] ? a->reason : etcd_result_name(a->result));
}

uint64_t control_lease(const struct control *c) { return c->lease; }
bool control_reachable(const struct control *c) { return c->reachable; }

/* ------------------------------------------------------------------------------------------------------------- reads */

static void on_read(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;
	struct keys_view *v;

	c->read_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_OK && ctl_range_view(c, &a->range, (uint64_t)a->header.revision, false, &v)) {
		ctl_give_view(c, v);
		free(v);
	}
	if (c->read_again && a->result != ETCD_CANCELLED)
		control_read(c);
}

void control_read(struct control *c)
{
	struct etcd_range_req req = { .key = etcd_str(c->prefix), .prefix = true };

	if (c->stopping)
		return;
	c->read_again = c->read_call != NULL; /* one that was sent before does not tell of now */
	if (c->read_call)
		return;
	if (etcd_range(c->etcd, &req, CTL_CALL_MS, on_read, c, &c->read_call) < 0)
		c->read_call = NULL; /* a hint that is lost; the watch and the next probe tell all the same */
}

/* ------------------------------------------------------------------------------------------------------------- probes */

static void on_probe(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;
	struct keys_view *v;

	c->probe_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_NOT_FOUND && c->lease == c->probe_lease)
		ctl_lease_gone(c);
	if (a->result == ETCD_OK && a->txn.n_responses == 2 &&
		ctl_range_view(c, &a->txn.responses[1].range, (uint64_t)a->header.revision, true, &v)) {
		ctl_give_view(c, v);
		free(v);
	}
}

void control_probe(struct control *c)
{
	_cleanup_(buf_deinit) struct buf value = BUF_NULL;
	struct etcd_op ops[2] = {
		{ .kind = ETCD_OP_PUT, .put = { .key = etcd_str(c->node_key), .lease = (int64_t)c->lease } },
		{ .kind = ETCD_OP_RANGE, .range = { .key = etcd_str(c->prefix), .prefix = true } },
	};
	struct etcd_txn_req req = { .success = ops, .n_success = 2 };

	c->probe_wanted = c->lease == 0; /* nodes/<name> never stands there without a lease */
	if (c->stopping || c->probe_wanted || c->probe_call)
		return;
	c->probe_lease = c->lease;
	if (ctl_node_value(c, &value) < 0)
		return;
	ops[0].put.value = (struct bytes){ buf_head(&value), buf_len(&value) };
	if (etcd_txn(c->etcd, &req, CTL_CALL_MS, on_probe, c, &c->probe_call) < 0)
		c->probe_call = NULL; /* the next one is at most CTL_PROBE_MS away */
}

static void on_probe_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	struct timeval tv = ctl_ms(CTL_PROBE_MS);

	(void)fd, (void)what;
	(void)event_add(c->probe_timer, &tv);
	control_probe(c);
}

/* -------------------------------------------------------------------------------------------------------------- life */

int control_new(const struct control_conf *conf, const struct etcd_conf *etcd, struct event_base *base,
	const struct control_ops *ops, struct control **ret_control)
{
	struct control *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return -ENOMEM;
	c->conf = *conf;
	c->ops = *ops;
	c->reachable = true; /* until shown otherwise */
	c->lease_fd = -1;
	(void)keys_prefix(conf->engine, c->prefix);
	(void)keys_name(conf->engine, KEYS_NODE, conf->node, c->node_key);
	r = etcd_new(base, etcd, &c->etcd);
	if (r == 0) {
		c->probe_timer = event_new(base, -1, 0, on_probe_timer, c);
		r = c->probe_timer ? ctl_lease_init(c) : -ENOMEM;
	}
	if (r == 0)
		r = ctl_request_init(c);
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret_control = c;
	return 0;
}

static void free_event(struct event *ev)
{
	if (ev)
		event_free(ev);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	c->stopping = c->stopped = true;
	ctl_watch_stop(c);
	etcd_free(c->etcd);
	closep(&c->lease_fd);
	free_event(c->beat);
	free_event(c->announce_timer);
	free_event(c->probe_timer);
	free_event(c->request_timer);
	free(c);
}

int control_start(struct control *c)
{
	struct timeval tv = ctl_ms(CTL_PROBE_MS);
	int r = ctl_watch_start(c);

	if (r < 0)
		return r;
	ctl_lease_start(c);
	return event_add(c->probe_timer, &tv) == 0 ? 0 : -ENOMEM;
}

void control_stop(struct control *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	(void)event_del(c->probe_timer);
	(void)event_del(c->announce_timer);
	(void)event_del(c->request_timer);
	ctl_watch_stop(c);
	ctl_lease_stop(c);
}
