/*
 * Opening: the log is read, the driver is made, the dedup table is rebuilt from the log's last records (R14).
 *
 * Damage (R11), also what shows only while rebuilding: the node is dormant until it is repaired from others
 * (node_repair.c); when that was given up, or it belongs to no cluster yet, damage is set aside under a new incarnation.
 */
#include "node/node_int.h"

#include <errno.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "node/diag_node.h"

#define OPEN_ATTEMPTS 4

static int refuse(int error, char reason[256], const char *text)
{
	(void)snprintf(reason, 256, "%s", text);
	return error;
}

static int open_error(const struct node *n, int r, char reason[256])
{
	switch (r) {
	case RLOG_E_FOREIGN:
		(void)snprintf(reason, 256, "the data directory %s belongs to another node or engine; nothing was touched",
			n->conf.dir);
		return NODE_E_FOREIGN;
	case RLOG_E_LOCKED:
		(void)snprintf(reason, 256, "another process has the data directory %s open", n->conf.dir);
		return NODE_E_LOCKED;
	case RLOG_E_DAMAGED:
		(void)snprintf(reason, 256, "the metadata in %s is lost or damaged; nothing was touched", n->conf.dir);
		return NODE_E_DAMAGED;
	case -EINVAL: return refuse(NODE_E_CONF, reason, "segment size, record size or names do not go together");
	case -ENOMEM: return r;
	default:
		(void)snprintf(reason, 256, "cannot open the log in %s: %s", n->conf.dir, strerror(r < 0 ? -r : EIO));
		return NODE_E_IO;
	}
}

static int check_cluster(const struct node *n, const struct rlog_meta *m, char reason[256])
{
	if (m->min_insync && m->min_insync != n->conf.min_insync) {
		(void)snprintf(reason, 256, "min_insync is %u here, but this cluster was founded with %u",
			(unsigned)n->conf.min_insync, (unsigned)m->min_insync);
		return NODE_E_CONF;
	}
	if (m->dedup_window && m->dedup_window != n->conf.dedup_window) {
		(void)snprintf(reason, 256, "dedup_window is %llu here, but this cluster was founded with %llu",
			(unsigned long long)n->conf.dedup_window, (unsigned long long)m->dedup_window);
		return NODE_E_CONF;
	}
	return 0;
}

static int set_aside(struct rlog *log, struct rlog_meta *meta, char reason[256])
{
	size_t n_damage;
	const struct rlog_damage *d = rlog_damage_get(log, &n_damage);
	char why[256] = "", text[256];
	struct rlog_state now;
	int r;

	if (n_damage > 0)
		(void)snprintf(why, sizeof why, "%.100s at %llu: %.90s", d[0].path, (unsigned long long)d[0].offset,
			d[0].reason);
	r = rlog_renounce(log, id_random());
	if (r != 0) {
		(void)snprintf(text, sizeof text, "cannot set the log's damage aside: %s",
			r == RLOG_E_FULL ? "no room on disk" : strerror(r < 0 ? -r : EIO));
		return refuse(NODE_E_IO, reason, text);
	}
	rlog_state_get(log, &now);
	*meta = now.meta;
	diag_log_damaged(now.end, why, meta->incarnation);
	return 0;
}

static void fill_rep_conf(const struct node *n, struct rep_conf *rc)
{
	const struct node_conf *c = &n->conf;

	*rc = (struct rep_conf){ .run = n->run, .fresh_cluster = id_random(), .priority = c->priority,
		.n_founders = MIN2(c->n_founders, (uint32_t)REP_NODES_MAX), .min_insync = c->min_insync,
		.dedup_window = c->dedup_window, .dedup_time_ns = c->dedup_time_ns,
		.dedup_records_max = c->dedup_records_max, .uncommitted_max = c->uncommitted_max,
		.topology = c->topology, .failure_timeout_ns = c->failure_timeout_ns, .heartbeat_ns = c->heartbeat_ns,
		.dormant = n->dormant };
	(void)snprintf(rc->node, sizeof rc->node, "%s", c->node);
	(void)snprintf(rc->address, sizeof rc->address, "%s", c->address);
	for (uint32_t i = 0; i < rc->n_founders; i++)
		(void)snprintf(rc->founders[i], sizeof rc->founders[i], "%s", c->founders[i]);
}

static int make_driver(struct node *n, const struct rlog_state *s)
{
	const struct node_conf *c = &n->conf;
	struct drv_conf dc = { .cache_bytes = c->cache_bytes, .uncommitted_bytes = c->uncommitted_bytes,
		.uncommitted_max = c->uncommitted_max, .record_bytes_max = c->record_bytes_max,
		.batch_bytes = c->batch_bytes };
	struct rep_log log = { .start = s->start, .end = s->end, .mark = s->mark, .base = s->base,
		.log_time_ns = s->log_time_ns, .history = s->history, .n_history = s->n_history };
	const struct rlog_meta *m = &s->meta;
	struct rep_meta meta = { .cluster = m->cluster, .incarnation = m->incarnation, .promise = m->promise,
		.promise_run = m->promise_run, .log_epoch = m->log_epoch, .log_matched = m->log_matched,
		.insync_version = m->insync_version, .etcd_revision = m->etcd_revision, .recovery = m->recovery };
	struct drv_io io = node_drv_io;
	struct rep_conf rc;

	io.ctx = n;
	fill_rep_conf(n, &rc);
	n->log_start = s->start;
	return drv_new(&dc, &rc, &meta, &log, s->chain, &io, clk_boot_ns(), &n->drv);
}

static bool replay(const struct rep_rec *rec, void *arg)
{
	rep_replay(arg, rec);
	return true;
}

static int derive(struct node *n, struct rlog *log, char reason[256])
{
	struct rlog_state s;
	leash_seq from;
	int r;

	rlog_state_get(log, &s);
	r = make_driver(n, &s);
	if (r == -EINVAL)
		return refuse(NODE_E_CONF, reason, "the configuration makes no sense (founders, timeouts, min_insync, sizes)");
	if (r < 0)
		return r;
	if (n->dormant)
		return 0;
	from = rep_replay_from(drv_rep(n->drv));
	return from <= s.end ? rlog_identities(log, from, replay, drv_rep(n->drv)) : 0;
}

/* True: it is worth while to ask other nodes. */
static bool go_dormant(struct node *n, const struct rlog *log, const struct rlog_meta *meta)
{
	size_t n_damage;
	const struct rlog_damage *d = rlog_damage_get(log, &n_damage);

	if (n->give_up || meta->cluster == 0 || n_damage == 0)
		return false;
	n->damage_first = d->first;
	(void)snprintf(n->damage_text, sizeof n->damage_text, "%.100s at %llu: %.90s", d->path,
		(unsigned long long)d->offset, d->reason);
	return n->dormant = true;
}

static int open_whole(struct node *n, struct rlog *log, struct rlog_state *s, char reason[256])
{
	bool damaged = s->damaged;

	for (int i = 0; i < OPEN_ATTEMPTS; i++) {
		int r = damaged && !go_dormant(n, log, &s->meta) ? set_aside(log, &s->meta, reason) : 0;
		size_t n_damage;

		if (r == 0)
			r = derive(n, log, reason);
		if (r == 0)
			return 0;
		drv_free(n->drv);
		n->drv = NULL;
		if (r != RLOG_E_DAMAGED || reason[0])
			return reason[0] || r == -ENOMEM ? r : refuse(NODE_E_IO, reason, "cannot read the log");
		(void)rlog_damage_get(log, &n_damage);
		if (n_damage == 0)
			break;
		damaged = true;
	}
	return refuse(NODE_E_DAMAGED, reason, "the log is damaged in a way that cannot be set aside");
}

int node_open(struct node *n, struct rlog **ret_log, struct rlog_meta *ret_meta, char reason[256])
{
	struct rlog_conf rc = { .dir = n->conf.dir, .segment_bytes = n->conf.segment_bytes,
		.reserve_bytes = n->conf.reserve_bytes,
		.record_bytes_max = n->conf.record_bytes_max - REC_HEADER_BYTES };
	struct rlog_state s;
	struct rlog *log;
	int r = rlog_open(&rc, n->conf.ops, n->conf.engine, n->conf.node, id_random(), &log, &s);

	if (r != 0)
		return open_error(n, r, reason);
	r = check_cluster(n, &s.meta, reason);
	if (r == 0 && s.torn_from)
		diag_log_torn(s.torn_from);
	if (r == 0)
		r = open_whole(n, log, &s, reason);
	if (r != 0) {
		rlog_close(log);
		return r;
	}
	n->give_up = false;
	*ret_log = log;
	*ret_meta = s.meta;
	return 0;
}
